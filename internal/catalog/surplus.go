package catalog

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"

	"github.com/raidpi/raidpi/internal/raid"
)

// ReplaceLost is ReplaceCopy for a copy whose node is away for long: its chunk is not
// removed, but becomes surplus. One that is bad is removed all the same.
func (c *Catalog) ReplaceLost(ctx context.Context, file raid.FileID, stripe int64, part int, old, new raid.Copy) error {
	return c.replace(ctx, file, stripe, part, old, new, true)
}

// surplusCopy notes that a good copy is not needed any more. What was on a node that was
// removed is forgotten.
func (t *tx) surplusCopy(file int64, old raid.Copy, k raid.ChunkKey) error {
	node := t.findNode(old.Node)
	if node == 0 || t.identity(node).removed != staying {
		return nil
	}
	_, err := t.exec("INSERT OR IGNORE INTO surplus (file, stripe, part, attempt, node) VALUES (?, ?, ?, ?, ?)",
		file, k.Stripe, int64(k.Part), int64(k.Attempt), node)
	return err
}

// Surpluses returns up to limit surplus copies on a node, in order
// after the cursor, with their parts as they are now. next is where to go on; more says
// that there may be others.
func (c *Catalog) Surpluses(ctx context.Context, node raid.NodeID, after raid.SurplusCursor, limit int) (out []raid.Surplus, next raid.SurplusCursor, more bool, err error) {
	c.mu.RLock()
	key := c.state.byID[node]
	c.mu.RUnlock()
	if next = after; key == 0 || c.Gone(node) {
		return nil, next, false, c.writer.check()
	}
	err = c.read(ctx, fmt.Sprintf("look up surplus copies on node %s", node), func(r *conn) error {
		var found []raid.SurplusCursor
		err := r.query(func(row []driver.Value) error {
			found = append(found, raid.SurplusCursor{PartCursor: raid.PartCursor{File: raid.FileID(integer(row[0])), Stripe: integer(row[1]), Part: int(integer(row[2]))}, Attempt: int(integer(row[3]))})
			return nil
		}, `SELECT file, stripe, part, attempt FROM surplus s INDEXED BY surplus_on
			WHERE node = ? AND (file, stripe, part, attempt) > (?, ?, ?, ?) AND `+spareWork+` ORDER BY file, stripe, part, attempt LIMIT +?`,
			key, int64(after.File), after.Stripe, int64(after.Part), int64(after.Attempt), int64(limit))
		if err != nil {
			return err
		}
		more = len(found) == limit
		for _, f := range found {
			next = f
			part, ok, err := c.partOf(r, f.PartCursor)
			if err != nil {
				return err
			}
			if ok {
				out = append(out, raid.Surplus{File: f.File, Part: part, Copy: raid.Copy{Attempt: f.Attempt, Node: node}})
			}
		}
		return nil
	})
	return out, next, more, err
}

// stripeOf are the parts of a stripe of a file, also of one in the trash; of what is no
// file there are none.
func (c *Catalog) stripeOf(r *conn, at raid.PartCursor) ([]raid.Part, error) {
	_, isFile, err := r.queryInt("SELECT 1 FROM upload WHERE id = ? AND state IN (1, 2)", int64(at.File))
	if err != nil || !isFile {
		return nil, err
	}
	return c.stripes(r, int64(at.File), at.Stripe, at.Stripe+1)
}

// partOf is a part of a file, also of one in the trash.
func (c *Catalog) partOf(r *conn, at raid.PartCursor) (p raid.Part, ok bool, err error) {
	parts, err := c.stripeOf(r, at)
	if i := slices.IndexFunc(parts, func(p raid.Part) bool { return p.Number == at.Part }); i >= 0 {
		return parts[i], true, err
	}
	return p, false, err
}

// SettleSurplus ends surplus copies, durably: each takes the place of another copy or is
// queued for removal, and the other copy is. It happens only when the part's copies still
// are as the settlement says. Of one that goes, all of them must be good, on distinct
// nodes. done says which were settled; nothing is changed for others.
func (c *Catalog) SettleSurplus(ctx context.Context, all []raid.Settlement) (done []bool, err error) {
	done = make([]bool, len(all))
	err = c.write(ctx, &op{name: "settle surplus copies", rows: 4*len(all) + 1, frees: true, files: true, run: func(t *tx) error {
		for i := range all {
			ok, err := t.settleSurplus(&all[i])
			if err != nil {
				return err
			}
			done[i] = ok
		}
		return nil
	}})
	if err != nil {
		clear(done)
	}
	return done, err
}

func (t *tx) settleSurplus(s *raid.Settlement) (done bool, err error) {
	id, p := int64(s.File), &s.Part
	upload, err := t.uploadOf(id)
	if isGone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if same, err := t.copiesAre(id, p); err != nil || !same {
		return false, err
	}
	if s.Instead == 0 && !slices.Equal(flaws(p.Copies), make([]int64, len(p.Copies))) {
		return false, nil
	}
	node := t.findNode(s.Copy.Node)
	if node == 0 || t.identity(node).removed != staying {
		return false, nil
	}
	_, there, err := t.conn.queryInt("SELECT 1 FROM surplus WHERE file = ? AND stripe = ? AND part = ? AND attempt = ? AND node = ?",
		id, p.Stripe, int64(p.Number), int64(s.Copy.Attempt), node)
	if err != nil || !there {
		return false, err
	}
	if s.Instead != 0 { // before its row goes: a part may rest on it alone
		if err := t.adopt(s, upload); err != nil {
			return false, err
		}
	}
	if err := t.forgetSurplus(id, p.Stripe, int64(p.Number), int64(s.Copy.Attempt)); err != nil || s.Instead != 0 {
		return err == nil, err
	}
	return true, t.recordRemovals([]raid.Removal{{Node: s.Copy.Node, Key: p.Key(upload, s.Copy)}})
}

// copiesAre reports whether the copies of a part are just those.
func (t *tx) copiesAre(id int64, p *raid.Part) (bool, error) {
	var now []raid.Copy
	err := t.conn.query(func(r []driver.Value) error {
		now = append(now, raid.Copy{Index: int(integer(r[0])), Attempt: int(integer(r[1])), Node: t.nodeID(integer(r[2])), Bad: integer(r[3]) == copyBad})
		return nil
	}, "SELECT copy, attempt, node, flaw FROM chunk WHERE file = ? AND stripe = ? AND part = ? ORDER BY copy", id, p.Stripe, int64(p.Number))
	return slices.Equal(now, p.Copies), err
}

// adopt puts a surplus copy into the place of another.
func (t *tx) adopt(s *raid.Settlement, upload raid.UploadID) error {
	id, p := int64(s.File), &s.Part
	i := slices.IndexFunc(p.Copies, func(c raid.Copy) bool { return c.Index == s.Instead })
	if i < 0 {
		return fmt.Errorf("%w: there is no copy %d", raid.ErrInvalid, s.Instead)
	}
	old, fresh := p.Copies[i], s.Copy
	fresh.Index, fresh.Bad = old.Index, false
	n, err := t.putCopy(id, p.Key(upload, fresh), old, fresh)
	if err != nil {
		return err
	}
	if n == 0 {
		return nil // it waits for its removal already
	}
	return t.replaced(id, upload, p, old, fresh, s.Lost)
}

// replaced does what follows when a copy has taken the place of another.
func (t *tx) replaced(id int64, upload raid.UploadID, p *raid.Part, old, fresh raid.Copy, lost bool) error {
	if err := t.findFlaws(id, p.Stripe, int64(p.Number)); err != nil {
		return err
	}
	if err := t.renewFlags(id, !old.Node.IsNative() || !fresh.Node.IsNative()); err != nil {
		return err
	}
	if old.Node == fresh.Node && old.Attempt == fresh.Attempt {
		return nil
	}
	if err := t.fulfil(t.findNode(fresh.Node), p.Key(upload, fresh)); err != nil {
		return err
	}
	if lost && !old.Bad && old.Node.IsNative() {
		return t.surplusCopy(id, old, p.Key(upload, old))
	}
	return t.recordRemovals([]raid.Removal{{Node: old.Node, Key: p.Key(upload, old)}})
}

// sweepSurplus queues the removal of the surplus copies of an upload's parts up to one.
func (t *tx) sweepSurplus(id int64, upload string, stripe, part int64) error {
	err := t.conn.query(func(r []driver.Value) error {
		t.removals = append(t.removals, removalDelta{integer(r[0]), 1})
		return nil
	}, `INSERT OR IGNORE INTO removal (node, upload_id, stripe, part, attempt)
		SELECT node, ?, stripe, part, attempt FROM surplus
		WHERE file = ? AND (stripe, part) <= (?, ?) AND node IN (SELECT key FROM node WHERE removed = 0) RETURNING node`, upload, id, stripe, part)
	if err != nil {
		return err
	}
	_, err = t.exec("DELETE FROM surplus WHERE file = ? AND (stripe, part) <= (?, ?)", id, stripe, part)
	return err
}

// CountSurplus counts the surplus copies of files among limit of those on a node after the
// cursor, and their bytes. Those of files that go for good wait for that, and not for work.
func (c *Catalog) CountSurplus(ctx context.Context, node raid.NodeID, after raid.SurplusCursor, limit int) (copies, bytes int64, next raid.SurplusCursor, more bool, err error) {
	c.mu.RLock()
	key := c.state.byID[node]
	c.mu.RUnlock()
	if next = after; key == 0 || c.Gone(node) {
		return 0, 0, next, false, c.writer.check()
	}
	rows := 0
	err = c.read(ctx, fmt.Sprintf("count surplus copies on node %s", node), func(r *conn) error {
		return r.query(func(row []driver.Value) error {
			rows++
			next = raid.SurplusCursor{PartCursor: raid.PartCursor{File: raid.FileID(integer(row[0])), Stripe: integer(row[1]), Part: int(integer(row[2]))}, Attempt: int(integer(row[3]))}
			if state := integer(row[5]); state == complete || state == trashed {
				copies, bytes = copies+1, bytes+integer(row[4])
			}
			return nil
		}, `SELECT file, stripe, part, attempt, ifnull((SELECT length FROM part p WHERE p.file = s.file AND p.stripe = s.stripe AND p.part = s.part), 0),
			ifnull((SELECT state FROM upload u WHERE u.id = s.file), -1)
			FROM surplus s INDEXED BY surplus_on WHERE node = ? AND (file, stripe, part, attempt) > (?, ?, ?, ?) AND `+spareWork+` ORDER BY file, stripe, part, attempt LIMIT +?`,
			key, int64(after.File), after.Stripe, int64(after.Part), int64(after.Attempt), int64(limit))
	})
	return copies, bytes, next, rows == limit, err
}
