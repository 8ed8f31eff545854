package chunkstore

import (
	"container/heap"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/raidpi/raidpi/internal/raid"
)

// List returns the names after the given one, at most limit, of chunks whose
// uploads have minRun <= run < maxRun, in the order of names. more says that
// there are further ones. Chunks that come or go meanwhile may or may not be
// listed; all others are. It opens no chunk, so corrupt ones are listed too.
func (s *Store) List(ctx context.Context, after raid.ChunkName, limit int, minRun, maxRun uint32) (names []raid.ChunkName, more bool, err error) {
	leave, err := s.enter(ctx)
	if err != nil {
		return nil, false, err
	}
	defer leave()
	if limit <= 0 {
		return nil, false, fmt.Errorf("list chunks: a limit of %d: %w", limit, raid.ErrInvalid)
	}
	for _, d := range s.dirs.fanout() {
		// A name follows those of its directory's that it is a prefix of.
		if string(after) > d.path && !strings.HasPrefix(string(after), d.path) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, false, fmt.Errorf("list chunks: %w", err)
		}
		page, err := s.page(d, after, limit+1-len(names), minRun, maxRun)
		if err != nil {
			return nil, false, fmt.Errorf("list chunks: %w", err)
		}
		if names = append(names, page...); len(names) > limit {
			return names[:limit], true, nil
		}
	}
	return names, false, nil
}

// page returns the first n names of a directory, in order. Its memory depends on
// n and not on how many chunks the directory has: those of a large upload are
// all in one.
func (s *Store) page(d *dir, after raid.ChunkName, n int, minRun, maxRun uint32) ([]raid.ChunkName, error) {
	var first largestFirst
	err := eachChunk(s.fs, d.path, func(name raid.ChunkName) error {
		if name <= after || s.names.isVoid(name) {
			return nil
		}
		if len(first) == n && name > first[0] {
			return nil
		}
		key, err := raid.ParseChunkName(name)
		if err != nil || key.Upload.Run() < minRun || key.Upload.Run() >= maxRun {
			return nil
		}
		heap.Push(&first, name)
		if len(first) > n {
			heap.Pop(&first)
		}
		return nil
	})
	slices.Sort(first)
	return first, err
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
