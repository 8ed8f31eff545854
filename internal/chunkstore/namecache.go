package chunkstore

import (
	"container/heap"
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// cachedNames bounds the names of one directory that are kept, for about 1 MiB. All
	// chunks of a large upload are in one directory.
	cachedNames = 16 << 10
	// cachedFor bounds the time for which cached names are believed. Changes by this process are known at
	// once, and nobody else should make any.
	cachedFor = 30 * time.Second
)

// nameCache keeps names of one directory in order, between the pages of a listing. Without
// it each page would read a whole directory. It has no lock.
type nameCache struct {
	dir     *dir
	changes uint64 // of dir, when it was read
	read    time.Time
	after   raid.ChunkName   // the names are those after this one
	names   []raid.ChunkName // in order
	whole   bool             // there are no further ones
}

// nameCaches are those of the two directories read last. A page may end in one of them and
// have looked into the next.
type nameCaches struct {
	latest, before nameCache
}

// page returns names of the directory from its cache.
func (s *nameCaches) page(fsys FS, d *dir, after raid.ChunkName) (names []raid.ChunkName, whole bool, err error) {
	if s.latest.dir != d {
		s.latest, s.before = s.before, s.latest
	}
	return s.latest.page(fsys, d, after)
}

// page returns names of a directory after the given one, in order, and whether they are
// all. Unless they are, there is at least one. A directory that is gone has none.
func (s *nameCache) page(fsys FS, d *dir, after raid.ChunkName) (names []raid.ChunkName, whole bool, err error) {
	changes := d.changed()
	if s.dir != d || s.changes != changes || time.Since(s.read) > cachedFor || after < s.after || !s.whole && after >= s.names[len(s.names)-1] {
		*s = nameCache{}
		next := nameCache{dir: d, changes: changes, read: time.Now(), after: after}
		if next.names, next.whole, err = firstChunks(fsys, d.path, after, cachedNames); err != nil {
			return nil, false, err
		}
		*s = next
	}
	i, _ := slices.BinarySearch(s.names, after+"\x00")
	return s.names[i:], s.whole, nil
}

// firstChunks returns the first n names of a directory after the given one, in order,
// and whether they are all. Its memory depends on n and not on how many chunks there are.
func firstChunks(fsys FS, path string, after raid.ChunkName, n int) (names []raid.ChunkName, whole bool, err error) {
	var first largestFirst
	whole = true
	err = eachChunk(fsys, path, func(name raid.ChunkName) error {
		switch {
		case name <= after:
		case len(first) < n:
			heap.Push(&first, name)
		case name < first[0]:
			first[0] = name
			heap.Fix(&first, 0)
			whole = false
		default:
			whole = false
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, true, nil
	}
	slices.Sort(first)
	return first, whole, err
}

// largestFirst is a heap of the smallest names seen, the largest of them on top.
type largestFirst []raid.ChunkName

func (h largestFirst) Len() int           { return len(h) }
func (h largestFirst) Less(i, j int) bool { return h[i] > h[j] }
func (h largestFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is for package heap.
func (h *largestFirst) Push(x any) { *h = append(*h, x.(raid.ChunkName)) }

// Pop is for package heap.
func (h *largestFirst) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
