package catalog

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math"

	"github.com/raidpi/raidpi/internal/raid"
)

// RemoveNode removes a native node for good, durably, whether it has joined or only holds chunks.
// It leaves Nodes, is never let in under its id again, and
// nothing new rests on it from then on. Again is fine. It fails with
// raid.ErrNotFound when there is no such node.
//
// In the same transaction may is told what rests on the node, when the good copies on
// other nodes that are there alone are counted on. Its error keeps the node. Both
// must not wait. A nil may allows it.
//
// MarkLost then has its chunks made anew, which may take long, and drops what was
// still to be removed from it. Until that is done, reads may still ask for a copy
// that was on it.
func (c *Catalog) RemoveNode(ctx context.Context, id raid.NodeID, there func(raid.NodeID) bool, may func(raid.Leaving) error) error {
	return c.write(ctx, &op{name: "remove node " + string(id), rows: 1, frees: true, run: func(t *tx) error {
		key := t.findNode(id)
		if key == 0 {
			return fmt.Errorf("%w: there is no such node", raid.ErrNotFound)
		}
		i := t.identity(key)
		if i.removed != staying {
			return nil
		}
		if may != nil {
			rests, err := t.leaving(key, there)
			if err == nil {
				err = may(rests)
			}
			if err != nil {
				return err
			}
		}
		i.removed = leaving
		return t.setIdentity(key, i)
	}})
}

// Gone reports whether a node was removed for good. No I/O.
func (c *Catalog) Gone(id raid.NodeID) bool {
	n, ok := c.known(id)
	return ok && n.removed != staying
}

// lostBatch bounds the chunks that one op marks bad, so that others get their turn.
const lostBatch = 256

// beyond is after all rows.
var beyond = raid.CopyCursor{File: math.MaxInt64, Stripe: math.MaxInt64, Part: math.MaxInt64, Copy: math.MaxInt64}

// MarkLost does a small step of what is left to do for nodes that were removed, one node after the
// other. It looks at so many rows of chunk, marks what the node held bad, so that repair makes it
// anew, and drops what was to be removed from the node. next is where to go on; more says that
// there is more to do. That a node is done is durable. What was cut off begins anew with the zero
// cursor, and what is marked already costs little then.
func (c *Catalog) MarkLost(ctx context.Context, at raid.LostCursor, rows int) (next raid.LostCursor, more bool, err error) {
	key, removals := c.nextLeaving(&at)
	if key == 0 {
		return at, false, c.writer.check()
	}
	var p lostPage
	err = c.read(ctx, "look for chunks of node "+string(at.Node), func(r *conn) (err error) {
		p, err = lostFrom(r, key, at.After, rows)
		return err
	})
	if err != nil {
		return at, true, err
	}
	next = at
	if len(p.found) == 0 && removals == 0 && !p.last {
		next.After = p.end
		return next, true, nil
	}
	done, marked := false, int64(0)
	name := "mark chunks of node " + string(at.Node) + " bad"
	err = c.write(ctx, &op{name: name, rows: 2*len(p.found) + int(min(removals, batchRows)) + 1, frees: true, files: true, run: func(t *tx) (err error) {
		marked, done, err = t.lose(key, p)
		return err
	}})
	if err != nil {
		return at, true, err
	}
	next.Marked += marked
	switch {
	case done:
		c.log.Info("all chunks of a removed node are marked to be made anew", "node", at.Node, "chunks", next.Marked)
		key, _ = c.nextLeaving(&raid.LostCursor{})
		return next, key != 0, nil
	case !p.last:
		next.After = p.end
	}
	return next, true, nil
}

// nextLeaving finds the node that the cursor is at, or, when that is done, the
// next one, to begin with. The key is 0 when there is none.
func (c *Catalog) nextLeaving(at *raid.LostCursor) (key, removals int64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if k := c.state.byID[at.Node]; k != 0 && c.state.nodes[k-1].removed == leaving {
		return k, c.state.nodes[k-1].removals
	}
	for i, n := range c.state.nodes {
		if n.removed == leaving {
			*at = raid.LostCursor{Node: n.ID}
			return int64(i + 1), n.removals
		}
	}
	return 0, 0
}

// lostPage are chunks of a removed node that still count as good.
type lostPage struct {
	found []lostChunk
	end   raid.CopyCursor // looked at up to there
	last  bool            // which is the end
}

type lostChunk struct {
	raid.CopyCursor
	attempt int64
}

func lostFrom(r *conn, key int64, after raid.CopyCursor, rows int) (p lostPage, err error) {
	if p.end, p.last, err = pageEnd(r, after, rows); err != nil {
		return p, err
	}
	err = r.query(func(row []driver.Value) error {
		at := raid.CopyCursor{File: integer(row[0]), Stripe: integer(row[1]), Part: integer(row[2]), Copy: integer(row[3])}
		p.found = append(p.found, lostChunk{at, integer(row[4])})
		return nil
	}, `SELECT file, stripe, part, copy, attempt FROM chunk
		WHERE (file, stripe, part, copy) > (?, ?, ?, ?) AND (file, stripe, part, copy) <= (?, ?, ?, ?) AND node = ? AND flaw <> 1
		ORDER BY file, stripe, part, copy LIMIT +?`,
		after.File, after.Stripe, after.Part, after.Copy, p.end.File, p.end.Stripe, p.end.Part, p.end.Copy, key, int64(lostBatch))
	if n := len(p.found); n == lostBatch {
		p.end, p.last = p.found[n-1].CopyCursor, false
	}
	return p, err
}

// pageEnd is the place of the last of so many rows of chunk; last says that there
// are fewer. To step over rows is much faster than to fetch them.
func pageEnd(r *conn, after raid.CopyCursor, rows int) (end raid.CopyCursor, last bool, err error) {
	end, last = beyond, true
	err = r.query(func(row []driver.Value) error {
		end, last = raid.CopyCursor{File: integer(row[0]), Stripe: integer(row[1]), Part: integer(row[2]), Copy: integer(row[3])}, false
		return nil
	}, `SELECT file, stripe, part, copy FROM chunk WHERE (file, stripe, part, copy) > (?, ?, ?, ?)
		ORDER BY file, stripe, part, copy LIMIT 1 OFFSET +?`, after.File, after.Stripe, after.Part, after.Copy, int64(rows-1))
	return end, last, err
}

// lose marks a page bad, drops removals and surplus copies, and ends the search when all are through.
func (t *tx) lose(key int64, p lostPage) (marked int64, done bool, err error) {
	for _, f := range p.found {
		n, err := t.markBad(f.File, f.Stripe, f.Part, f.Copy, f.attempt)
		if err != nil {
			return 0, false, err
		}
		marked += n
	}
	dropped, err := t.exec(`DELETE FROM removal WHERE node = ? AND (upload_id, stripe, part, attempt) IN
		(SELECT upload_id, stripe, part, attempt FROM removal WHERE node = ? ORDER BY upload_id, stripe, part, attempt LIMIT +?)`,
		key, key, int64(batchRows))
	if err != nil {
		return 0, false, err
	}
	if dropped > 0 {
		t.removals = append(t.removals, removalDelta{key, -dropped})
	}
	spared, err := t.dropSurplus(key, batchRows)
	if err != nil {
		return 0, false, err
	}
	i := t.identity(key)
	if !p.last || dropped == batchRows || spared == batchRows || i.removed != leaving {
		return marked, false, nil
	}
	i.removed = left
	return marked, true, t.setIdentity(key, i)
}
