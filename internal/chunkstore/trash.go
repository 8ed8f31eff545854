package chunkstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// The trash holds chunks that nobody is known to need, until their time is over or
// their room is needed. One that is asked for after all is put back.
//
//	trash/<seconds>/<name>
//
// Time is the store's own: the seconds in which it was open, over all its lives. A directory,
// called a bin, is emptied when that time has come. Bins are few, since times are rounded up to a
// part of the time that chunks are kept. Only their sums are in memory.
const (
	trashDir = "trash"
	// trashFile has one line, "<seconds> <CRC-32C of these digits>\n": how long the store
	// was open. It is written now and then, and only while there is trash. What is lost with a life
	// that was cut off is kept longer.
	trashFile      = "raid-node.trash"
	trashSaveEvery = 10 * time.Minute
	// binsPerKeep is the number of parts into which the time that chunks are kept is divided.
	binsPerKeep = 24
	// trashKeepUnknown is the time, in seconds, assumed of bins when trashFile is unreadable.
	trashKeepUnknown = 24 * 3600
	// maxKeep bounds how long chunks are kept.
	maxKeep = 3650 * 24 * time.Hour
)

// trash knows the bins and their sums. Its lock is taken before those of directories.
type trash struct {
	opened time.Time
	wake   chan struct{} // of 1: a bin came

	chunks, bytes atomic.Int64

	mu    sync.Mutex
	base  int64 // seconds that earlier lives were open
	saved int64 // as trashFile says
	bins  map[int64]*bin
}

// bin is one directory of the trash.
type bin struct {
	path          string
	counted       bool
	chunks, bytes int64
}

func (b *bin) file(name raid.ChunkName) string { return join(b.path, string(name)) }

// now returns for how many seconds the store was open in all its lives. mu is held.
func (t *trash) now() int64 { return t.base + int64(time.Since(t.opened)/time.Second) }

// inOrder are the bins, the first to be emptied first. mu is held.
func (t *trash) inOrder() []int64 { return slices.Sorted(maps.Keys(t.bins)) }

func (t *trash) isEmpty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.bins) == 0
}

// add notes that chunks came to a bin, or went. mu is held.
func (t *trash) add(b *bin, chunks, bytes int64) {
	if !b.counted {
		return // the count finds them there, or does not
	}
	b.chunks += chunks
	b.bytes += bytes
	t.chunks.Add(chunks)
	t.bytes.Add(bytes)
}

// loadTrash finds what earlier lives have left.
func (s *Store) loadTrash() error {
	t := &s.trash
	t.opened, t.wake, t.bins = time.Now(), make(chan struct{}, 1), map[int64]*bin{}
	names, err := readNames(s.fs, trashDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, name := range names {
		if at, err := strconv.ParseInt(name, 10, 64); err == nil && at > 0 && strconv.FormatInt(at, 10) == name {
			t.bins[at] = &bin{path: join(trashDir, name)}
		}
	}
	text, err := readSmall(s.fs, trashFile)
	n, parsed := strconv.ParseInt(strings.Split(text, " ")[0], 10, 64)
	switch {
	case err == nil && parsed == nil && n >= 0 && text == trashTime(n):
		t.base = n
	case len(t.bins) > 0:
		t.base = max(0, t.inOrder()[0]-trashKeepUnknown)
		s.log.Warn("How long the trash was kept is not known; it is kept for another day", "file", trashFile, "reason", err)
	}
	t.saved = t.base
	return nil
}

// keepTrash counts what is in the trash, empties bins whose time has come, and saves
// the time now and then. Without trash it sleeps.
func (s *Store) keepTrash(ctx context.Context) {
	t := &s.trash
	t.mu.Lock()
	for _, at := range t.inOrder() {
		s.countBin(t.bins[at])
	}
	t.mu.Unlock()
	for {
		var next <-chan time.Time
		if wait, some := s.emptyBins(ctx); some {
			next = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.wake:
		case <-next:
			if err := s.saveTrashTime(); err != nil && !errors.Is(err, raid.ErrNoSpace) {
				s.log.Warn("How long the trash was kept is not saved; it is kept longer", "reason", err)
			}
		}
	}
}

// emptyBins removes the chunks whose time is over, and returns when to look again,
// if there are others.
func (s *Store) emptyBins(ctx context.Context) (wait time.Duration, some bool) {
	t := &s.trash
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, at := range t.inOrder() {
		left := time.Duration(at-t.now()) * time.Second
		if left > 0 || s.readOnly() != nil {
			return min(max(left, time.Second), trashSaveEvery), true
		}
		freed, err := s.emptyBin(ctx, at, -1)
		if err != nil {
			s.log.Warn("Trash can't be emptied; it is tried again", "directory", t.bins[at].path, "reason", err)
			return trashSaveEvery, true
		}
		s.log.Info("Trash emptied: its time was over", "bytes", freed)
	}
	return 0, false
}

// errEnough ends a walk through a directory.
var errEnough = errors.New("enough")

// emptyBin unlinks chunks of a bin until so many bytes are free; negative: all. One
// that is empty then goes as well. Nothing is fsynced: what a power cut brings back is
// in the trash again. mu is held.
func (s *Store) emptyBin(ctx context.Context, at, bytes int64) (freed int64, err error) {
	b := s.trash.bins[at]
	for { // a directory that is changed while it is read may not be read to its end
		removed := 0
		err = eachName(s.fs, b.path, func(name string) error {
			if bytes >= 0 && freed >= bytes {
				return errEnough
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			size, err := s.removeFromBin(b, raid.ChunkName(name))
			if err == nil {
				freed += size
				removed++
			}
			return err
		})
		if err != nil || removed == 0 {
			break
		}
	}
	switch {
	case errors.Is(err, errEnough):
		return freed, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return freed, err
	}
	delete(s.trash.bins, at)
	if err := s.fs.Remove(b.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Debug("An empty directory of the trash stays", "directory", b.path, "reason", err)
	}
	return freed, nil
}

// removeFromBin unlinks a chunk and returns what it took. mu is held.
func (s *Store) removeFromBin(b *bin, name raid.ChunkName) (size int64, err error) {
	size, err = fileSize(s.fs, b.file(name))
	if err == nil {
		err = s.fs.Remove(b.file(name))
	}
	if err != nil {
		return 0, err
	}
	s.trash.add(b, -1, -size)
	s.space.freed(size)
	return size, nil
}

// makeRoom frees at least so many bytes of the trash, the first of it first. It reports
// whether it freed any.
func (s *Store) makeRoom(bytes int64) bool {
	t := &s.trash
	t.mu.Lock()
	defer t.mu.Unlock()
	var freed int64
	for _, at := range t.inOrder() {
		if freed >= bytes {
			break
		}
		n, err := s.emptyBin(context.Background(), at, bytes-freed)
		if freed += n; err != nil {
			s.log.Warn("Trash can't be emptied to make room", "reason", err)
			break
		}
	}
	if freed > 0 {
		s.log.Debug("Trash made room", "bytes", freed)
	}
	return freed > 0
}

// countBin sums up a bin. mu is held.
func (s *Store) countBin(b *bin) {
	var chunks, bytes int64
	err := eachName(s.fs, b.path, func(name string) error {
		size, err := fileSize(s.fs, join(b.path, name))
		if err == nil {
			chunks, bytes = chunks+1, bytes+size
		}
		return nil
	})
	if err != nil {
		s.log.Warn("Trash can't be counted", "reason", err)
		return
	}
	b.counted = true
	s.trash.add(b, chunks, bytes)
}

// trashTime returns the text of trashFile.
func trashTime(seconds int64) string { return checked(strconv.FormatInt(seconds, 10)) }

// saveTrashTime writes how long the store was open, if there is trash.
func (s *Store) saveTrashTime() error {
	t := &s.trash
	t.mu.Lock()
	now, saved, none := t.now(), t.saved, len(t.bins) == 0
	t.mu.Unlock()
	if none || now == saved || s.readOnly() != nil {
		return nil
	}
	if _, err := s.durably(s.dirs.root, trashFile, 0, []byte(trashTime(now))); err != nil {
		return fmt.Errorf("save the time of the trash: %w", err)
	}
	t.mu.Lock()
	t.saved = now
	t.mu.Unlock()
	return nil
}

// openBin returns the bin for chunks that come now, which it may make, durably. mu is
// held.
func (s *Store) openBin(keep time.Duration) (*bin, error) {
	t := &s.trash
	seconds := max(int64(min(keep, maxKeep)/time.Second), 1)
	unit := max(seconds/binsPerKeep, 1)
	at := (t.now() + seconds + unit - 1) / unit * unit
	if b := t.bins[at]; b != nil {
		return b, nil
	}
	b := &bin{path: join(trashDir, strconv.FormatInt(at, 10)), counted: true}
	for _, path := range []string{trashDir, b.path} {
		if err := s.fs.Mkdir(path, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, s.refused("make directory", err)
		}
	}
	for _, path := range []string{trashDir, "."} {
		if err := syncDir(s.fs, path); err != nil {
			return nil, s.fail("fsync directory", err)
		}
	}
	t.bins[at] = b
	select {
	case t.wake <- struct{}{}:
	default:
	}
	return b, nil
}
