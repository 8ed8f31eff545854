package chunkstore

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// names knows which chunk names may not be read or written now.
type names struct {
	mu      sync.Mutex
	writing map[raid.ChunkName]struct{}
	// void names belong to writes that failed when their file may have been
	// visible already. They are few: the store turns read only with the first.
	void map[raid.ChunkName]struct{}
	// gone are the names deleted last, in a ring. Those that are true do not come back from the
	// trash either.
	gone map[raid.ChunkName]bool
	ring []raid.ChunkName
	next int
}

// rememberGone bounds the names that are remembered as deleted. These are the names of some
// minutes, far longer than a Store can be under way. They take about 1 MiB.
const rememberGone = 8192

func newNames() names {
	return names{
		writing: map[raid.ChunkName]struct{}{},
		void:    map[raid.ChunkName]struct{}{},
		gone:    map[raid.ChunkName]bool{},
	}
}

// begin claims a name for a write.
func (n *names) begin(name raid.ChunkName) (ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if has(n.writing, name) || has(n.void, name) || n.isGone(name) {
		return false
	}
	n.writing[name] = struct{}{}
	return true
}

// end gives a name back after a write; void says that it must not be read.
func (n *names) end(name raid.ChunkName, void bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.writing, name)
	if void {
		n.void[name] = struct{}{}
	}
}

// delete records that a name is deleted now. It fails while it is written.
func (n *names) delete(name raid.ChunkName) (ok bool) { return n.forget(name, false) }

// deleteForGood is delete for a chunk that is not to come back from the trash.
func (n *names) deleteForGood(name raid.ChunkName) (ok bool) { return n.forget(name, true) }

func (n *names) forget(name raid.ChunkName, forGood bool) (ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if has(n.writing, name) {
		return false
	}
	known := n.isGone(name)
	n.gone[name] = n.gone[name] || forGood
	if known {
		return true
	}
	if len(n.ring) < rememberGone {
		n.ring = append(n.ring, name)
		return true
	}
	delete(n.gone, n.ring[n.next])
	n.ring[n.next] = name
	n.next = (n.next + 1) % rememberGone
	return true
}

// isGone reports whether a name was deleted lately. mu is held.
func (n *names) isGone(name raid.ChunkName) bool {
	_, ok := n.gone[name]
	return ok
}

// mayReturn reports whether a chunk may come back from the trash.
func (n *names) mayReturn(name raid.ChunkName) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.gone[name] && !has(n.void, name)
}

// restore lets a deleted name be used again, which is back from the trash.
func (n *names) restore(name raid.ChunkName) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.gone, name)
}

func (n *names) isVoid(name raid.ChunkName) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return has(n.void, name)
}

func has(m map[raid.ChunkName]struct{}, name raid.ChunkName) bool {
	_, ok := m[name]
	return ok
}

// corrupt remembers which chunks were found corrupt, so that each is reported
// and counted once.
type corrupt struct {
	mu    sync.Mutex
	names map[raid.ChunkName]struct{}
}

// rememberCorrupt bounds the names of corrupt chunks that are remembered, and so
// the count. A disk with more is broken as a whole.
const rememberCorrupt = 10_000

// add returns whether the chunk is new to it.
func (c *corrupt) add(name raid.ChunkName) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if has(c.names, name) || len(c.names) >= rememberCorrupt {
		return false
	}
	c.names[name] = struct{}{}
	return true
}

func (c *corrupt) has(name raid.ChunkName) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return has(c.names, name)
}

func (c *corrupt) remove(name raid.ChunkName) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.names, name)
}

func (c *corrupt) sorted() []raid.ChunkName {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.names))
}

func (c *corrupt) count() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(len(c.names))
}

// space is the room on the disk. It asks the file system at most every
// usageAge, and keeps the account of what was written since.
type space struct {
	usage   func() (Usage, error)
	reserve int64

	mu      sync.Mutex
	asked   time.Time
	last    Usage
	since   int64 // bytes written since asked
	flight  int64 // bytes being written
	asking  bool  // somebody renews it
	wasFull bool
}

// usageAge bounds the age of an answer of the file system. When there seems to be too little room
// it is asked again after usageAgeFull.
const (
	usageAge     = time.Second
	usageAgeFull = 20 * time.Millisecond
)

// take reserves n bytes for a write. room is the room before, in bytes, negative when less than the
// reserve is free.
func (s *space) take(n int64) (room int64, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refresh(usageAge); err != nil {
		return 0, false, err
	}
	if s.room() < n {
		if err := s.refresh(usageAgeFull); err != nil {
			return 0, false, err
		}
	}
	if room = s.room(); room < n {
		return room, false, nil
	}
	s.flight += n
	return room, true, nil
}

// give ends a reservation, of which the bytes were written or not.
func (s *space) give(n int64, written bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flight -= n
	if written {
		s.since += n
	}
}

// freed notes that bytes were unlinked.
func (s *space) freed(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since -= n
}

// free is the room beyond the reserve, in bytes, never negative.
func (s *space) free() (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.refresh(usageAge)
	return max(0, s.room()), err
}

// known returns the usage as last known, without asking the file system. stale says that it is time
// to ask.
func (s *space) known() (u Usage, stale bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Usage{s.last.Total, max(0, s.room()), s.last.ReadOnly}, time.Since(s.asked) >= usageAge
}

// ask reports whether the caller is to renew what is known: nobody else does.
func (s *space) ask() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.asking
	s.asking = true
	return !was
}

func (s *space) renew() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.asking = false }()
	return s.refresh(usageAge)
}

// turn records whether the disk is full, and returns whether that is news.
func (s *space) turn(full bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	news := s.wasFull != full
	s.wasFull = full
	return news
}

func (s *space) room() int64 { return s.last.Free - s.reserve - s.since - s.flight }

// refresh asks the file system, unless what is known is young enough. Callers hold mu,
// which is free while the file system is asked.
func (s *space) refresh(age time.Duration) error {
	if !s.asked.IsZero() && time.Since(s.asked) < age {
		return nil
	}
	before := s.since
	s.mu.Unlock()
	u, err := s.usage()
	s.mu.Lock()
	if err != nil {
		return err
	}
	s.last, s.asked = u, time.Now()
	s.since = max(0, s.since-before) // what was written meanwhile may be counted twice
	return nil
}
