package wire

import (
	"context"
	"fmt"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
)

// TrashHandler does what a native controller asks before and when it gives up chunks
// that it does not know. Names are checked by raid.ValidName before.
type TrashHandler interface {
	// Inspect returns what a chunk's trailer says. It checks no payload.
	Inspect(ctx context.Context, name raid.ChunkName) (raid.ChunkMeta, error)
	// Trash moves chunks where they can be brought back from, for keep, and returns
	// one error for each.
	Trash(ctx context.Context, names []raid.ChunkName, keep time.Duration) []error
}

// maxKeepSeconds bounds how long a controller can have trash kept: ten years.
const maxKeepSeconds = 10 * 366 * 24 * 3600

func decodeInspect(in []string) ([]raid.ChunkName, error) {
	if len(in) > maxInspected {
		return nil, fmt.Errorf("read inspect request: %w: %d names, at most %d fit", raid.ErrInvalid, len(in), maxInspected)
	}
	return decodeNames(in)
}

var errNoTrash = fmt.Errorf("this node has no trash: %w", raid.ErrUnsupported)

func (s *linkSession) inspect(ctx context.Context, names []raid.ChunkName) (*wirepb.Response_Inspect, error) {
	h := s.link.cfg.Trash
	if h == nil {
		return nil, errNoTrash
	}
	result := &wirepb.InspectResult{}
	for _, name := range names {
		m, err := h.Inspect(ctx, name)
		result.Chunks = append(result.Chunks, encodeTrailer(m, err))
	}
	return &wirepb.Response_Inspect{Inspect: result}, nil
}

func encodeTrailer(m raid.ChunkMeta, err error) *wirepb.Trailer {
	if err != nil {
		code, _ := encodeError(err)
		return &wirepb.Trailer{Error: code}
	}
	t := &wirepb.Trailer{ArrayId: string(m.Array), Length: uint64(m.Length), CatalogCommit: m.Commit}
	if f := m.File; f != nil {
		t.File = &wirepb.FileMeta{Id: int64(f.ID), Size: uint64(f.Size), Sha256: f.SHA256[:], Stripes: uint64(f.Stripes)}
	}
	return t
}

func (s *linkSession) trash(ctx context.Context, names []raid.ChunkName, keep time.Duration) (*wirepb.Response_Delete, error) {
	h := s.link.cfg.Trash
	if h == nil {
		return nil, errNoTrash
	}
	return errorsOf(h.Trash(ctx, names, keep)), nil
}

// errorsOf is the answer to a request that has one error for each name.
func errorsOf(errs []error) *wirepb.Response_Delete {
	result := &wirepb.DeleteResult{}
	for _, err := range errs {
		code, _ := encodeError(err)
		result.Errors = append(result.Errors, code)
	}
	return &wirepb.Response_Delete{Delete: result}
}
