package catalog

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

// Relocate changes what is to become of a native node's copies, durably. change gets what
// that is in the same transaction; it must not wait, and its error changes nothing.
// Relocate writes only when there is a difference. It fails with raid.ErrNotFound when the
// catalog does not know the node, or it was removed.
func (c *Catalog) Relocate(ctx context.Context, id raid.NodeID, change func(raid.Relocation) (raid.Relocation, error)) error {
	return c.write(ctx, &op{name: "move the copies of node " + string(id), rows: 1, run: func(t *tx) error {
		key := t.findNode(id)
		if key == 0 || t.identity(key).removed != staying {
			return fmt.Errorf("%w: there is no such node", raid.ErrNotFound)
		}
		before := t.record(key)
		after := before
		var err error
		if after.Relocation, err = change(before.Relocation); err != nil || after == before {
			return err
		}
		return t.setRecord(key, after)
	}})
}

// Resting tells what rests on a node. No I/O; it takes time by the number of rows of
// spread and spread_set.
func (c *Catalog) Resting(id raid.NodeID) raid.Resting {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := raid.Resting{Partial: c.state.meta.spreadTo != allCounted}
	if key := c.state.byID[id]; key != 0 {
		v := c.state.view(key, func(raid.NodeID) bool { return true }, true)
		out.Files, out.Trash = c.state.count(v, asFile).holds, c.state.count(v, asTrash).holds
	}
	return out
}

// Intends reports whether a copy is about to be stored on a node outside of an upload,
// or was, with an outcome that is not on record yet.
func (c *Catalog) Intends(ctx context.Context, id raid.NodeID) (some bool, err error) {
	n, known := c.keyOf(id)
	if !known {
		return false, c.writer.check()
	}
	err = c.read(ctx, "look for copies on their way to node "+string(id), func(r *conn) (err error) {
		_, some, err = r.queryInt("SELECT 1 FROM intent WHERE node = ? LIMIT 1", n)
		return err
	})
	return some, err
}

func (c *Catalog) keyOf(id raid.NodeID) (key int64, known bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	key = c.state.byID[id]
	return key, key != 0
}

// Holdings sums up which nodes hold how much of parts that come after the cursor, looking
// at about so many rows of chunk. Of each set of nodes that good copies of parts are on
// there is one row. The nodes are in no order, and lab nodes are not among them. Nothing
// is written. more says that there are further parts, after next.
func (c *Catalog) Holdings(ctx context.Context, after raid.PartCursor, rows int) (sums []raid.Holding, next raid.PartCursor, more bool, err error) {
	bySet, sets := map[string]raid.Holding{}, map[string]string{}
	err = c.read(ctx, "sum up what nodes hold", func(r *conn) error {
		end, last, err := pageEnd(r, raid.CopyCursor{File: int64(after.File), Stripe: after.Stripe, Part: int64(after.Part), Copy: beyond.Copy}, rows)
		if err != nil {
			return err
		}
		next, more = raid.PartCursor{File: raid.FileID(end.File), Stripe: end.Stripe, Part: int(end.Part)}, !last
		return r.query(func(row []driver.Value) error {
			text := text(row[0])
			set, known := sets[text]
			if !known {
				keys, err := parseSet(text)
				if err != nil {
					return err
				}
				set = writeSet(keys)
				sets[text] = set
			}
			h := bySet[set]
			h.Parts, h.Bytes = h.Parts+1, h.Bytes+integer(row[1])
			bySet[set] = h
			return nil
		}, `SELECT group_concat(ifnull(c.node, 0), '.'), p.length
			FROM chunk c JOIN part p ON p.file = c.file AND p.stripe = c.stripe AND p.part = c.part
			WHERE (c.file, c.stripe, c.part) > (?, ?, ?) AND (c.file, c.stripe, c.part) <= (?, ?, ?) AND c.flaw <> 1
			GROUP BY c.file, c.stripe, c.part`,
			int64(after.File), after.Stripe, int64(after.Part), end.File, end.Stripe, end.Part)
	})
	if err != nil {
		return nil, after, true, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	for set, h := range bySet {
		keys, _ := parseSet(set) // writeSet wrote it
		for _, key := range keys {
			if id := c.state.node(key); id != "" {
				h.Nodes = append(h.Nodes, id)
			}
		}
		sums = append(sums, h)
	}
	return sums, next, more, nil
}
