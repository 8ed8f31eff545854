package chunkstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"sync"

	"github.com/raidpi/raidpi/internal/raid"
)

// Write keeps a chunk under the name of m.Key, durably. It fails with
//
//   - raid.ErrCorrupt when the payload is not what m says,
//   - raid.ErrInvalid when the name is there already, was deleted, or the chunk
//     belongs to another array,
//   - raid.ErrNoSpace when the disk has no room beyond its reserve,
//   - raid.ErrReadOnly when this or an earlier write or fsync failed,
//   - the context's error when that ends while other writers are waited for.
//
// After any error nothing is visible under the name. A write that has begun is
// finished, whatever becomes of the context.
func (s *Store) Write(ctx context.Context, m raid.ChunkMeta, payload []byte) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	name := m.Key.Name()
	if err := s.checkWrite(&m, name, payload); err != nil {
		return fmt.Errorf("store chunk %s: %w", name, err)
	}
	b := s.trailers.Get().(*[]byte)
	defer s.trailers.Put(b)
	start := (*b)[:0]
	if len(payload) <= copyPayload {
		start, payload = append(start, payload...), nil
	}
	if *b, err = appendTrailer(start, &m); err != nil {
		return fmt.Errorf("store chunk %s: %w", name, err)
	}
	if err := s.takeSlot(ctx); err != nil {
		return err
	}
	defer s.giveSlot()

	if !s.names.begin(name) {
		return fmt.Errorf("store chunk %s: the name is in use or was deleted: %w", name, raid.ErrInvalid)
	}
	void, err := s.writeNew(name, payload, *b)
	s.names.end(name, void)
	if err != nil {
		return fmt.Errorf("store chunk %s: %w", name, err)
	}
	s.commit.saw(raid.Commit{Number: m.Commit, MAC: m.CommitMAC})
	s.wroteOne()
	s.stored.Add(m.Length)
	return nil
}

// copyPayload is the largest payload, in bytes, that is copied before its trailer. So both go out
// in one write: a second one costs more than the copy.
const copyPayload = 16 << 10

// checkWrite checks what can be known before the disk is touched.
func (s *Store) checkWrite(m *raid.ChunkMeta, name raid.ChunkName, payload []byte) error {
	if key, err := raid.ParseChunkName(name); err != nil || key != m.Key {
		return fmt.Errorf("%s can't be written as a name: %w", m.Key, raid.ErrInvalid)
	}
	if m.StripeSize < 0 || m.File != nil && (m.File.Size < 0 || m.File.Stripes < 0) {
		return fmt.Errorf("a size is negative: %w", raid.ErrInvalid)
	}
	if s.array != nil {
		if ours := s.array(); m.Array != ours {
			return fmt.Errorf("it belongs to array %q, this disk to %q: %w", clip(string(m.Array)), ours, raid.ErrInvalid)
		}
	}
	if err := s.readOnly(); err != nil {
		return err
	}
	return checkPayload(m, payload)
}

// writeNew writes a file whose name is claimed. void says that the file may be
// visible although the write failed.
func (s *Store) writeNew(name raid.ChunkName, payload, trailer []byte) (void bool, err error) {
	path := chunkPath(name)
	switch _, err := fileSize(s.fs, path); {
	case err == nil:
		return false, fmt.Errorf("there is one of this name: %w", raid.ErrInvalid)
	case !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	return s.durably(s.dirs.of(name), path, 1, payload, trailer)
}

// fileOverhead estimates what a file costs beside its bytes: half a block on average, an inode, its
// entry. One block is a safe guess.
const fileOverhead = 4096

// durably makes a file of the given pieces in directory d, one that counts for n chunks. Its steps:
// temporary file, write, fsync, rename, fsync of the directory and of those above it that are new.
// void says that the rename was done, or may have been, and that the error leaves open whether it
// lasts.
func (s *Store) durably(d *dir, path string, n int64, pieces ...[]byte) (void bool, err error) {
	size := int64(fileOverhead)
	for _, p := range pieces {
		size += int64(len(p))
	}
	room, ok, err := s.space.take(size)
	if err != nil {
		return false, err
	}
	if !ok && s.makeRoom(size-room) {
		room, ok, err = s.space.take(size)
	}
	if err != nil {
		return false, err
	}
	if !ok {
		return false, s.noSpace(fmt.Errorf("%d bytes are free beyond the reserve", max(0, room)))
	}
	defer func() { s.space.give(size, err == nil) }()
	if void, err = s.put(d, path, n, pieces...); err == nil && s.space.turn(false) {
		s.log.Info("Disk has room again")
	}
	return void, err
}

// put is durably for a file that may use the reserve.
func (s *Store) put(d *dir, path string, n int64, pieces ...[]byte) (void bool, err error) {
	if err := d.create(s.fs); err != nil {
		return false, s.refused("make directory", err)
	}
	// The parent of a new directory is fsynced beside what follows; flush, below,
	// finds it done or its error.
	var above sync.WaitGroup
	defer above.Wait()
	if number, needed := d.unsettled(); needed {
		above.Go(func() { d.parent.flush(s.fs, number) })
	}
	tmp := join(tmpDir, strconv.FormatInt(s.tmp.Add(1), 10))
	if err := s.writeTmp(tmp, pieces); err != nil {
		s.discard(tmp)
		return false, err
	}
	change, err := d.change(n, func() error { return s.fs.Rename(tmp, path) })
	if err != nil {
		s.discard(tmp)
		err = s.refused("rename file", err)
		return errors.Is(err, raid.ErrReadOnly), err
	}
	if err := d.flush(s.fs, change); err != nil {
		return true, s.fail("fsync directory", err)
	}
	return false, nil
}

// writePiece is the number of bytes that one write(2) gets. For larger ones ext4 and XFS take
// blocks of up to 2 MiB for the page cache. Such blocks are scarce on a small machine, and on a
// virtual one the likeliest to have been lent out again. With 2 MiB, an upload cost twice the
// processor time that it costs with 128 KiB.
const writePiece = 128 << 10

// writeTmp writes and fsyncs a new temporary file.
func (s *Store) writeTmp(path string, pieces [][]byte) error {
	f, err := s.fs.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return s.refused("create file", err)
	}
	for _, p := range pieces {
		for len(p) > 0 {
			n := min(len(p), writePiece)
			if _, err := f.Write(p[:n]); err != nil {
				f.Close()
				return s.refused("write file", err)
			}
			p = p[n:]
		}
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return s.fail("fsync file", err)
	}
	if err := f.Close(); err != nil {
		return s.fail("close file", err)
	}
	return nil
}

// refused classifies an error of anything but fsync. A full disk and a process short of descriptors
// or memory are nobody's fault. All else is the disk's.
func (s *Store) refused(doing string, err error) error {
	switch {
	case full(err):
		return s.noSpace(fmt.Errorf("%s: %w", doing, err))
	case exhausted(err):
		return fmt.Errorf("%s: %w: %w", doing, raid.ErrBusy, err)
	}
	return s.fail(doing, err)
}

// noSpace reports a full disk, and logs the first of a row.
func (s *Store) noSpace(cause error) error {
	if s.space.turn(true) {
		s.log.Warn("Disk is full; delete files, lower the reserve or add a node", "reason", cause)
	}
	return fmt.Errorf("%w: %w", raid.ErrNoSpace, cause)
}

// discard removes a temporary file as well as it can; Open removes the rest.
func (s *Store) discard(tmp string) {
	if err := s.fs.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Debug("Unfinished file stays until the next start", "file", tmp, "reason", err)
	}
}

func (s *Store) takeSlot(ctx context.Context) error {
	select {
	case s.slots <- struct{}{}:
		return nil
	default:
	}
	select {
	case s.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for other writers: %w", ctx.Err())
	}
}

func (s *Store) giveSlot() { <-s.slots }
