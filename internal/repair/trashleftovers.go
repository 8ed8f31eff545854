package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
)

// trashLeftovers moves chunks to their node's trash whose upload the catalog's index does not
// know, once everything else agrees that it never became a file. That is what
// the chunks' trailers say, and what the catalog has outside of that index. A chunk with any trace
// of a file stays, and is reported.
//
// What is left are catalogs that lost every row of a file and prove it nowhere. For
// them the trash is there: a chunk that is asked for comes back.
func (r *Repairer) trashLeftovers(ctx context.Context, p *membership.Peer, s *search, unknown []raid.ChunkKey) error {
	ours, err := r.inspect(ctx, p, s, unknown)
	if err != nil || len(ours) == 0 {
		return err
	}
	claims := map[raid.UploadID][]raid.FileID{}
	for _, c := range ours {
		files := claims[c.key.Upload]
		if c.file != 0 && !slices.Contains(files, c.file) {
			files = append(files, c.file)
		}
		claims[c.key.Upload] = files
	}
	traces, err := r.traces(ctx, claims)
	if err != nil {
		return fmt.Errorf("look for traces of what node %s holds: %w", p.ID(), err)
	}
	var leftovers []raid.ChunkKey
	for _, c := range ours {
		if traces[c.key.Upload] == "" {
			leftovers = append(leftovers, c.key)
		} else {
			s.kept++
		}
	}
	if len(traces) > 0 {
		r.reportKept(p, s, traces)
	}
	return r.trash(ctx, p, leftovers, len(claims)-len(traces))
}

// claim has what a chunk's trailer says of it.
type claim struct {
	key  raid.ChunkKey
	file raid.FileID // 0: it does not say
}

// inspect asks what the trailers of chunks say, and returns those that may go. One that
// can't be read, or that belongs to another array, stays.
func (r *Repairer) inspect(ctx context.Context, p *membership.Peer, s *search, keys []raid.ChunkKey) (ours []claim, err error) {
	for batch := range slices.Chunk(keys, inspectBatch) {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		got, err := p.Inspect(call, namesOf(batch))
		cancel()
		if errors.Is(err, raid.ErrUnsupported) {
			s.refused, s.kept = true, len(keys)
			p.Accuse(fmt.Sprintf("it holds %d chunks or more of uploads that were never finished. They stay until raid-node is upgraded there", len(keys)))
			return nil, nil
		}
		if err != nil {
			r.cfg.Log.Debug("chunks could not be inspected", "node", p.ID(), "cause", err)
			return nil, errLater
		}
		for i, in := range got {
			switch {
			case errors.Is(in.Err, raid.ErrNotFound):
			case errors.Is(in.Err, raid.ErrBusy):
				return nil, errLater
			case in.Err != nil || in.Meta.Array != r.cfg.Array:
				s.kept++
			case in.Meta.File != nil:
				ours = append(ours, claim{batch[i], in.Meta.File.ID})
			default:
				ours = append(ours, claim{key: batch[i]})
			}
		}
	}
	return ours, nil
}

// traces asks the catalog, for one node at a time: it reads through its tables.
func (r *Repairer) traces(ctx context.Context, claims map[raid.UploadID][]raid.FileID) (map[raid.UploadID]string, error) {
	r.reading.Lock()
	defer r.reading.Unlock()
	return r.cfg.Queue.Traces(ctx, claims)
}

// reportKept tells of chunks that contradict the catalog.
func (r *Repairer) reportKept(p *membership.Peer, s *search, traces map[raid.UploadID]string) {
	for upload, trace := range traces {
		p.Accuse(fmt.Sprintf("it holds %d chunks that contradict the catalog, such as those of upload %s: %s. They stay where they are", s.kept, upload, trace))
		if r.lies.due() {
			r.cfg.Log.Error("chunks contradict the catalog and are kept", "node", p.ID(), "chunks", s.kept, "uploads", len(traces), "upload", upload, "because", trace)
		}
		return
	}
}

// trash has a node move chunks to its trash, or delete them where none is kept.
func (r *Repairer) trash(ctx context.Context, p *membership.Peer, keys []raid.ChunkKey, uploads int) error {
	moved := 0
	for batch := range slices.Chunk(keys, removalBatch) {
		if !r.mayRemove() {
			return errLater
		}
		call, cancel := context.WithTimeout(ctx, callTimeout)
		errs, err := r.trashOrDelete(call, p, namesOf(batch))
		cancel()
		if err != nil || len(errs) != len(batch) {
			r.cfg.Log.Debug("leftovers stay for now", "node", p.ID(), "cause", err)
			return errLater
		}
		for _, e := range errs {
			if e != nil && !errors.Is(e, raid.ErrNotFound) {
				r.cfg.Log.Debug("a leftover stays for now", "node", p.ID(), "cause", e)
				return errLater
			}
		}
		moved += len(batch)
	}
	if moved > 0 {
		r.cfg.Log.Info("chunks of uploads that were never finished are given up", "node", p.ID(), "chunks", moved, "uploads", uploads, "kept_in_trash_for", r.cfg.Keep)
	}
	return nil
}

func (r *Repairer) trashOrDelete(ctx context.Context, p *membership.Peer, names []raid.ChunkName) ([]error, error) {
	if r.cfg.Keep <= 0 {
		return p.Delete(ctx, names)
	}
	return p.Trash(ctx, names, r.cfg.Keep)
}

func namesOf(keys []raid.ChunkKey) []raid.ChunkName {
	names := make([]raid.ChunkName, len(keys))
	for i, k := range keys {
		names[i] = k.Name()
	}
	return names
}
