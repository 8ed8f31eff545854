package chunkstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/raidpi/raidpi/internal/raid"
)

// A Turn is asked before each piece of work on the disk that no request waits for. It
// returns when that may begin, and how many bytes of a chunk may be read at once: a
// multiple of raid.BlockSize.
type Turn func(ctx context.Context) (bytes int, err error)

// QuietFor is the time since the last request ended; 0 while one is under way.
func (s *Store) QuietFor() time.Duration {
	if s.working.Load() > 0 {
		return 0
	}
	return max(0, time.Since(s.opened)-time.Duration(s.worked.Load()))
}

// enterBackground is enter for a call that is no request.
func (s *Store) enterBackground(ctx context.Context) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	if s.isClosed {
		s.mu.RUnlock()
		return nil, fmt.Errorf("chunk store is closed: %w", raid.ErrShutdown)
	}
	return s.mu.RUnlock, nil
}

// Names is List of the chunks of all uploads, and is no request.
func (s *Store) Names(ctx context.Context, after raid.ChunkName, limit int) (names []raid.ChunkName, more bool, err error) {
	leave, err := s.enterBackground(ctx)
	if err != nil {
		return nil, false, err
	}
	defer leave()
	return s.list(ctx, after, limit, 0, math.MaxUint32)
}

// CheckChunk reads a whole chunk from the disk itself, not from the kernel's memory. It compares
// every block with the checksums of the chunk's trailer. It is no request, and leaves nothing in
// the kernel's memory. It fails with raid.ErrNotFound, and with raid.ErrCorrupt or
// raid.ErrUnsupported, which it reports like Read. A chunk that is whole is not reported any more.
// All other errors say nothing of the chunk.
func (s *Store) CheckChunk(ctx context.Context, name raid.ChunkName, turn Turn) (bytes int64, err error) {
	leave, err := s.enterBackground(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	piece, err := turn(ctx)
	if err != nil {
		return 0, err
	}
	f, err := s.openFile(name)
	if err != nil {
		return 0, fmt.Errorf("check chunk %s: %w", clip(string(name)), err)
	}
	uncache(f, 0, 0)
	c, err := s.chunkOf(f, name)
	if err == nil {
		bytes, err = s.checkPayload(ctx, c, piece, turn)
		uncache(f, 0, 0)
		c.close()
	}
	if err != nil {
		return bytes, fmt.Errorf("check chunk %s: %w", clip(string(name)), s.found(name, err))
	}
	s.corrupt.remove(name)
	return bytes, nil
}

// checkPayload checks an open chunk's payload, the first piece of it at once.
func (s *Store) checkPayload(ctx context.Context, c *chunk, piece int, turn Turn) (bytes int64, err error) {
	buf := s.verifyBuffers.Get().(*[verifyLen]byte)
	defer s.verifyBuffers.Put(buf)
	for at := int64(0); at < c.meta.Length; {
		if at > 0 {
			if piece, err = turn(ctx); err != nil {
				return at, err
			}
		}
		piece = min(max(piece, raid.BlockSize), verifyLen) / raid.BlockSize * raid.BlockSize
		b := buf[:min(int64(piece), c.meta.Length-at)]
		if err := c.read(b, at); err != nil {
			return at, err
		}
		if err := checkBlocks(c.meta.Blocks, at/raid.BlockSize, b); err != nil {
			return at, err
		}
		uncache(c.f, at, int64(len(b)))
		at += int64(len(b))
	}
	return c.meta.Length, nil
}

// uncache has the kernel forget what it remembers of a part of a file; length 0: to its
// end. What is not written yet stays. Where the kernel can't, the file is read as it is
// remembered.
func uncache(f File, offset, length int64) {
	if w, ok := f.(*watchedFile); ok {
		f = w.File
	}
	if d, ok := f.(interface{ Fd() uintptr }); ok {
		_ = unix.Fadvise(int(d.Fd()), offset, length, unix.FADV_DONTNEED) // see above
	}
}

// CorruptNames returns the names of chunks that were found corrupt and are still there, in order.
// They come after the given one, at most limit of them. more says that there are others. At most
// 10,000 are remembered.
func (s *Store) CorruptNames(after raid.ChunkName, limit int) (names []raid.ChunkName, more bool) {
	for _, name := range s.corrupt.sorted() {
		if name <= after {
			continue
		}
		if len(names) == limit {
			return names, true
		}
		names = append(names, name)
	}
	return names, false
}

// KeepCorrupt has Delete move corrupt chunks to the trash, for keep, from where a person
// can get what is left of them. 0: they are unlinked like all others.
func (s *Store) KeepCorrupt(keep time.Duration) { s.keepCorrupt.Store(int64(keep)) }

// trashCorrupt moves those of the names to the trash that are to be kept there, and
// returns where they are among names.
func (s *Store) trashCorrupt(ctx context.Context, names []raid.ChunkName, errs []error) (moved []int) {
	keep := time.Duration(s.keepCorrupt.Load())
	if keep <= 0 {
		return nil
	}
	var bad []raid.ChunkName
	for i, name := range names {
		// A read that is under way would put it back, and nobody would delete it once more.
		if s.corrupt.has(name) && s.names.deleteForGood(name) {
			moved, bad = append(moved, i), append(bad, name)
		}
	}
	if len(bad) == 0 {
		return nil
	}
	for i, err := range s.Trash(ctx, bad, keep) {
		errs[moved[i]] = err
	}
	// A disk that is too full for the trash is not too full to unlink.
	return slices.DeleteFunc(moved, func(i int) bool { return errors.Is(errs[i], raid.ErrNoSpace) })
}

// ScrubRecord returns what SaveScrubRecord has written last; empty: nothing.
func (s *Store) ScrubRecord() (string, error) { return s.record(scrubFile) }

// SaveScrubRecord writes a record of at most 64 KiB, in place of the one before,
// durably. It may use the reserve. It fails with raid.ErrReadOnly, raid.ErrNoSpace or
// raid.ErrBusy; the record before is there then.
func (s *Store) SaveScrubRecord(text string) error {
	if err := s.saveRecord(scrubFile, text); err != nil {
		return fmt.Errorf("save the record of the scrub: %w", err)
	}
	return nil
}
