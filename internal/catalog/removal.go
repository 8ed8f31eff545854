package catalog

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

func isGone(err error) bool { return errors.Is(err, raid.ErrNotFound) }

// inUse finds a chunk that a file, also one in the trash, or an upload in progress
// rests on.
const inUse = `SELECT 1 FROM upload u JOIN chunk c ON c.file = u.id
	WHERE u.upload_id = ? AND u.state IN (0, 1, 2) AND c.stripe = ? AND c.part = ? AND c.attempt = ? AND c.node = ?`

// recordRemovals queues chunks to be removed from their nodes. Those of lab nodes
// are dropped: nothing can be removed from there. So are those of nodes that were
// removed themselves. What a file rests on is never
// queued, whatever the caller says.
func (t *tx) recordRemovals(removals []raid.Removal) error {
	for _, r := range removals {
		node, err := t.nodeKey(r.Node)
		if err != nil {
			return err
		}
		if err := t.fulfil(node, r.Key); err != nil {
			return err
		}
		if node == 0 || t.identity(node).removed != staying {
			continue
		}
		u, k := r.Key.Upload.String(), r.Key
		_, live, err := t.conn.queryInt(inUse, u, k.Stripe, int64(k.Part), int64(k.Attempt), node)
		if err == nil && !live {
			_, live, err = t.conn.queryInt(isSpare, u, k.Stripe, int64(k.Part), int64(k.Attempt), node)
		}
		if err != nil {
			return err
		}
		if live {
			t.log.Error("removal of a chunk in use refused", "chunk", k.Name(), "node", r.Node)
			continue
		}
		n, err := t.exec("INSERT OR IGNORE INTO removal (node, upload_id, stripe, part, attempt) VALUES (?, ?, ?, ?, ?)",
			node, u, k.Stripe, int64(k.Part), int64(k.Attempt))
		if err != nil {
			return err
		}
		if n > 0 {
			t.removals = append(t.removals, removalDelta{node, n})
		}
	}
	return nil
}

// Record queues chunks to be removed from their nodes, durably. Recording one
// twice is fine.
func (c *Catalog) Record(ctx context.Context, removals []raid.Removal) error {
	return c.inBatches(ctx, "record removals", removals, (*tx).recordRemovals)
}

// Removed takes chunks out of the queue whose nodes have said that they are gone.
func (c *Catalog) Removed(ctx context.Context, removals []raid.Removal) error {
	return c.inBatches(ctx, "forget removals", removals, (*tx).forgetRemovals)
}

func (t *tx) forgetRemovals(removals []raid.Removal) error {
	for _, r := range removals {
		node := t.base.byID[r.Node]
		n, err := t.exec("DELETE FROM removal WHERE node = ? AND upload_id = ? AND stripe = ? AND part = ? AND attempt = ?",
			node, r.Key.Upload.String(), r.Key.Stripe, int64(r.Key.Part), int64(r.Key.Attempt))
		if err != nil {
			return err
		}
		if n > 0 {
			t.removals = append(t.removals, removalDelta{node, -n})
		}
	}
	return nil
}

// batchRows bounds the removals that one op writes, so that others get their turn.
const batchRows = 1024

func (c *Catalog) inBatches(ctx context.Context, name string, all []raid.Removal, run func(*tx, []raid.Removal) error) error {
	for len(all) > 0 {
		batch := all[:min(batchRows, len(all))]
		all = all[len(batch):]
		err := c.write(ctx, &op{name: name, rows: len(batch), frees: true, files: true, run: func(t *tx) error { return run(t, batch) }})
		if err != nil {
			return err
		}
	}
	return nil
}

// Removals returns up to limit chunks that wait to be removed from a
// node. There is none from one that was removed, and none that a file rests on, as never happens unless a
// row is rotten.
func (c *Catalog) Removals(ctx context.Context, node raid.NodeID, limit int) (out []raid.Removal, err error) {
	c.mu.RLock()
	key := c.state.byID[node]
	c.mu.RUnlock()
	if key == 0 || c.Gone(node) {
		return nil, c.writer.check()
	}
	err = c.read(ctx, "look up removals of node "+string(node), func(r *conn) error {
		err := r.query(func(row []driver.Value) error {
			u, err := raid.ParseUploadID(text(row[0]))
			if err != nil {
				return fmt.Errorf("%w: a removal has upload id %q", raid.ErrCorrupt, text(row[0]))
			}
			k := raid.ChunkKey{Upload: u, Stripe: integer(row[1]), Part: int(integer(row[2])), Attempt: int(integer(row[3]))}
			out = append(out, raid.Removal{Node: node, Key: k})
			return nil
		}, "SELECT upload_id, stripe, part, attempt FROM removal WHERE node = ? ORDER BY upload_id, stripe, part, attempt LIMIT +?", key, int64(limit))
		if err != nil {
			return err
		}
		return notInUse(r, key, out)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// notInUse fails if a file rests on a chunk that is to be removed.
func notInUse(r *conn, node int64, removals []raid.Removal) error {
	for _, x := range removals {
		k := x.Key
		_, live, err := r.queryInt(inUse, k.Upload.String(), k.Stripe, int64(k.Part), int64(k.Attempt), node)
		if err != nil {
			return err
		}
		if live {
			return fmt.Errorf("%w: chunk %s is to be removed from node %s, and a file rests on it", raid.ErrCorrupt, k.Name(), x.Node)
		}
	}
	return nil
}

// UnknownUploads returns those of uploads that no row has, of any state. Uploads
// of the present run are never among them: they may have no row yet.
func (c *Catalog) UnknownUploads(ctx context.Context, uploads []raid.UploadID) (unknown []raid.UploadID, err error) {
	for len(uploads) > 0 {
		batch := uploads[:min(batchRows, len(uploads))]
		uploads = uploads[len(batch):]
		err := c.read(ctx, "look up uploads", func(r *conn) error {
			for _, u := range batch {
				if u.Run() >= c.run {
					continue
				}
				_, ok, err := r.queryInt("SELECT 1 FROM upload WHERE upload_id = ?", u.String())
				if err != nil {
					return err
				}
				if !ok {
					unknown = append(unknown, u)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return unknown, nil
}
