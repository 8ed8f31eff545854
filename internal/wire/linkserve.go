package wire

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
	"github.com/raidpi/raidpi/internal/zmtp"
)

// linkRequest is one that waits for a free hand. It belongs to the session that
// it came in on, and only there it is answered.
type linkRequest struct {
	session *linkSession
	arrived time.Time

	store  *zmtp.Message // a Store, native or lab
	held   int64         // what a Store holds of Link.queued
	labGet string        // a lab controller's Get
	// request is a native request other than Store.
	request *nodeRequest
}

// startWorkers starts the goroutines that do the work. There are as many for Stores as for
// all other requests, so that neither kind starves the other. They outlive sessions,
// which keeps their number bounded when a disk hangs, and end with ctx.
func (l *Link) startWorkers(ctx context.Context) *sync.WaitGroup {
	var workers sync.WaitGroup
	work := func(queue <-chan linkRequest) {
		workers.Go(func() {
			for {
				select {
				case j := <-queue:
					l.do(j)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	for range l.cfg.Concurrency {
		work(l.stores)
		work(l.others)
	}
	return &workers
}

// do handles one request, unless its session is over.
func (l *Link) do(j linkRequest) {
	s := j.session
	if j.store != nil {
		defer l.queued.release(j.held)
		defer j.store.Release()
	}
	if s.ctx.Err() != nil {
		return
	}
	switch {
	case j.store != nil && s.lab:
		s.doLabStore(j)
	case j.store != nil:
		s.doStore(j)
	case j.request != nil:
		s.doRequest(j)
	default:
		s.doLabGet(j.labGet)
	}
}

// limit gives a request its context. It fails when the request's time is over
// already: then nothing is done.
func (s *linkSession) limit(arrived time.Time, remainingMS uint32) (context.Context, context.CancelFunc, error) {
	over := deadline(arrived, remainingMS)
	if over.IsZero() {
		return s.ctx, func() {}, nil
	}
	if !time.Now().Before(over) {
		return nil, nil, fmt.Errorf("waited %v of %d ms for a free hand: %w",
			time.Since(arrived).Round(time.Millisecond), remainingMS, raid.ErrExpired)
	}
	ctx, cancel := context.WithDeadline(s.ctx, over)
	return ctx, cancel, nil
}

// doStore handles a native Store.
func (s *linkSession) doStore(j linkRequest) {
	req, invalid, err := decodeStore(j.store.Frames[0], j.store.Frames[1])
	if err != nil {
		s.fail(err)
		return
	}
	s.link.cfg.SawCommit(req.commit)
	if invalid == nil {
		var ctx context.Context
		var cancel context.CancelFunc
		if ctx, cancel, invalid = s.limit(j.arrived, req.remaining); invalid == nil {
			invalid = s.link.cfg.Handler.Store(ctx, req.req)
			cancel()
		}
	}
	s.answer(&wirepb.Response{RequestId: req.id, Filename: string(req.name)}, invalid)
}

// doRequest handles a native request other than Store.
func (s *linkSession) doRequest(j linkRequest) {
	r := j.request
	resp := &wirepb.Response{RequestId: r.id, Filename: string(r.name)}
	ctx, cancel, err := s.limit(j.arrived, r.remaining)
	if err != nil {
		s.answer(resp, err)
		return
	}
	defer cancel()
	h := s.link.cfg.Handler
	switch {
	case r.get != nil:
		s.doGet(ctx, resp, *r.get)
		return
	case r.list != nil:
		resp.Result, err = s.list(ctx, *r.list)
	case r.verify != nil:
		err = h.Verify(ctx, r.name, int64(r.verify.ExpectedLength), r.verify.ExpectedCrc32C)
	case r.inspect != nil:
		resp.Result, err = s.inspect(ctx, r.inspect)
	case r.trash != nil:
		resp.Result, err = s.trash(ctx, r.trash, r.keep)
	case r.scrub:
		err = s.startScrub()
	case r.bad != nil:
		resp.Result, err = s.bad(*r.bad)
	default:
		resp.Result = errorsOf(h.Delete(ctx, r.delete))
	}
	s.answer(resp, err)
}

func listNames(ctx context.Context, h Handler, req ListRequest) ([]string, bool, error) {
	names, more, err := h.List(ctx, req)
	if err != nil {
		return nil, false, err
	}
	out, more := fitting(names, more)
	return out, more, nil
}

// fitting returns as many names as one response has room for.
func fitting(names []raid.ChunkName, more bool) ([]string, bool) {
	out := make([]string, 0, len(names))
	size := 0
	for _, n := range names {
		if size += len(n) + 2; size > maxResponse*9/10 { // names longer than ours: fewer fit
			return out, true
		}
		out = append(out, string(n))
	}
	return out, more
}

// doGet reads a chunk and sends it on the data connection; errors go on the
// control connection.
func (s *linkSession) doGet(ctx context.Context, resp *wirepb.Response, req NodeGet) {
	chunk, err := s.link.cfg.Handler.Get(ctx, req)
	var payload []byte
	if chunk.Payload != nil {
		defer chunk.Payload.Release()
		payload = chunk.Payload.Bytes()
	}
	if err == nil && int64(len(payload)) != req.Length {
		err = fmt.Errorf("read chunk %s: %d bytes came from the disk where %d were asked for", req.Name, len(payload), req.Length)
	}
	if err != nil {
		s.answer(resp, err)
		return
	}
	resp.Result = &wirepb.Response_Get{Get: &wirepb.GetResult{Length: uint64(chunk.Length), BlockCrc32C: chunk.Blocks}}
	frame, err := proto.Marshal(resp)
	if err == nil && len(frame) > maxResponse {
		err = fmt.Errorf("write response: chunk %s has %d blocks, too many for one answer: %w", req.Name, len(chunk.Blocks), raid.ErrTooLarge)
	}
	if err != nil {
		s.answer(resp, err)
		return
	}
	s.send(roleData, frame, payload)
}

// answer sends a response without payload.
func (s *linkSession) answer(resp *wirepb.Response, err error) {
	resp.Error, resp.ErrorText = encodeError(err)
	if err != nil {
		resp.Result = nil
	}
	frame, err := proto.Marshal(resp)
	if err != nil {
		s.fail(fmt.Errorf("write response: %w", err))
		return
	}
	s.send(roleControl, frame)
}

// send writes an answer. When it can't be written the session is over.
func (s *linkSession) send(r role, frames ...[]byte) {
	if err := s.conns[r].Send(s.ctx, frames...); err != nil && s.ctx.Err() == nil {
		s.fail(fmt.Errorf("send answer: %w", err))
	}
}

// fail ends the session from a worker: the readers notice.
func (s *linkSession) fail(err error) {
	s.log.Warn("Session breaks off", "reason", err)
	s.conns[roleControl].CloseWith(err)
}

// doLabStore handles a lab controller's Store: [request][data] → [filename].
func (s *linkSession) doLabStore(j linkRequest) {
	var pb wirepb.StoredataRequest
	if err := proto.Unmarshal(j.store.Frames[0], &pb); err != nil || !raid.ValidName(pb.Filename) {
		s.log.Warn("Lab chunk refused: its name is not 3 to 64 letters and digits", "name", clip(pb.Filename, 64), "reason", err)
		return
	}
	if err := s.link.cfg.Lab.StoreLab(s.ctx, pb.Filename, j.store.Frames[1]); err != nil {
		s.log.Warn("Lab chunk not stored", "name", pb.Filename, "reason", err)
		return
	}
	s.send(roleControl, []byte(pb.Filename))
}

// queueLabGet queues a lab controller's Get, [request]. What is none is dropped,
// as everything is that a PUB's subscriber has no room for.
func (s *linkSession) queueLabGet(frame []byte) {
	var pb wirepb.GetdataRequest
	if err := proto.Unmarshal(frame, &pb); err != nil || !raid.ValidName(pb.Filename) {
		s.log.Debug("Lab request dropped: its name is not 3 to 64 letters and digits", "name", clip(pb.Filename, 64))
		return
	}
	select {
	case s.link.others <- linkRequest{session: s, labGet: pb.Filename}:
	default:
		s.log.Warn("Lab request dropped: too many are waiting", "name", pb.Filename)
	}
}

// doLabGet handles a lab controller's Get: → [filename][data], or silence.
func (s *linkSession) doLabGet(name string) {
	b, err := s.link.cfg.Lab.GetLab(s.ctx, name)
	if err != nil {
		if !errors.Is(err, raid.ErrNotFound) {
			s.log.Warn("Lab chunk not read", "name", name, "reason", err)
		}
		return
	}
	defer b.Release()
	s.send(roleControl, []byte(name), b.Bytes())
}
