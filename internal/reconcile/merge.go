package reconcile

import (
	"context"
	"errors"
	"fmt"

	"github.com/raidpi/raidpi/internal/inventory"
	"github.com/raidpi/raidpi/internal/raid"
)

// verdict is the result for a chunk, from the words of both sides alone.
type verdict int

const (
	missing verdict = iota + 1 // a good copy that the node does not list
	wrong                      // a good copy that the node lists as another, or as rotten
	revived                    // a bad copy that the node lists as it should be
	unknown                    // a chunk that is no copy
)

// stream yields one side's chunks in the order of their names, then false.
type stream[T any] func(ctx context.Context) (item T, ok bool, err error)

// merge goes through both sides at once and tells of what does not agree. tell gets the
// copy, but for unknown, and the chunk, but for missing.
func merge(ctx context.Context, node stream[inventory.Chunk], should stream[raid.Held], tell func(verdict, *raid.Held, *inventory.Chunk) error) error {
	var copyName raid.ChunkName
	nextCopy := func() (h raid.Held, ok bool, err error) {
		if h, ok, err = should(ctx); !ok || err != nil {
			return h, ok, err
		}
		k, err := h.Key()
		if err != nil {
			return h, false, fmt.Errorf("%w: file %d has upload id %q", raid.ErrCorrupt, h.File, h.Upload)
		}
		copyName = k.Name()
		return h, true, nil
	}
	c, onNode, err := node(ctx)
	if err != nil {
		return err
	}
	h, held, err := nextCopy()
	for err == nil && (onNode || held) {
		switch {
		case !held || onNode && c.Name < copyName:
			if !errors.Is(c.Err, raid.ErrNotFound) { // else it went while it was listed
				err = tell(unknown, nil, &c)
			}
			if err == nil {
				c, onNode, err = node(ctx)
			}
		case !onNode || copyName < c.Name:
			if !h.Bad && !h.Gone {
				err = tell(missing, &h, nil)
			}
			if err == nil {
				h, held, err = nextCopy()
			}
		default:
			if v := judge(&h, &c); v != 0 {
				err = tell(v, &h, &c)
			}
			if err == nil {
				c, onNode, err = node(ctx)
			}
			if err == nil {
				h, held, err = nextCopy()
			}
		}
	}
	return err
}

// judge compares a copy with the chunk of its name. A chunk that is not described may be
// what it should.
func judge(h *raid.Held, c *inventory.Chunk) verdict {
	fits := !c.Described || c.Err == nil && c.Length == h.Length && c.CRC == h.CRC
	switch {
	case h.Gone || fits != h.Bad: // a good one that fits, or a bad one that does not
		return 0
	case fits:
		return revived
	case errors.Is(c.Err, raid.ErrNotFound):
		return missing
	}
	return wrong
}
