package chunkstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/raid"
)

// WriteLab keeps a chunk of a lab controller under lab/, as durably as Write,
// replacing one of the same name. Nothing says what it is, so nothing but its
// length can be checked when it is read.
func (s *Store) WriteLab(ctx context.Context, name string, payload []byte) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if !raid.ValidName(name) {
		return fmt.Errorf("store lab chunk %q: its name is not 3 to 64 letters and digits: %w", clip(name), raid.ErrInvalid)
	}
	if err := s.readOnly(); err != nil {
		return fmt.Errorf("store lab chunk %s: %w", name, err)
	}
	if err := s.takeSlot(ctx); err != nil {
		return err
	}
	defer s.giveSlot()
	path := labPath(name)
	if _, err := s.durably(s.dirs.get(path[:len(path)-len(name)-1]), path, 0, payload); err != nil {
		return fmt.Errorf("store lab chunk %s: %w", name, err)
	}
	s.stored.Add(int64(len(payload)))
	return nil
}

// maxLab is the largest chunk that ReadLab reads, in bytes. Nobody sends one.
const maxLab = 1 << 30

// ReadLab returns a chunk of a lab controller, which the caller releases. It
// waits for memory. It fails with raid.ErrNotFound, and with raid.ErrTooLarge
// for a file of more than a gigabyte that somebody put there.
func (s *Store) ReadLab(ctx context.Context, name string) (*budget.Buffer, error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	if !raid.ValidName(name) {
		return nil, fmt.Errorf("read lab chunk %q: its name is not 3 to 64 letters and digits: %w", clip(name), raid.ErrInvalid)
	}
	b, err := s.readLab(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("read lab chunk %s: %w", name, err)
	}
	return b, nil
}

func (s *Store) readLab(ctx context.Context, name string) (*budget.Buffer, error) {
	f, err := s.fs.OpenFile(labPath(name), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, raid.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if fi.Size() > maxLab {
		return nil, fmt.Errorf("it has %d bytes: %w", fi.Size(), raid.ErrTooLarge)
	}
	b, err := s.pool.Acquire(ctx, int(fi.Size()))
	if err != nil {
		return nil, err
	}
	if err := readAt(f, b.Bytes(), 0); err != nil {
		b.Release()
		return nil, err
	}
	return b, nil
}
