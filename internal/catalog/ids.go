package catalog

import (
	"context"
	"sync"

	"github.com/raidpi/raidpi/internal/raid"
)

// idBlock is the number of file ids that one commit sets aside. What is left of a block
// when the process ends is never given out.
const idBlock = 1000

// idLow is the number of ids left at which the next block is fetched.
const idLow = 250

// ids are the file ids that are set aside durably and not given out yet. A
// transaction that is rolled back never gets here with its block.
type ids struct {
	mu       sync.Mutex
	blocks   []idSpan
	left     int64
	fetching bool // a block is on its way that nobody waits for
}

type idSpan struct{ next, end int64 }

func (s *ids) add(first int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blocks = append(s.blocks, idSpan{first, first + idBlock})
	s.left += idBlock
	s.fetching = false
}

// take gives out an id. ok is false when none is left; fetch asks the caller to
// have another block fetched.
func (s *ids) take() (id int64, ok, fetch bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.blocks) == 0 {
		return 0, false, false
	}
	b := &s.blocks[0]
	id = b.next
	s.left--
	if b.next++; b.next == b.end {
		s.blocks = s.blocks[1:]
	}
	if fetch = s.left <= idLow && !s.fetching; fetch {
		s.fetching = true
	}
	return id, true, fetch
}

// forgo notes that the block asked for will not come.
func (s *ids) forgo() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetching = false
}

// NextID gives out a file id that was never given out before, by any run. It
// rarely waits: ids are set aside in blocks, ahead of need.
func (c *Catalog) NextID(ctx context.Context) (raid.FileID, error) {
	if err := c.writer.check(); err != nil {
		return 0, err
	}
	for {
		id, ok, fetch := c.ids.take()
		if fetch && !c.writer.offer(c.blockOp()) {
			c.ids.forgo()
		}
		if ok {
			return raid.FileID(id), nil
		}
		if err := c.write(ctx, c.blockOp()); err != nil {
			return 0, err
		}
	}
}

// blockOp sets a block of ids aside.
func (c *Catalog) blockOp() *op {
	return &op{name: "set file ids aside", rows: 1, run: func(t *tx) error {
		first := t.meta.nextID
		t.meta.nextID += idBlock
		t.changed = true // the row of meta is written with every transaction
		t.after = append(t.after, func() { c.ids.add(first) })
		return nil
	}}
}
