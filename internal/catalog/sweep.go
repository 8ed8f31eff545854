package catalog

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

// Sweep turns up to limit chunks of uploads that go for good into removals
// and drops their rows, and the upload's own with the last. more says that there
// is more to do. Chunks on lab nodes stay there, which is logged, and so do those on
// nodes that were removed.
func (c *Catalog) Sweep(ctx context.Context, limit int) (more bool, err error) {
	more, err = c.unsettled(ctx)
	for left := int64(limit); err == nil && more && left > 0; {
		rows := min(left, batchRows)
		err = c.write(ctx, &op{name: "sweep deleted files", rows: int(rows), frees: true, files: true, run: func(t *tx) error {
			more, err = t.sweep(rows)
			return err
		}})
		c.health.notice("sweep deleted files", err)
		left -= rows
	}
	return more, err
}

const nextUnsettled = "SELECT id, upload_id FROM upload WHERE state = 3 AND state <> 1 ORDER BY id LIMIT 1"

func (c *Catalog) unsettled(ctx context.Context) (more bool, err error) {
	err = c.read(ctx, "look for deleted files", func(r *conn) (err error) {
		_, more, err = r.queryInt(nextUnsettled)
		return err
	})
	return more, err
}

// sweep handles up to limit chunks; an upload counts as one more. more is false
// when nothing is left.
func (t *tx) sweep(limit int64) (more bool, err error) {
	for limit > 0 {
		var id int64
		var upload string
		err := t.conn.query(func(r []driver.Value) error {
			id, upload = integer(r[0]), text(r[1])
			return nil
		}, nextUnsettled)
		if err != nil || id == 0 {
			return false, err
		}
		if err := t.isGoing(id); err != nil {
			return false, err
		}
		n, err := t.sweepChunks(id, upload, limit)
		if err != nil {
			return false, err
		}
		limit -= n + 1
		if limit < 0 {
			break // its rows may not be all gone
		}
		if err := t.sweepSurplus(id, upload, beyond.Stripe, beyond.Part); err != nil {
			return false, err
		}
		if _, err := t.exec("DELETE FROM part WHERE file = ?", id); err != nil {
			return false, err
		}
		if _, err := t.exec("DELETE FROM attempt WHERE file = ?", id); err != nil {
			return false, err
		}
		if _, err := t.exec("DELETE FROM long_file WHERE file = ?", id); err != nil {
			return false, err
		}
		if _, err := t.exec("DELETE FROM upload WHERE id = ?", id); err != nil {
			return false, err
		}
		t.log.Debug("file swept", "file", id)
	}
	return true, nil
}

// isGoing asks the table what the index of unsettled uploads says. What it gives up
// is gone, and one rotten byte in the index would do.
func (t *tx) isGoing(id int64) error {
	now, _, err := t.conn.queryInt("SELECT +state FROM upload NOT INDEXED WHERE id = ?", id)
	if err == nil && now != going {
		err = fmt.Errorf("%w: the index of deleted files has file %d as going for good, the table in state %d", raid.ErrCorrupt, id, now)
	}
	return err
}

// sweepChunks queues the removal of the first limit chunks of an upload, drops
// their rows and those of the parts before the last of them, and returns how many
// chunks there were.
func (t *tx) sweepChunks(id int64, upload string, limit int64) (n int64, err error) {
	var stripe, part, copies, lab int64
	err = t.conn.query(func(r []driver.Value) error {
		stripe, part, copies = integer(r[0]), integer(r[1]), integer(r[2])
		n++
		lab += truth(r[3] == nil)
		return nil
	}, "SELECT stripe, part, copy, node FROM chunk WHERE file = ? ORDER BY stripe, part, copy LIMIT +?", id, limit)
	if err != nil || n == 0 {
		return 0, err
	}
	if lab > 0 {
		t.log.Info("chunks stay on lab nodes, which can't be told to delete", "file", id, "chunks", lab)
	}
	err = t.conn.query(func(r []driver.Value) error {
		t.removals = append(t.removals, removalDelta{integer(r[0]), 1})
		return nil
	}, `INSERT OR IGNORE INTO removal (node, upload_id, stripe, part, attempt)
		SELECT node, ?, stripe, part, attempt FROM chunk
		WHERE file = ? AND (stripe, part, copy) <= (?, ?, ?) AND node IN (SELECT key FROM node WHERE removed = 0) RETURNING node`, upload, id, stripe, part, copies)
	if err != nil {
		return 0, err
	}
	if _, err := t.exec("DELETE FROM chunk WHERE file = ? AND (stripe, part, copy) <= (?, ?, ?)", id, stripe, part, copies); err != nil {
		return 0, err
	}
	if err := t.sweepSurplus(id, upload, stripe, part); err != nil {
		return 0, err
	}
	_, err = t.exec("DELETE FROM part WHERE file = ? AND (stripe, part) < (?, ?)", id, stripe, part)
	return n, err
}
