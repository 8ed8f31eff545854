package catalog

import (
	"context"

	"github.com/raidpi/raidpi/internal/raid"
)

// Counts returns the totals of what is committed. It does no I/O.
func (c *Catalog) Counts(context.Context) (raid.Totals, error) {
	if err := c.writer.check(); err != nil {
		return raid.Totals{}, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.state.meta.counts, nil
}

// Remembers reports whether the catalog has a row for a native node that was not
// removed, as it has from the first chunk on that it names there, or since it has
// joined. No I/O.
func (c *Catalog) Remembers(id raid.NodeID) bool {
	n, ok := c.known(id)
	return ok && n.removed == staying
}

// RemovalCounts returns how many chunks wait for their removal from each node
// that has any, without those that were removed. It does no I/O.
func (c *Catalog) RemovalCounts(context.Context) (map[raid.NodeID]int64, error) {
	if err := c.writer.check(); err != nil {
		return nil, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make(map[raid.NodeID]int64)
	for _, n := range c.state.nodes {
		if n.removals > 0 && n.removed == staying {
			out[n.ID] = n.removals
		}
	}
	return out, nil
}

// nodeByKey is the node with a key, empty for 0.
func (c *Catalog) nodeByKey(key int64) raid.NodeID {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.state.node(key)
}
