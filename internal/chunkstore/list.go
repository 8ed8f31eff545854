package chunkstore

import (
	"context"
	"fmt"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// describeTime bounds the work on a page of descriptions. A card needs milliseconds for each
// trailer, and the caller waits for the page.
const describeTime = 2 * time.Second

// List returns names of chunks whose uploads have minRun <= run < maxRun. They come after the given
// one, at most limit of them, in the order of names. more says that there are further ones. Chunks
// that come or go meanwhile may or may not be listed; all others are. It opens no chunk, so corrupt
// ones are listed too.
//
// One page is read at a time, of this and of Describe. On a disk that does not answer
// they fail with raid.ErrBusy.
func (s *Store) List(ctx context.Context, after raid.ChunkName, limit int, minRun, maxRun uint32) (names []raid.ChunkName, more bool, err error) {
	err = s.listing(ctx, func() error {
		names, more, err = s.list(ctx, after, limit, minRun, maxRun)
		return err
	})
	return names, more, err
}

// Describe is List with what the chunks' trailers say. It may return fewer than limit
// when reading them takes long, but at least one if there is one. It gives way to
// requests.
//
// A chunk that is known to be corrupt, or whose trailer is, comes with raid.ErrCorrupt,
// one that has gone since with raid.ErrNotFound.
func (s *Store) Describe(ctx context.Context, after raid.ChunkName, limit int, minRun, maxRun uint32) (chunks []raid.Listed, more bool, err error) {
	err = s.listing(ctx, func() error {
		names, further, err := s.list(ctx, after, limit, minRun, maxRun)
		more = further
		for began := time.Now(); err == nil && len(names) > 0; names = names[1:] {
			if len(chunks) > 0 && time.Since(began) > describeTime {
				more = true
				return nil
			}
			if err = s.yieldToRequests(ctx); err == nil {
				chunks = append(chunks, s.describe(names[0]))
			}
		}
		return err
	})
	return chunks, more, err
}

// describe says what a chunk's trailer does.
func (s *Store) describe(name raid.ChunkName) raid.Listed {
	l := raid.Listed{Name: name, Described: true}
	if s.corrupt.has(name) {
		l.Err = fmt.Errorf("describe chunk %s: it was found corrupt before: %w", name, raid.ErrCorrupt)
		return l
	}
	m, ok := s.metaAtOnce(name)
	if !ok {
		c, err := s.open(name)
		if err != nil {
			l.Err = fmt.Errorf("describe chunk %s: %w", name, err)
			return l
		}
		defer c.close()
		m = c.meta
	}
	l.Length = m.Length
	l.CRC, _ = raid.CombineBlocks(m.Blocks, l.Length) // parseRecord has seen that they fit
	return l
}

// listing runs do while no other page is read. It is no request that the scan of
// trailers gives way to.
func (s *Store) listing(ctx context.Context, do func() error) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if d := s.calls.stalled(); d > 0 {
		return fmt.Errorf("list chunks: the disk has not answered for %v: %w", d.Round(time.Second), raid.ErrBusy)
	}
	select {
	case s.pages <- struct{}{}:
		defer func() { <-s.pages }()
	case <-ctx.Done():
		return fmt.Errorf("list chunks: another page is being read: %w", ctx.Err())
	}
	s.working.Add(-1)
	defer s.working.Add(1)
	return do()
}

// list is List, in the turn of one page.
func (s *Store) list(ctx context.Context, after raid.ChunkName, limit int, minRun, maxRun uint32) (names []raid.ChunkName, more bool, err error) {
	if limit <= 0 {
		return nil, false, fmt.Errorf("list chunks: a limit of %d: %w", limit, raid.ErrInvalid)
	}
	from := string(after[:min(2, len(after))])
	for d := s.dirs.next(from); d != nil; d = s.dirs.next(d.path + "0") {
		for last := after; ; {
			if err := ctx.Err(); err != nil {
				return nil, false, fmt.Errorf("list chunks: %w", err)
			}
			page, whole, err := s.listed.page(s.fs, d, last)
			if err != nil {
				return nil, false, fmt.Errorf("list chunks: %w", err)
			}
			for _, name := range page {
				key, err := raid.ParseChunkName(name)
				if err != nil || key.Upload.Run() < minRun || key.Upload.Run() >= maxRun || s.names.isVoid(name) {
					continue
				}
				if len(names) == limit {
					return names, true, nil
				}
				names = append(names, name)
			}
			if whole {
				break
			}
			last = page[len(page)-1]
		}
	}
	return names, false, nil
}
