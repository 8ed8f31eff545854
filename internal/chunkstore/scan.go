package chunkstore

import (
	"context"
	"errors"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// scanPause is the wait of the scan before each trailer while requests are under way: they come
// first.
const scanPause = 2 * time.Millisecond

// scanAgain is the pause before a scan that the disk broke off is repeated.
const scanAgain = time.Minute

// scan counts the chunks, which takes a moment. Then it reads every trailer for the highest commit
// number, which on a large disk takes minutes.
func (s *Store) scan(ctx context.Context) {
	// Directories that are made from here on hold what this life writes.
	all := s.dirs.fanout()
	for _, d := range all {
		if ctx.Err() != nil {
			return
		}
		if err := d.count(s.fs); err != nil {
			s.log.Error("Chunks can't be counted; check the disk", "reason", err)
		}
	}
	start := time.Now()
	for !s.scanTrailers(ctx, all) {
		t := time.NewTimer(scanAgain)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
	s.scanned.Store(true)
	s.log.Info("Chunks scanned", "chunks", s.dirs.chunks.Load(), "corrupt", s.corrupt.count(),
		"highest_commit", s.Stats().HighestCommit, "took", time.Since(start).Round(time.Millisecond))
}

// scanTrailers reports whether it has read them all.
func (s *Store) scanTrailers(ctx context.Context, all []*dir) (ok bool) {
	for _, d := range all {
		err := eachChunk(s.fs, d.path, func(name raid.ChunkName) error { return s.scanChunk(ctx, name) })
		if err == nil {
			continue
		}
		if ctx.Err() == nil {
			s.log.Error("Trailers can't be read, and until they are nothing is deleted; check the disk", "reason", err)
		}
		return false
	}
	return true
}

// scanChunk reads one trailer. A corrupt chunk was reported by open and does not
// end the scan; an unreadable disk does.
func (s *Store) scanChunk(ctx context.Context, name raid.ChunkName) error {
	if err := s.yieldToRequests(ctx); err != nil {
		return err
	}
	c, err := s.open(name)
	switch {
	case errors.Is(err, raid.ErrNotFound), errors.Is(err, raid.ErrCorrupt), errors.Is(err, raid.ErrUnsupported):
		return nil
	case err != nil:
		return err
	}
	defer c.close()
	if s.array == nil || c.meta.Array == s.array() {
		s.commit.find(raid.Commit{Number: c.meta.Commit, MAC: c.meta.CommitMAC})
	}
	return nil
}

func (s *Store) yieldToRequests(ctx context.Context) error {
	if s.working.Load() == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(scanPause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
