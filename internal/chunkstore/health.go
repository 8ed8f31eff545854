package chunkstore

import (
	"context"
	"io/fs"
	"sync"
	"time"
)

const (
	// stallAfter is the longest time of a call before the disk counts as one that does not answer.
	// Cards stall for seconds in the middle of many writes.
	stallAfter = 5 * time.Second
	// touchEvery is the time between reads of a single block from a disk that nobody uses. They
	// tell whether it answers.
	touchEvery = time.Minute
)

// toucher is an FS that can read a little past all caches. It never writes.
type toucher interface{ Touch() error }

// calls knows which calls of a file system are under way. So anybody can ask for
// the disk's health without asking the disk.
type calls struct {
	mu    sync.Mutex
	next  uint64
	under map[uint64]time.Time // when each began
	last  time.Time            // when one ended last
}

func newCalls() *calls { return &calls{under: map[uint64]time.Time{}, last: time.Now()} }

// begin notes a call; what it returns is for its end.
func (c *calls) begin() (end func()) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	id := c.next
	c.under[id] = now
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.under, id)
		c.last = time.Now()
	}
}

// stalled returns for how long the oldest call has been under way, if that is too long.
func (c *calls) stalled() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	var age time.Duration
	for _, began := range c.under {
		age = max(age, time.Since(began))
	}
	if age < stallAfter {
		return 0
	}
	return age
}

// idle is the time since the disk was last used; zero while it is.
func (c *calls) idle() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.under) > 0 {
		return 0
	}
	return time.Since(c.last)
}

// watch touches the disk now and then when nobody else uses it.
func (s *Store) watch(ctx context.Context, t toucher) {
	tick := time.NewTicker(touchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.calls.idle() < touchEvery/2 {
			continue
		}
		end := s.calls.begin()
		err := t.Touch()
		end()
		if err != nil {
			s.log.Warn("The disk could not be read", "reason", err)
		}
	}
}

// watchedFS is an FS whose calls are known.
type watchedFS struct {
	fs    FS
	calls *calls
}

// OpenFile implements FS.
func (w *watchedFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	defer w.calls.begin()()
	f, err := w.fs.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &watchedFile{f, w.calls}, nil
}

// Mkdir implements FS.
func (w *watchedFS) Mkdir(name string, perm fs.FileMode) error {
	defer w.calls.begin()()
	return w.fs.Mkdir(name, perm)
}

// Rename implements FS.
func (w *watchedFS) Rename(from, to string) error {
	defer w.calls.begin()()
	return w.fs.Rename(from, to)
}

// Remove implements FS.
func (w *watchedFS) Remove(name string) error {
	defer w.calls.begin()()
	return w.fs.Remove(name)
}

// Usage implements FS.
func (w *watchedFS) Usage() (Usage, error) {
	defer w.calls.begin()()
	return w.fs.Usage()
}

type watchedFile struct {
	File
	calls *calls
}

// ReadAt implements File.
func (w *watchedFile) ReadAt(p []byte, off int64) (int, error) {
	defer w.calls.begin()()
	return w.File.ReadAt(p, off)
}

// Write implements File.
func (w *watchedFile) Write(p []byte) (int, error) {
	defer w.calls.begin()()
	return w.File.Write(p)
}

// Sync implements File.
func (w *watchedFile) Sync() error {
	defer w.calls.begin()()
	return w.File.Sync()
}

// Stat implements File.
func (w *watchedFile) Stat() (fs.FileInfo, error) {
	defer w.calls.begin()()
	return w.File.Stat()
}

// Readdirnames implements File.
func (w *watchedFile) Readdirnames(n int) ([]string, error) {
	defer w.calls.begin()()
	return w.File.Readdirnames(n)
}

// Close implements File.
func (w *watchedFile) Close() error {
	defer w.calls.begin()()
	return w.File.Close()
}
