package wire

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
)

// Inspected is a node's report of a chunk's trailer. The file's description lacks its texts, and
// the rest lacks all that does not say whose the chunk is.
type Inspected struct {
	Meta raid.ChunkMeta
	Err  error // raid.ErrNotFound, raid.ErrCorrupt, or why the node can't tell now
}

// Inspect asks what the trailers of chunks say, in order. It fails with
// raid.ErrUnsupported on a node that does not know the request.
func (s *Session) Inspect(ctx context.Context, names []raid.ChunkName) (all []Inspected, err error) {
	for len(names) > 0 {
		n := min(len(names), maxInspected)
		o := s.ask(ctx, &call{kind: callOther}, &wirepb.GetdataRequest{Op: &wirepb.GetdataRequest_Inspect{Inspect: &wirepb.InspectOp{Names: texts(names[:n])}}})
		if o.err != nil {
			return nil, fmt.Errorf("inspect %d chunks: %w", n, o.err)
		}
		got := o.resp.pb.GetInspect().GetChunks()
		if len(got) != n {
			return nil, fmt.Errorf("inspect %d chunks: %w: the node answered for %d", n, errInternal, len(got))
		}
		for i, t := range got {
			all = append(all, decodeTrailer(names[i], t))
		}
		names = names[n:]
	}
	return all, nil
}

func decodeTrailer(name raid.ChunkName, t *wirepb.Trailer) (in Inspected) {
	if in.Err = decodeError(t.GetError(), ""); in.Err != nil {
		return in
	}
	key, err := raid.ParseChunkName(name)
	if err != nil || !isID(t.GetArrayId()) || t.GetLength() > math.MaxInt64 {
		in.Err = fmt.Errorf("inspect chunk %s: %w: %d bytes of array %q", name, errInternal, t.GetLength(), clip(t.GetArrayId(), 30))
		return in
	}
	in.Meta = raid.ChunkMeta{Array: raid.ArrayID(t.ArrayId), Key: key, Length: int64(t.Length), Commit: t.CatalogCommit}
	in.Meta.File, in.Err = decodeFile(string(name), t.File)
	return in
}

// Trash has the node move chunks to its trash for keep, durably. Errors are as those of
// Delete; raid.ErrUnsupported is a node's that knows no trash.
func (s *Session) Trash(ctx context.Context, names []raid.ChunkName, keep time.Duration) (errs []error, err error) {
	for len(names) > 0 {
		n := min(len(names), maxNames)
		o := s.ask(ctx, &call{kind: callOther}, &wirepb.GetdataRequest{Op: &wirepb.GetdataRequest_Trash{
			Trash: &wirepb.TrashOp{Names: texts(names[:n]), KeepSeconds: uint64(keep / time.Second)},
		}})
		if o.err != nil {
			return errs, fmt.Errorf("move %d chunks to the trash: %w", n, o.err)
		}
		got, err := o.resp.deleteResult(n)
		if err != nil {
			return errs, err
		}
		errs, names = append(errs, got...), names[n:]
	}
	return errs, nil
}

func texts(names []raid.ChunkName) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = string(name)
	}
	return out
}
