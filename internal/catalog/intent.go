package catalog

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

// intend notes that a chunk is about to be stored on a node. Lab nodes have no names
// that last, and nothing can be removed from there: of them nothing is noted.
func (t *tx) intend(node raid.NodeID, k raid.ChunkKey) error {
	key, err := t.nodeKey(node)
	if err != nil || key == 0 {
		return err
	}
	_, err = t.exec("INSERT OR IGNORE INTO intent (node, upload_id, stripe, part, attempt) VALUES (?, ?, ?, ?, ?)",
		key, k.Upload.String(), k.Stripe, int64(k.Part), int64(k.Attempt))
	return err
}

// fulfil ends an intent: what became of the chunk is on record in the same transaction.
func (t *tx) fulfil(node int64, k raid.ChunkKey) error {
	_, err := t.exec("DELETE FROM intent WHERE node = ? AND upload_id = ? AND stripe = ? AND part = ? AND attempt = ?",
		node, k.Upload.String(), k.Stripe, int64(k.Part), int64(k.Attempt))
	return err
}

// ResolveIntents queues the removal of chunks that earlier runs were about to store
// outside of uploads, and of which nothing else is on record, durably. They may lie on
// their nodes or not. It returns how many there were. Nobody may call NextAttempt
// before it has returned.
func (c *Catalog) ResolveIntents(ctx context.Context) (n int, err error) {
	for {
		found, err := c.intents(ctx)
		if err != nil || len(found) == 0 {
			return n, err
		}
		if err := c.inBatches(ctx, "remove what was stored in vain", found, (*tx).recordRemovals); err != nil {
			return n, err
		}
		n += len(found)
	}
}

func (c *Catalog) intents(ctx context.Context) (out []raid.Removal, err error) {
	err = c.read(ctx, "look for copies that came to nothing", func(r *conn) error {
		return r.query(func(row []driver.Value) error {
			u, err := raid.ParseUploadID(text(row[1]))
			if err != nil {
				return fmt.Errorf("%w: an intent has upload id %q", raid.ErrCorrupt, text(row[1]))
			}
			k := raid.ChunkKey{Upload: u, Stripe: integer(row[2]), Part: int(integer(row[3])), Attempt: int(integer(row[4]))}
			node := c.nodeByKey(integer(row[0]))
			if node == "" {
				return fmt.Errorf("%w: an intent is for node %d, which is none", raid.ErrCorrupt, integer(row[0]))
			}
			out = append(out, raid.Removal{Node: node, Key: k})
			return nil
		}, "SELECT node, upload_id, stripe, part, attempt FROM intent ORDER BY node, upload_id, stripe, part, attempt LIMIT +?", int64(batchRows))
	})
	return out, err
}
