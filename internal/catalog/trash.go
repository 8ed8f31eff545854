package catalog

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// Delete deletes a file, durably: it is not found from now on. It can be put back for
// Config.Keep; without that, it goes for good, as with Purge. It fails with
// raid.ErrNotFound.
func (c *Catalog) Delete(ctx context.Context, id raid.FileID) error {
	return c.write(ctx, &op{name: fmt.Sprintf("delete file %d", id), rows: 2, frees: true, files: true, run: func(t *tx) error {
		state, size, err := t.stateOf(int64(id))
		switch {
		case err != nil:
			return err
		case state != complete:
			return raid.ErrNotFound
		}
		if err := t.unlist(int64(id), size); err != nil {
			return err
		}
		if c.keep <= 0 {
			return t.setState(int64(id), going)
		}
		return t.intoTrash(int64(id), size)
	}})
}

// Purge deletes a file for good, durably, also one that is in the trash already. It
// fails with raid.ErrNotFound.
func (c *Catalog) Purge(ctx context.Context, id raid.FileID) error {
	return c.write(ctx, &op{name: fmt.Sprintf("delete file %d for good", id), rows: 2, frees: true, files: true, run: func(t *tx) error {
		state, size, err := t.stateOf(int64(id))
		switch {
		case err != nil:
			return err
		case state == complete:
			err = t.unlist(int64(id), size)
		case state == trashed:
			err = t.outOfTrash(int64(id), size)
		default:
			return raid.ErrNotFound
		}
		if err != nil {
			return err
		}
		return t.setState(int64(id), going)
	}})
}

// Undelete makes a deleted file a file again, durably, as it was: its id, name, bytes
// and chunks. Of one that is a file it returns the record.
//
// It fails with raid.ErrNotFound when the file is not in the trash (any more), and with
// raid.ErrConflict when some part of it has no good copy left. It stays there then.
func (c *Catalog) Undelete(ctx context.Context, id raid.FileID) (f raid.File, err error) {
	err = c.write(ctx, &op{name: fmt.Sprintf("put file %d back", id), rows: 2, frees: true, files: true, run: func(t *tx) error {
		state, size, err := t.stateOf(int64(id))
		switch {
		case err != nil:
			return err
		case state == trashed:
			err = t.putBack(int64(id), size)
		case state != complete:
			return fmt.Errorf("%w in the trash", raid.ErrNotFound)
		}
		if err != nil {
			return err
		}
		f, err = findFile(t.conn, int64(id))
		return err
	}})
	return f, err
}

// stateOf is an upload's state, -1 when there is none.
func (t *tx) stateOf(id int64) (state, size int64, err error) {
	state = -1
	err = t.conn.query(func(r []driver.Value) error {
		state, size = integer(r[0]), integer(r[1])
		return nil
	}, "SELECT state, size FROM upload WHERE id = ?", id)
	return state, size, err
}

// setState changes the state of an upload.
func (t *tx) setState(id, state int64) error {
	_, err := t.exec("UPDATE upload SET state = ? WHERE id = ?", state, id)
	return err
}

// unlist takes a complete file out of what counts files.
func (t *tx) unlist(id, size int64) error {
	degraded, _, err := t.conn.queryInt("SELECT degraded FROM upload WHERE id = ?", id)
	if err != nil {
		return err
	}
	t.meta.counts.Files--
	t.meta.counts.Bytes -= size
	t.meta.counts.Degraded -= degraded
	return t.moving(id)
}

func (t *tx) intoTrash(id, size int64) error {
	if err := t.setState(id, trashed); err != nil {
		return err
	}
	t.meta.counts.Trash = t.meta.counts.Trash.Add(raid.TrashTotals{Files: 1, Bytes: size})
	_, err := t.exec("INSERT INTO trash (file, since, deleted) VALUES (?, ?, ?)", id, t.ran(), t.now())
	return err
}

func (t *tx) outOfTrash(id, size int64) error {
	if err := t.moving(id); err != nil {
		return err
	}
	t.meta.counts.Trash = t.meta.counts.Trash.Add(raid.TrashTotals{Files: -1, Bytes: -size})
	_, err := t.exec("DELETE FROM trash WHERE file = ?", id)
	return err
}

func (t *tx) putBack(id, size int64) error {
	flawed, err := t.whole(id)
	if err != nil {
		return err
	}
	if err := t.outOfTrash(id, size); err != nil {
		return err
	}
	degraded, _, err := t.conn.queryInt("UPDATE upload SET state = 1, degraded = max(degraded, ?) WHERE id = ? RETURNING degraded", truth(flawed), id)
	if err != nil {
		return err
	}
	t.changed = true
	t.meta.counts.Files++
	t.meta.counts.Bytes += size
	t.meta.counts.Degraded += degraded
	return nil
}

// whole fails with raid.ErrConflict if a part of a file has no good copy. Copies on
// nodes that were removed are none, also those that MarkLost did not come to yet.
func (t *tx) whole(id int64) (flawed bool, err error) {
	if _, flawed, err = t.conn.queryInt(anyFlaw, id); err != nil {
		return false, err
	}
	lost := false
	switch {
	case t.someLeaving():
		_, lost, err = t.conn.queryInt(anyLost+noSpare, id)
	case flawed:
		_, lost, err = t.conn.queryInt(anyUnspared+noSpare, id)
	}
	if err == nil && lost {
		err = fmt.Errorf("%w: some part of it has no good copy on any node of the array any more, so it can't be put back", raid.ErrConflict)
	}
	return flawed, err
}

// anyLost is anyWithout that does not count on nodes that were removed. It goes through
// the parts of the file.
const anyLost = `SELECT 1 FROM part p WHERE p.file = ? AND NOT EXISTS
	(SELECT 1 FROM chunk o WHERE o.file = p.file AND o.stripe = p.stripe AND o.part = p.part AND o.flaw <> 1
		AND (o.node IS NULL OR EXISTS (SELECT 1 FROM node n WHERE n.key = o.node AND n.removed = 0)))`

// anyUnspared is anyWithout, for noSpare to follow, which leaves out parts with a surplus
// copy.
const (
	anyUnspared = `SELECT 1 FROM chunk p WHERE p.file = ? AND p.flaw > 0 AND NOT EXISTS
		(SELECT 1 FROM chunk o WHERE o.file = p.file AND o.stripe = p.stripe AND o.part = p.part AND o.flaw <> 1)`
	noSpare = ` AND NOT EXISTS (SELECT 1 FROM surplus s WHERE s.file = p.file AND s.stripe = p.stripe AND s.part = p.part AND s.bad = 0
		AND EXISTS (SELECT 1 FROM node n WHERE n.key = s.node AND n.removed = 0)) LIMIT 1`
)

// someLeaving reports whether chunks of some removed node still count as good.
func (t *tx) someLeaving() bool {
	for key := range t.base.nodes {
		if t.identity(int64(key+1)).removed == leaving {
			return true
		}
	}
	return false
}

// Discard has files of the trash go for good, the oldest first, durably. It returns
// what went; nothing when there is none.
func (c *Catalog) Discard(ctx context.Context, d raid.Discard) (gone raid.TrashTotals, err error) {
	if c.trash().Files == 0 {
		return gone, c.writer.check()
	}
	err = c.write(ctx, &op{name: "empty the trash", rows: 2 * d.Limit, frees: true, files: true, run: func(t *tx) (err error) {
		gone, err = t.discard(d)
		return err
	}})
	return gone, err
}

func (t *tx) discard(d raid.Discard) (gone raid.TrashTotals, err error) {
	type old struct{ file, size int64 }
	var found []old
	err = t.conn.query(func(r []driver.Value) error {
		found = append(found, old{integer(r[0]), integer(r[1])})
		gone = gone.Add(raid.TrashTotals{Files: 1, Bytes: integer(r[1])})
		if d.Bytes > 0 && gone.Bytes >= d.Bytes {
			return errPageFull
		}
		return nil
	}, `SELECT t.file, u.size FROM trash t INDEXED BY trash_by_age CROSS JOIN upload u ON u.id = t.file
		WHERE t.since <= ? ORDER BY t.since, t.file LIMIT +?`, d.Until.Milliseconds(), int64(d.Limit))
	if err != nil && !errors.Is(err, errPageFull) {
		return gone, err
	}
	for _, f := range found {
		if err := t.isTrashed(f.file, d.Until); err != nil {
			return gone, err
		}
		if err := t.outOfTrash(f.file, f.size); err != nil {
			return gone, err
		}
		if err := t.setState(f.file, going); err != nil {
			return gone, err
		}
	}
	return gone, nil
}

// isTrashed asks the tables what the index of the trash says, as isGoing does.
func (t *tx) isTrashed(id int64, until time.Duration) error {
	_, yes, err := t.conn.queryInt(`SELECT 1 FROM trash t NOT INDEXED CROSS JOIN upload u NOT INDEXED ON u.id = t.file
		WHERE t.file = ? AND +t.since <= ? AND +u.state = 2`, id, until.Milliseconds())
	if err == nil && !yes {
		err = fmt.Errorf("%w: the index of the trash has file %d, its table does not", raid.ErrCorrupt, id)
	}
	return err
}

// trash sums up the trash. No I/O.
func (c *Catalog) trash() raid.TrashTotals {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.state.meta.counts.Trash
}

// Ran is the time that controllers have run with this catalog, over all starts. After a
// power cut it is behind by what passed since the last write. No I/O.
func (c *Catalog) Ran() time.Duration { return time.Duration(c.ran()) * time.Millisecond }

func (c *Catalog) ran() int64 { return c.ranBefore + time.Since(c.started).Milliseconds() }

// NoteRan makes Ran durable where a file in the trash waits for it, and no write has done so for
// a while. Then it writes one row, else nothing.
func (c *Catalog) NoteRan(ctx context.Context, every time.Duration) error {
	c.mu.RLock()
	noted, waits := c.state.meta.ran, c.state.meta.counts.Trash.Files > 0
	c.mu.RUnlock()
	if !waits || time.Duration(c.ran()-noted)*time.Millisecond < every {
		return c.writer.check()
	}
	return c.write(ctx, &op{name: "note how long the controller has run", rows: 1, frees: true, run: func(t *tx) error {
		t.changed = true // each transaction notes it
		return nil
	}})
}

// Oldest is the value of Ran at which the oldest file of the trash was deleted; false
// when there is none.
func (c *Catalog) Oldest(ctx context.Context) (since time.Duration, some bool, err error) {
	if c.trash().Files == 0 {
		return 0, false, c.writer.check()
	}
	err = c.read(ctx, "look for the oldest deleted file", func(r *conn) error {
		ms, found, err := r.queryInt("SELECT since FROM trash WHERE since >= 0 ORDER BY since, file LIMIT 1")
		since, some = time.Duration(ms)*time.Millisecond, found
		return err
	})
	return since, some, err
}
