package catalog

import (
	"context"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

// Counts returns the totals of what is committed. It does no I/O.
func (c *Catalog) Counts(context.Context) (Counts, error) {
	if err := c.writer.check(); err != nil {
		return Counts{}, err
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

// Nodes returns what is known of all native nodes that have joined, or that a
// chunk or SaveNode ever named, without those that were removed. It does no I/O.
func (c *Catalog) Nodes(context.Context) ([]raid.NodeRecord, error) {
	if err := c.writer.check(); err != nil {
		return nil, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make([]raid.NodeRecord, 0, len(c.state.nodes))
	for _, n := range c.state.nodes {
		if n.removed == staying {
			out = append(out, n.NodeRecord)
		}
	}
	return out, nil
}

// SaveNode records a native node, durably. It writes only when that changes
// something, and nothing of a node that was removed.
func (c *Catalog) SaveNode(ctx context.Context, r raid.NodeRecord) error {
	if !native(r.ID) {
		return fmt.Errorf("save node %q: %w: only native nodes are remembered", r.ID, raid.ErrInvalid)
	}
	if n, ok := c.known(r.ID); ok && n.NodeRecord == r {
		return c.writer.check()
	}
	return c.write(ctx, &op{name: "save node " + string(r.ID), rows: 1, run: func(t *tx) error {
		key, err := t.nodeKey(r.ID)
		if err != nil || t.gone(r.ID) {
			return err
		}
		t.saved = append(t.saved, r)
		_, err = t.exec("UPDATE node SET zone = ?, address = ?, draining = ?, cleaned_run = ? WHERE key = ?",
			r.Zone, r.Address, truth(r.Draining), int64(r.CleanedRun), key)
		return err
	}})
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
