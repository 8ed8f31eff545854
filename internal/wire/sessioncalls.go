package wire

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
)

// Store sends a chunk and waits until it is on the node's disk. It waits for the
// node's window first. When ctx ends, what was sent stays charged to the window
// until the node answers after all, or the session ends.
func (s *Session) Store(ctx context.Context, req StoreRequest) error {
	name := req.Meta.Key.Name()
	size := int64(len(req.Payload))
	if size != req.Meta.Length || size > s.hub.cfg.MaxFrame {
		return fmt.Errorf("store chunk %s: %w: payload of %d bytes, announced are %d, the limit is %d",
			name, raid.ErrInvalid, size, req.Meta.Length, s.hub.cfg.MaxFrame)
	}
	if err := s.window.acquire(ctx, s.done, size); err != nil {
		return fmt.Errorf("store chunk %s: %w", name, err)
	}
	c := &call{id: s.hub.requestID(), name: name, kind: callStore, charge: size, outcome: make(chan outcome, 1)}
	if err := s.sendStore(ctx, c, &req); err != nil {
		s.window.cancel(size)
		return fmt.Errorf("store chunk %s: %w", name, err)
	}
	select {
	case o := <-c.outcome:
		return wrapOutcome("store chunk", name, o.err)
	case <-ctx.Done():
		// An acknowledgement that is there counts all the same.
		select {
		case o := <-c.outcome:
			return wrapOutcome("store chunk", name, o.err)
		default:
			return contextError(ctx, fmt.Sprintf("store chunk %s", name))
		}
	}
}

// sendStore enters the call and sends it. After an error nothing was sent and
// nobody waits; otherwise the call's outcome tells, a lost connection included.
func (s *Session) sendStore(ctx context.Context, c *call, req *StoreRequest) error {
	remaining, ok := remainingMS(ctx)
	if !ok {
		return contextError(ctx, "send request")
	}
	frame, err := s.hub.encoder.store(c.id, c.name, remaining, s.hub.proved(max(req.Meta.Commit, s.hub.cfg.Commit())), &req.Meta)
	if err != nil {
		return err
	}
	defer s.hub.encoder.done(frame)
	if err := s.enter(c); err != nil {
		return err
	}
	err = s.send(ctx, roleStore, frame.buf, req.Payload)
	if err != nil && s.leave(c) {
		return err
	}
	return nil
}

// Get reads whole blocks of a chunk into req.Dst.
func (s *Session) Get(ctx context.Context, req GetRequest) (GetResult, error) {
	if int64(len(req.Dst)) != req.Length || req.Length > s.hub.cfg.MaxFrame {
		return GetResult{}, fmt.Errorf("get chunk %s: %w: %d bytes into a buffer of %d, the limit is %d",
			req.Name, raid.ErrInvalid, req.Length, len(req.Dst), s.hub.cfg.MaxFrame)
	}
	c := &call{name: req.Name, kind: callGet, dst: req.Dst, expect: req.ExpectLength, unchecked: req.Unchecked}
	o := s.ask(ctx, c, &wirepb.GetdataRequest{Op: &wirepb.GetdataRequest_Get{Get: &wirepb.GetOp{
		Offset: uint64(req.Offset), Length: uint64(req.Length),
		ExpectedLength: uint64(req.ExpectLength), ExpectedCrc32C: req.ExpectCRC, Unchecked: req.Unchecked,
	}}})
	return o.get, wrapOutcome("get chunk", req.Name, o.err)
}

// Delete removes chunks, durably. It returns one error for each name: nil, or
// raid.ErrNotFound when it was gone already, or what the node says. The second
// result is not nil when the node did not answer for all of them.
func (s *Session) Delete(ctx context.Context, names []raid.ChunkName) ([]error, error) {
	errs := make([]error, 0, len(names))
	for len(names) > 0 {
		n := min(len(names), maxNames)
		texts := make([]string, n)
		for i, name := range names[:n] {
			texts[i] = string(name)
		}
		o := s.ask(ctx, &call{kind: callOther}, &wirepb.GetdataRequest{Op: &wirepb.GetdataRequest_Delete{Delete: &wirepb.DeleteOp{Names: texts}}})
		if o.err != nil {
			return errs, fmt.Errorf("delete %d chunks: %w", n, o.err)
		}
		got, err := o.resp.deleteResult(n)
		if err != nil {
			return errs, err
		}
		errs, names = append(errs, got...), names[n:]
	}
	return errs, nil
}

// List asks for names that the node holds, in the node's order. more says that
// there are others after the last one.
func (s *Session) List(ctx context.Context, req ListRequest) (names []raid.ChunkName, more bool, err error) {
	limit := req.Limit
	if limit <= 0 || limit > maxListed {
		limit = maxListed
	}
	o := s.ask(ctx, &call{kind: callOther}, &wirepb.GetdataRequest{Op: &wirepb.GetdataRequest_List{List: &wirepb.ListOp{
		After: string(req.After), Limit: uint32(limit), MinRun: req.MinRun, MaxRun: req.MaxRun,
	}}})
	if o.err != nil {
		return nil, false, fmt.Errorf("list chunks: %w", o.err)
	}
	return o.resp.listResult(limit)
}

// Verify has the node read a chunk from its disk and check every block, and its
// length and CRC-32C against the catalog's.
func (s *Session) Verify(ctx context.Context, name raid.ChunkName, length int64, crc uint32) error {
	o := s.ask(ctx, &call{name: name, kind: callOther}, &wirepb.GetdataRequest{Op: &wirepb.GetdataRequest_Verify{
		Verify: &wirepb.VerifyOp{ExpectedLength: uint64(length), ExpectedCrc32C: crc},
	}})
	return wrapOutcome("verify chunk", name, o.err)
}

// ask sends a request on port 5559 and waits for its outcome. When ctx ends, a
// later answer finds nobody; only bytes that are arriving already are awaited.
func (s *Session) ask(ctx context.Context, c *call, pb *wirepb.GetdataRequest) outcome {
	remaining, ok := remainingMS(ctx)
	if !ok {
		return outcome{err: contextError(ctx, "send request")}
	}
	c.id, c.outcome = s.hub.requestID(), make(chan outcome, 1)
	now := s.hub.proved(s.hub.cfg.Commit())
	pb.Filename, pb.RequestId, pb.RemainingMs, pb.CatalogCommit, pb.CommitMac = string(c.name), c.id, remaining, now.Number, now.MAC.Bytes()
	frame, err := proto.Marshal(pb)
	if err != nil || len(frame) > maxHead {
		return outcome{err: fmt.Errorf("write request: %w: %d bytes, %v", raid.ErrInvalid, len(frame), err)}
	}
	if err := s.enter(c); err != nil {
		return outcome{err: err}
	}
	if err := s.send(ctx, roleRequest, frame); err != nil {
		if s.leave(c) {
			return outcome{err: err}
		}
		return <-c.outcome
	}
	select {
	case o := <-c.outcome:
		return o
	case <-ctx.Done():
		if s.leave(c) {
			return outcome{err: contextError(ctx, "wait for the node's answer")}
		}
		return <-c.outcome
	}
}

// send writes one message. Whatever breaks a connection is raid.ErrPeerGone.
func (s *Session) send(ctx context.Context, r role, frames ...[]byte) error {
	s.mu.Lock()
	conn := s.conns[r]
	s.mu.Unlock()
	err := conn.Send(ctx, frames...)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return contextError(ctx, "send request")
	default:
		s.End(fmt.Errorf("write to %s connection: %w", conn.Peer().Type, err))
		return gone("send request", err)
	}
}

func wrapOutcome(verb string, name raid.ChunkName, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", verb, name, err)
}
