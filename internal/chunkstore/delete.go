package chunkstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/raidpi/raidpi/internal/raid"
)

// Delete removes chunks and returns one error for each: nil when it is gone for good. A chunk that
// was not there gets raid.ErrNotFound, which is as durable. One that is being written gets
// raid.ErrBusy, and a name that no chunk has raid.ErrInvalid. raid.ErrReadOnly says that a removal
// or fsync failed. A deleted name can't be written again. Corrupt chunks go to the trash, see
// KeepCorrupt.
func (s *Store) Delete(ctx context.Context, names []raid.ChunkName) []error {
	errs := make([]error, len(names))
	moved := s.trashCorrupt(ctx, names, errs)
	if len(moved) == 0 {
		s.deleteAll(ctx, names, errs)
		return errs
	}
	var at []int
	var others []raid.ChunkName
	for i, name := range names {
		if !slices.Contains(moved, i) {
			at, others = append(at, i), append(others, name)
		}
	}
	left := make([]error, len(others))
	s.deleteAll(ctx, others, left)
	for i, err := range left {
		errs[at[i]] = err
	}
	return errs
}

// deleteAll unlinks chunks, and writes an error or nil for each into errs.
func (s *Store) deleteAll(ctx context.Context, names []raid.ChunkName, errs []error) {
	clear(errs)
	leave, err := s.enter(ctx)
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
		return
	}
	defer leave()
	// Nothing but this number may be left that tells of the delete.
	switch err := s.saveCheckpoint(); {
	case errors.Is(err, raid.ErrNoSpace):
		defer s.saveAfterAll()
	case err != nil:
		for i, name := range names {
			errs[i] = fmt.Errorf("delete chunk %s: %w", name, err)
		}
		return
	}
	// All are removed first, so that one fsync of a directory serves all in it.
	type removal struct {
		at     int // in names
		change uint64
	}
	byDir := map[*dir][]removal{}
	for i, name := range names {
		change, err := s.unlink(name)
		if errors.Is(err, raid.ErrNotFound) && !s.trash.isEmpty() {
			if there, failed := s.deleteTrash(name); there || failed != nil {
				err = failed
			}
		}
		if errs[i] = err; err == nil || errors.Is(err, raid.ErrNotFound) {
			d := s.dirs.of(name)
			byDir[d] = append(byDir[d], removal{i, change})
		}
	}
	s.eachOf(len(byDir), func(yield func(func())) {
		for d, removals := range byDir {
			yield(func() {
				last := removals[len(removals)-1].change
				if err := s.flushRemovals(d, last); err != nil {
					for _, r := range removals {
						errs[r.at] = fmt.Errorf("delete chunk %s: %w", names[r.at], err)
					}
				}
			})
		}
	})
}

// unlink removes a chunk's entry. change is the one to flush, also when the
// chunk was not there: whoever removed it may not have made that durable.
func (s *Store) unlink(name raid.ChunkName) (change uint64, err error) {
	if err := checkName(name); err != nil {
		return 0, fmt.Errorf("delete chunk: %w", err)
	}
	if err := s.readOnly(); err != nil {
		return 0, fmt.Errorf("delete chunk %s: %w", name, err)
	}
	if !s.names.delete(name) {
		return 0, fmt.Errorf("delete chunk %s: it is being written: %w", name, raid.ErrBusy)
	}
	d := s.dirs.of(name)
	if !d.made() {
		s.corrupt.remove(name)
		return 0, fmt.Errorf("delete chunk %s: %w", name, raid.ErrNotFound)
	}
	change, err = d.change(-1, func() error { return s.fs.Remove(chunkPath(name)) })
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.corrupt.remove(name)
		return change, fmt.Errorf("delete chunk %s: %w", name, raid.ErrNotFound)
	case err != nil:
		return 0, fmt.Errorf("delete chunk %s: %w", name, s.refused("remove file", err))
	}
	s.corrupt.remove(name)
	return change, nil
}

// flushRemovals makes removals in d durable. A directory that was never made
// has none.
func (s *Store) flushRemovals(d *dir, change uint64) error {
	if !d.made() {
		return nil
	}
	if err := d.flush(s.fs, change); err != nil {
		return s.fail("fsync directory", err)
	}
	return nil
}

// flushesAtOnce bounds the directories that one Delete fsyncs side by side: a
// journal commits them together.
const flushesAtOnce = 8

// eachOf runs n pieces of work, some side by side, and waits for all.
func (s *Store) eachOf(n int, work func(yield func(func()))) {
	if n == 1 {
		work(func(do func()) { do() })
		return
	}
	var running sync.WaitGroup
	slots := make(chan struct{}, flushesAtOnce)
	work(func(do func()) {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			do()
		})
	})
	running.Wait()
}
