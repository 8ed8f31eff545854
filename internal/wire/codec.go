package wire

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
)

// encoder writes frames into buffers that are used again.
type encoder struct{ pool sync.Pool }

// storeFrame is one store request's first frame and what it is made in.
type storeFrame struct {
	req  wirepb.StoredataRequest
	meta wirepb.ChunkMeta
	file wirepb.FileMeta
	buf  []byte
}

// store writes a store request's first frame. The frame is valid until it is
// handed to done.
func (e *encoder) store(id uint64, name raid.ChunkName, remaining uint32, commit raid.Commit, m *raid.ChunkMeta) (*storeFrame, error) {
	f, _ := e.pool.Get().(*storeFrame)
	if f == nil {
		f = &storeFrame{buf: make([]byte, 0, 512)}
	}
	f.req.Filename = string(name)
	f.req.RequestId = id
	f.req.RemainingMs = remaining
	f.req.CatalogCommit, f.req.CommitMac = commit.Number, commit.MAC.Bytes()
	f.req.Meta = nil
	if m != nil {
		encodeMeta(&f.meta, &f.file, m)
		f.req.Meta = &f.meta
	}
	var err error
	if f.buf, err = (proto.MarshalOptions{}).MarshalAppend(f.buf[:0], &f.req); err != nil {
		return nil, fmt.Errorf("write store request for %s: %w: %v", name, raid.ErrInvalid, err)
	}
	if len(f.buf) > maxHead {
		return nil, fmt.Errorf("write store request for %s: %w: its description has %d bytes, at most %d fit", name, raid.ErrInvalid, len(f.buf), maxHead)
	}
	return f, nil
}

func (e *encoder) done(f *storeFrame) {
	f.meta.BlockCrc32C, f.file.Sha256 = nil, nil // the caller's
	e.pool.Put(f)
}

// remainingMS is the time until ctx's deadline in milliseconds, rounded up; 0
// means that there is none. ok is false when the time is over.
func remainingMS(ctx context.Context) (ms uint32, ok bool) {
	deadline, has := ctx.Deadline()
	if !has {
		return 0, true
	}
	left := time.Until(deadline)
	if left <= 0 {
		return 0, false
	}
	return uint32(min((left+time.Millisecond-1)/time.Millisecond, math.MaxUint32)), true
}

// response is a parsed frame from port 5558, before it is matched.
type response struct {
	id   uint64
	name raid.ChunkName
	err  error // what the node answered; nil is success
	pb   *wirepb.Response
}

// decodeResponse parses the first frame of a native node's message on port 5558.
// Its error means that the peer does not speak the protocol.
func decodeResponse(frame []byte) (response, error) {
	pb := new(wirepb.Response)
	if err := proto.Unmarshal(frame, pb); err != nil {
		return response{}, fmt.Errorf("read response: %w", err)
	}
	return response{
		id: pb.RequestId, name: raid.ChunkName(pb.Filename), err: decodeError(pb.Error, pb.ErrorText), pb: pb,
	}, nil
}

// getResult checks a successful answer to a Get of a payload of expect bytes. One
// that is unchecked has no checksums; those of a node that knows no such Get are
// thrown away.
func (r *response) getResult(expect int64, unchecked bool) (GetResult, error) {
	g := r.pb.GetGet()
	if unchecked && g != nil {
		return GetResult{Length: expect}, nil
	}
	if g == nil || g.Length != uint64(expect) || int64(len(g.BlockCrc32C)) != raid.BlockCount(expect) {
		return GetResult{}, fmt.Errorf("read chunk %s: %w: the node has %d bytes in %d blocks under that name, the catalog %d",
			r.name, raid.ErrCorrupt, g.GetLength(), len(g.GetBlockCrc32C()), expect)
	}
	return GetResult{Length: expect, Blocks: g.BlockCrc32C}, nil
}

// deleteResult checks a successful answer to a Delete of n names.
func (r *response) deleteResult(n int) ([]error, error) {
	codes := r.pb.GetDelete().GetErrors()
	if len(codes) != n {
		return nil, fmt.Errorf("delete %d chunks: %w: the node answered for %d", n, errInternal, len(codes))
	}
	errs := make([]error, n)
	for i, code := range codes {
		errs[i] = decodeError(code, "")
	}
	return errs, nil
}

// listResult checks a successful answer to a List of at most limit names.
func (r *response) listResult(limit int) ([]raid.ChunkName, bool, error) {
	got := r.pb.GetList().GetNames()
	more := r.pb.GetList().GetMore()
	if len(got) > limit || more && len(got) == 0 {
		return nil, false, fmt.Errorf("list chunks: %w: the node answered %d names for at most %d", errInternal, len(got), limit)
	}
	names := make([]raid.ChunkName, len(got))
	for i, n := range got {
		if !raid.ValidName(n) {
			return nil, false, fmt.Errorf("list chunks: %w: %q is not a chunk name", errInternal, clip(n, 64))
		}
		names[i] = raid.ChunkName(n)
	}
	return names, more, nil
}
