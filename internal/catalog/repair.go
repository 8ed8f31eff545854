package catalog

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

// Repairs returns up to limit parts of files that have a bad copy, or two good ones on one
// node, in order after the cursor. Files in the trash are among them, but for parts that
// have no good copy left: nothing of those can be put back.
func (c *Catalog) Repairs(ctx context.Context, after raid.PartCursor, limit int) (out []raid.Repair, err error) {
	err = c.read(ctx, "look for repairs", func(r *conn) error {
		var found []raid.PartCursor
		err := r.query(func(row []driver.Value) error {
			found = append(found, raid.PartCursor{File: raid.FileID(integer(row[0])), Stripe: integer(row[1]), Part: int(integer(row[2]))})
			return nil
		}, `SELECT DISTINCT c.file, c.stripe, c.part FROM chunk c INDEXED BY chunk_flawed CROSS JOIN upload u ON u.id = c.file
			WHERE c.flaw > 0 AND (u.state = 1 OR u.state = 2 AND EXISTS
				(SELECT 1 FROM chunk o WHERE o.file = c.file AND o.stripe = c.stripe AND o.part = c.part AND o.flaw <> 1)) AND (c.file, c.stripe, c.part) > (?, ?, ?) ORDER BY c.file, c.stripe, c.part LIMIT +?`,
			int64(after.File), after.Stripe, int64(after.Part), int64(limit))
		if err != nil {
			return err
		}
		out, err = c.partsOf(r, found)
		return err
	})
	return out, err
}

// MarkBad notes that a copy is missing or corrupt; its file is degraded from then
// on. A copy that is no longer that attempt, is bad already or belongs to no file
// any more stays as it is, without an error. Files in the trash are told of, too: what
// is put back has to say truly what is left of it.
func (c *Catalog) MarkBad(ctx context.Context, file raid.FileID, stripe int64, part, index, attempt int) error {
	id := int64(file)
	name := fmt.Sprintf("mark bad copy %d of file %d stripe %d part %d", index, file, stripe, part)
	return c.write(ctx, &op{name: name, rows: 2, files: true, run: func(t *tx) error {
		_, err := t.markBad(id, stripe, int64(part), int64(index), int64(attempt))
		return err
	}})
}

// markBad returns how many copies it has marked: one or none.
func (t *tx) markBad(id, stripe, part, index, attempt int64) (marked int64, err error) {
	err = t.movingCopy(id, stripe, part, func() (err error) {
		marked, err = t.exec(`UPDATE chunk SET flaw = 1 WHERE file = ? AND stripe = ? AND part = ? AND copy = ? AND attempt = ? AND flaw <> 1
			AND EXISTS (SELECT 1 FROM upload WHERE id = file AND state IN (0, 1, 2))`, id, stripe, part, index, attempt)
		return err
	})
	if err != nil || marked == 0 {
		return 0, err
	}
	// A good copy that shared its node with this one does not any more.
	if err := t.findFlaws(id, stripe, part); err != nil {
		return 0, err
	}
	n, err := t.exec("UPDATE upload SET degraded = 1 WHERE id = ? AND state = 1 AND degraded = 0", id)
	t.meta.counts.Degraded += n
	return marked, err
}

// findFlaws writes flaws anew for the copies of one part.
func (t *tx) findFlaws(id, stripe, part int64) error {
	var copies []raid.Copy
	var was []int64
	err := t.conn.query(func(r []driver.Value) error {
		copies = append(copies, raid.Copy{Index: int(integer(r[0])), Node: t.nodeID(integer(r[1])), Bad: integer(r[2]) == copyBad})
		was = append(was, integer(r[2]))
		return nil
	}, "SELECT copy, node, flaw FROM chunk WHERE file = ? AND stripe = ? AND part = ? ORDER BY copy", id, stripe, part)
	if err != nil {
		return err
	}
	for i, flaw := range flaws(copies) {
		if flaw == was[i] {
			continue
		}
		_, err := t.exec("UPDATE chunk SET flaw = ? WHERE file = ? AND stripe = ? AND part = ? AND copy = ?",
			flaw, id, stripe, part, int64(copies[i].Index))
		if err != nil {
			return err
		}
	}
	return nil
}

// NextAttempt gives out, durably, a number for one more attempt to store a part
// of a file, which no chunk of that part ever had, and notes that the chunk is about to be stored on
// the node, until ReplaceCopy or Record says what became of it. It fails with raid.ErrNotFound
// when there is no such file, with raid.ErrUnsupported when a name has no room for a
// higher number, and with raid.ErrPeerGone when the node drains, and so gets nothing any
// more. It may have been chosen before.
func (c *Catalog) NextAttempt(ctx context.Context, file raid.FileID, stripe int64, part int, node raid.NodeID) (attempt int, err error) {
	name := fmt.Sprintf("number an attempt to store file %d stripe %d part %d", file, stripe, part)
	err = c.write(ctx, &op{name: name, rows: 1, files: true, run: func(t *tx) (err error) {
		if err := t.takes(node); err != nil {
			return err
		}
		upload, err := t.uploadOf(int64(file))
		if err == nil {
			attempt, err = t.nextAttempt(int64(file), stripe, int64(part))
		}
		if err != nil {
			return err
		}
		return t.intend(node, raid.ChunkKey{Upload: upload, Stripe: stripe, Part: part, Attempt: attempt})
	}})
	return attempt, err
}

// takes fails with raid.ErrPeerGone when a node drains.
func (t *tx) takes(node raid.NodeID) error {
	if key := t.findNode(node); key != 0 && t.record(key).Draining {
		return fmt.Errorf("%w: node %s drains, and gets no copies any more", raid.ErrPeerGone, node)
	}
	return nil
}

// uploadOf is the upload that made a file, also one in the trash. It fails with
// raid.ErrNotFound.
func (t *tx) uploadOf(id int64) (u raid.UploadID, err error) {
	found := false
	err = t.conn.query(func(r []driver.Value) (err error) {
		found = true
		u, err = raid.ParseUploadID(text(r[0]))
		return err
	}, "SELECT upload_id FROM upload WHERE id = ? AND state IN (1, 2)", id)
	if err == nil && !found {
		err = raid.ErrNotFound
	}
	return u, err
}

// nextAttempt begins behind the numbers of uploads. Repairs made before its table was there
// took numbers close to the rows'.
func (t *tx) nextAttempt(id, stripe, part int64) (int, error) {
	last, _, err := t.conn.queryInt(`INSERT INTO attempt (file, stripe, part, last)
		SELECT ?, ?, ?, max(ifnull(max(attempt), 0), ?) + 1 FROM chunk WHERE file = ? AND stripe = ? AND part = ?
		ON CONFLICT DO UPDATE SET last = last + 1 RETURNING last`, id, stripe, part, int64(raid.UploadAttempts), id, stripe, part)
	if err != nil {
		return 0, err
	}
	if last > raid.MaxAttempt {
		return 0, fmt.Errorf("%w: it was stored so often that its chunks can't be named any more; upload the file anew and delete this one", raid.ErrUnsupported)
	}
	t.changed = true
	return int(last), nil
}

// ReplaceCopy puts a new copy of a part in place of an old one, durably, and queues the removal of
// the old chunk when its node is known and it is not the new one too (a copy marked bad that proved
// good). The file is no longer degraded when that was its last flaw.
//
// The number of a new chunk must come from NextAttempt, else it fails with raid.ErrInvalid. It
// fails with raid.ErrPrecondition when the row is no longer as old says, or the file is gone or the
// new copy's node was removed, or a good copy would be given up for one on a node that has another.
// The new chunk is then queued for removal instead. Once a deleted file is swept, though, its
// upload is not known here any more, and only a caller that knows it can Record that.
func (c *Catalog) ReplaceCopy(ctx context.Context, file raid.FileID, stripe int64, part int, old, new raid.Copy) error {
	return c.replace(ctx, file, stripe, part, old, new, false)
}

func (c *Catalog) replace(ctx context.Context, file raid.FileID, stripe int64, part int, old, new raid.Copy, lost bool) error {
	name := fmt.Sprintf("replace copy %d of file %d stripe %d part %d", old.Index, file, stripe, part)
	if new.Attempt < 1 || new.Attempt > raid.MaxAttempt {
		return fmt.Errorf("%s: %w: attempt %d", name, raid.ErrInvalid, new.Attempt)
	}
	var refused error
	err := c.write(ctx, &op{name: name, rows: 4, files: true, run: func(t *tx) (err error) {
		refused, err = t.replaceCopy(int64(file), stripe, int64(part), old, new, lost)
		return err
	}})
	if err == nil && refused != nil {
		err = fmt.Errorf("%s: %w", name, refused)
	}
	return err
}

// replaceCopy returns refused, and no error, where what it wrote stands although
// the copy was not replaced.
func (t *tx) replaceCopy(id, stripe, part int64, old, new raid.Copy, lost bool) (refused, err error) {
	var upload raid.UploadID
	var state, last int64 = -1, 0
	err = t.conn.query(func(r []driver.Value) (err error) {
		state, last = integer(r[1]), integer(r[2])
		upload, err = raid.ParseUploadID(text(r[0]))
		return err
	}, "SELECT upload_id, state, (SELECT last FROM attempt WHERE file = id AND stripe = ? AND part = ?) FROM upload WHERE id = ?", stripe, part, id)
	if err != nil {
		return nil, err
	}
	if state < 0 {
		return fmt.Errorf("%w: the file is gone; the new chunk's upload is not known here", raid.ErrPrecondition), nil
	}
	newKey := raid.ChunkKey{Upload: upload, Stripe: stripe, Part: int(part), Attempt: new.Attempt}
	n := int64(0)
	moved := old.Node != new.Node || old.Attempt != new.Attempt
	if state == complete || state == trashed {
		// A new chunk has a number that NextAttempt has given out.
		if moved && (new.Attempt <= raid.UploadAttempts || int64(new.Attempt) > last) {
			return nil, fmt.Errorf("%w: attempt %d was not given out", raid.ErrInvalid, new.Attempt)
		}
		doubles, err := t.doubles(id, newKey, old, new)
		if err != nil {
			return nil, err
		}
		if !doubles {
			if n, err = t.putCopy(id, newKey, old, new); err != nil {
				return nil, err
			}
		}
	}
	if n == 0 {
		refused := fmt.Errorf("%w: the copy changed, or the file or the new copy's node is gone, or has another copy", raid.ErrPrecondition)
		if !moved {
			return refused, nil // no new chunk was made
		}
		err := t.recordRemovals([]raid.Removal{{Node: new.Node, Key: newKey}})
		return refused, err
	}
	return nil, t.replaced(id, upload, &raid.Part{Stripe: stripe, Number: int(part)}, old, new, lost)
}

// doubles reports whether a good copy would be given up for one on a node that has
// another good copy of the part. One may have come there since the node was chosen.
func (t *tx) doubles(id int64, key raid.ChunkKey, old, new raid.Copy) (yes bool, err error) {
	node := t.findNode(new.Node)
	if old.Bad || old.Node == new.Node || node == 0 {
		return false, nil
	}
	_, yes, err = t.conn.queryInt("SELECT 1 FROM chunk WHERE file = ? AND stripe = ? AND part = ? AND copy <> ? AND node = ? AND flaw <> 1 LIMIT 1",
		id, key.Stripe, int64(key.Part), int64(old.Index), node)
	return yes, err
}

// putCopy changes the row of a copy when it still is as old says, and returns how
// many rows that were. No good copy is put on a node that was removed.
func (t *tx) putCopy(id int64, key raid.ChunkKey, old, new raid.Copy) (int64, error) {
	if t.gone(new.Node) {
		return 0, nil
	}
	oldNode, err := t.nodeValue(old.Node)
	if err != nil {
		return 0, err
	}
	newNode, err := t.nodeValue(new.Node)
	if err != nil {
		return 0, err
	}
	// A name that waits for its removal would take the new chunk with it.
	_, doomed, err := t.conn.queryInt("SELECT 1 FROM removal WHERE node = ? AND upload_id = ? AND stripe = ? AND part = ? AND attempt = ?",
		newNode, key.Upload.String(), key.Stripe, int64(key.Part), int64(key.Attempt))
	if err != nil || doomed {
		return 0, err
	}
	var n int64
	err = t.movingCopy(id, key.Stripe, int64(key.Part), func() (err error) {
		n, err = t.exec(`UPDATE chunk SET attempt = ?, node = ?, flaw = ?
			WHERE file = ? AND stripe = ? AND part = ? AND copy = ? AND attempt = ? AND node IS ?`,
			int64(new.Attempt), newNode, truth(new.Bad), id, key.Stripe, int64(key.Part), int64(old.Index), int64(old.Attempt), oldNode)
		return err
	})
	if err != nil || n == 0 || new.Bad {
		return n, err
	}
	return n, t.restsAgain(new.Node)
}

// restsAgain takes back that nothing rests on a node that drains: a copy there counts as
// good that did not before. Its drain ends once more when that has moved, too.
func (t *tx) restsAgain(node raid.NodeID) error {
	key := t.findNode(node)
	if key == 0 {
		return nil
	}
	r := t.record(key)
	if !r.Drained {
		return nil
	}
	r.Drained = false
	return t.setRecord(key, r)
}

// renewFlags writes anew whether a file is degraded, also one in the trash, and whether it
// has a copy on a lab node when that may have ended.
func (t *tx) renewFlags(id int64, wasLab bool) error {
	state, flawed, is := int64(0), false, false
	err := t.conn.query(func(r []driver.Value) error {
		state, flawed, is = integer(r[0]), integer(r[1]) != 0, true
		return nil
	}, "UPDATE upload SET degraded = 1 - degraded WHERE id = ? AND state IN (1, 2) AND degraded <> "+isFlawed+" RETURNING state, degraded", id)
	if err != nil {
		return err
	}
	t.changed = t.changed || is
	t.meta.counts.Degraded += truth(is && state == complete) * (2*truth(flawed) - 1)
	if !wasLab {
		return nil
	}
	_, lab, err := t.conn.queryInt(anyLab, id)
	if err != nil {
		return err
	}
	_, err = t.exec("UPDATE upload SET lab = ? WHERE id = ? AND lab <> ?", truth(lab), id, truth(lab))
	return err
}
