package chunkstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// findTrash looks for a chunk in the trash. mu is held.
func (s *Store) findTrash(name raid.ChunkName) (b *bin, size int64) {
	for _, at := range s.trash.inOrder() {
		b := s.trash.bins[at]
		if size, err := fileSize(s.fs, b.file(name)); err == nil {
			return b, size
		}
	}
	return nil, 0
}

// Trash moves chunks to the trash, where they stay for as long as keep says, or until
// room is needed. It returns one error for each, like Delete: nil when the move is
// durable or was made before. Read and Verify bring them back.
func (s *Store) Trash(ctx context.Context, names []raid.ChunkName, keep time.Duration) []error {
	errs := make([]error, len(names))
	leave, err := s.enter(ctx)
	if err == nil {
		defer leave()
		s.trash.mu.Lock()
		defer s.trash.mu.Unlock()
		// What is moved may be gone one day, and the number is to be there then.
		if err = s.saveCheckpoint(); err == nil || errors.Is(err, raid.ErrNoSpace) {
			err = s.trashAll(names, keep, errs)
		}
	}
	for i := range errs {
		errs[i] = cmp.Or(errs[i], err)
	}
	return errs
}

// trashAll moves all and then fsyncs: the bin first, so that no chunk is in neither.
func (s *Store) trashAll(names []raid.ChunkName, keep time.Duration, errs []error) error {
	if err := s.readOnly(); err != nil {
		return err
	}
	b, err := s.openBin(keep)
	if err != nil {
		return err
	}
	changes := map[*dir]uint64{}
	for i, name := range names {
		if errs[i] = s.trashOne(name, b, changes); errs[i] != nil {
			errs[i] = fmt.Errorf("move chunk %s to the trash: %w", clip(string(name)), errs[i])
		}
	}
	if err := syncDir(s.fs, b.path); err != nil {
		return s.fail("fsync directory", err)
	}
	for d, change := range changes {
		if err := s.flushRemovals(d, change); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) trashOne(name raid.ChunkName, b *bin, changes map[*dir]uint64) error {
	if err := checkName(name); err != nil {
		return err
	}
	if !s.names.delete(name) {
		return fmt.Errorf("it is being written: %w", raid.ErrBusy)
	}
	size, err := fileSize(s.fs, chunkPath(name))
	if err == nil {
		d := s.dirs.of(name)
		changes[d], err = d.change(-1, func() error { return s.fs.Rename(chunkPath(name), b.file(name)) })
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.corrupt.remove(name)
		if old, _ := s.findTrash(name); old != nil {
			return nil
		}
		return raid.ErrNotFound
	case err != nil:
		return s.refused("move file", err)
	}
	s.trash.add(b, 1, size)
	s.corrupt.remove(name)
	return nil
}

// restore puts a chunk of the trash back, durably, if it is the one that is asked for.
// It reports whether it may be there now.
func (s *Store) restore(name raid.ChunkName, length int64, crc uint32) (bool, error) {
	t := &s.trash
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.bins) == 0 || !s.names.mayReturn(name) || checkName(name) != nil {
		return false, nil
	}
	if _, err := fileSize(s.fs, chunkPath(name)); err == nil {
		return true, nil // another request was first
	}
	b, size := s.findTrash(name)
	if b == nil {
		return false, nil
	}
	c, err := s.openAt(b.file(name), name)
	if err != nil {
		return false, nil // it is of no use to anybody
	}
	err = c.expect(length, crc)
	c.close()
	if err != nil {
		return false, nil
	}
	if err := s.readOnly(); err != nil {
		return false, err
	}
	if err := s.putBack(name, b); err != nil {
		return false, err
	}
	t.add(b, -1, -size)
	s.log.Warn("A chunk of the trash is asked for after all, and is back", "chunk", string(name))
	return true, nil
}

func (s *Store) putBack(name raid.ChunkName, b *bin) error {
	d := s.dirs.of(name)
	if err := d.create(s.fs); err != nil {
		return s.refused("make directory", err)
	}
	change, err := d.change(1, func() error { return s.fs.Rename(b.file(name), chunkPath(name)) })
	if err != nil {
		return s.refused("move file", err)
	}
	if err := d.flush(s.fs, change); err != nil {
		return s.fail("fsync directory", err)
	}
	if err := syncDir(s.fs, b.path); err != nil {
		return s.fail("fsync directory", err)
	}
	s.names.restore(name)
	return nil
}

// deleteTrash removes a chunk from the trash, durably. It reports whether it was there.
func (s *Store) deleteTrash(name raid.ChunkName) (bool, error) {
	s.trash.mu.Lock()
	defer s.trash.mu.Unlock()
	b, _ := s.findTrash(name)
	if b == nil {
		return false, nil
	}
	if _, err := s.removeFromBin(b, name); err != nil {
		return false, s.refused("remove file", err)
	}
	if err := syncDir(s.fs, b.path); err != nil {
		return false, s.fail("fsync directory", err)
	}
	return true, nil
}
