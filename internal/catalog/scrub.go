package catalog

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/raidpi/raidpi/internal/raid"
)

// NoteScrub records, durably, when a node has read all its chunks. It fails with
// raid.ErrNotFound when the catalog does not know the node, or it was removed.
func (c *Catalog) NoteScrub(ctx context.Context, id raid.NodeID, note raid.ScrubNote) error {
	return c.changeRecord(ctx, "note a scrub of node "+string(id), id, func(r *raid.NodeRecord) { r.Scrub = note })
}

// PauseScrub records, durably, whether a person has stopped a node's scrub. It fails
// like NoteScrub.
func (c *Catalog) PauseScrub(ctx context.Context, id raid.NodeID, paused bool) error {
	return c.changeRecord(ctx, "pause the scrub of node "+string(id), id, func(r *raid.NodeRecord) { r.ScrubPaused = paused })
}

// changeRecord changes the record of a node. It writes only when that changes something.
func (c *Catalog) changeRecord(ctx context.Context, name string, id raid.NodeID, change func(*raid.NodeRecord)) error {
	if now, ok := c.Node(id); ok {
		after := now
		if change(&after); after == now {
			return c.writer.check()
		}
	}
	return c.write(ctx, &op{name: name, rows: 1, run: func(t *tx) error {
		key := t.findNode(id)
		if key == 0 || t.identity(key).removed != staying {
			return fmt.Errorf("%w: there is no such node", raid.ErrNotFound)
		}
		after := t.record(key)
		change(&after)
		return t.setRecord(key, after)
	}})
}

// Named returns the parts of files, also of those in the trash, that have a copy which counts as good, under
// one of these names, on a node. Names of which that is not so are passed over.
func (c *Catalog) Named(ctx context.Context, node raid.NodeID, keys []raid.ChunkKey) (parts []raid.Repair, copies []raid.Copy, err error) {
	err = c.read(ctx, fmt.Sprintf("look for chunks on node %s", node), func(r *conn) error {
		for _, k := range keys {
			file, known, err := r.queryInt("SELECT id FROM upload WHERE upload_id = ? AND state IN (1, 2)", k.Upload.String())
			if err != nil {
				return err
			}
			if !known {
				continue
			}
			all, err := c.stripes(r, file, k.Stripe, k.Stripe+1)
			if err != nil {
				return err
			}
			for _, p := range all {
				i := slices.IndexFunc(p.Copies, func(x raid.Copy) bool { return x.Node == node && x.Attempt == k.Attempt && !x.Bad })
				if p.Number == k.Part && i >= 0 {
					parts, copies = append(parts, raid.Repair{File: raid.FileID(file), Part: p}), append(copies, p.Copies[i])
				}
			}
		}
		return nil
	})
	return parts, copies, err
}

// FirstCreated is when the file with the lowest id was made: UTC, YYYY-MM-DD HH:MM:SS. It is
// empty when there is none.
func (c *Catalog) FirstCreated(ctx context.Context) (created string, err error) {
	err = c.read(ctx, "look for the oldest file", func(r *conn) error {
		return r.query(func(row []driver.Value) error {
			created = text(row[0])
			return nil
		}, "SELECT created FROM upload WHERE state = 1 ORDER BY id LIMIT 1")
	})
	return created, err
}

// NodesOf are the nodes that copies of a file which count as good lie on, in no order.
func (c *Catalog) NodesOf(ctx context.Context, id raid.FileID) (nodes []raid.NodeID, err error) {
	err = c.read(ctx, fmt.Sprintf("look for the nodes of file %d", id), func(r *conn) error {
		keys := map[int64]bool{}
		long := false
		err := r.query(func(row []driver.Value) error { // a file of many stripes is in here
			long = true
			for _, digits := range strings.FieldsFunc(text(row[0]), func(r rune) bool { return r == ' ' || r == '.' }) {
				digits, _, _ = strings.Cut(digits, ":")
				if key, err := strconv.ParseInt(digits, 10, 64); err == nil {
					keys[key] = true
				}
			}
			return nil
		}, "SELECT places FROM long_file WHERE file = ?", int64(id))
		if err == nil && !long {
			err = r.query(func(row []driver.Value) error {
				keys[integer(row[0])] = true
				return nil
			}, "SELECT DISTINCT node FROM chunk WHERE file = ? AND flaw <> 1", int64(id))
		}
		for key := range keys {
			if node := c.nodeByKey(key); node != "" {
				nodes = append(nodes, node)
			}
		}
		return err
	})
	return nodes, err
}
