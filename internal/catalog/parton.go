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

// partsAtOnce bounds the parts that one call of PartsOn returns.
const partsAtOnce = 256

// PartsOn returns parts of files, also of those in the trash, that have a copy which counts as good on one of
// the nodes, in order after the cursor. It looks at about so many rows of chunk, writes
// nothing, and may return none although there are more: next is where to go on.
func (c *Catalog) PartsOn(ctx context.Context, nodes []raid.NodeID, after raid.PartCursor, rows int) (parts []raid.Repair, next raid.PartCursor, more bool, err error) {
	keys := c.keySet(nodes)
	if keys == "" {
		return nil, after, false, c.writer.check()
	}
	err = c.read(ctx, "look for parts on nodes", func(r *conn) error {
		end, err := partsPage(r, after, rows)
		if err != nil {
			return err
		}
		var found []raid.PartCursor
		err = r.query(func(row []driver.Value) error {
			found = append(found, raid.PartCursor{File: raid.FileID(integer(row[0])), Stripe: integer(row[1]), Part: int(integer(row[2]))})
			return nil
		}, `SELECT DISTINCT file, stripe, part FROM chunk WHERE (file, stripe, part) > (?, ?, ?) AND (file, stripe, part) <= (?, ?, ?)
			AND flaw <> 1 AND instr(?, '.' || node || '.') > 0 ORDER BY file, stripe, part LIMIT +?`,
			int64(after.File), after.Stripe, int64(after.Part), int64(end.File), end.Stripe, int64(end.Part), keys, int64(partsAtOnce))
		if err != nil {
			return err
		}
		next, more = end, int64(end.File) != beyond.File
		if len(found) == partsAtOnce {
			next, more = found[partsAtOnce-1], true
		}
		parts, err = c.partsOf(r, found)
		return err
	})
	if err != nil {
		return nil, after, true, err
	}
	return parts, next, more, nil
}

// keySet are the keys of nodes that hold chunks, each with a dot before and after it:
// one argument of a statement, however many they are.
func (c *Catalog) keySet(nodes []raid.NodeID) string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var b strings.Builder
	for _, id := range nodes {
		if k := c.state.byID[id]; k != 0 {
			if b.Len() == 0 {
				b.WriteByte('.')
			}
			b.WriteString(strconv.FormatInt(k, 10))
			b.WriteByte('.')
		}
	}
	return b.String()
}

// partsPage is the part of the last of so many rows of chunk.
func partsPage(r *conn, after raid.PartCursor, rows int) (raid.PartCursor, error) {
	end, _, err := pageEnd(r, raid.CopyCursor{File: int64(after.File), Stripe: after.Stripe, Part: int64(after.Part), Copy: beyond.Copy}, rows)
	return raid.PartCursor{File: raid.FileID(end.File), Stripe: end.Stripe, Part: int(end.Part)}, err
}

// partsOf reads parts, and leaves out those of what is no file. Those that follow each
// other in one stripe are read together.
func (c *Catalog) partsOf(r *conn, at []raid.PartCursor) (out []raid.Repair, err error) {
	for len(at) > 0 {
		file, stripe := at[0].File, at[0].Stripe
		n := slices.IndexFunc(at, func(a raid.PartCursor) bool { return a.File != file || a.Stripe != stripe })
		if n < 0 {
			n = len(at)
		}
		parts, err := c.stripeOf(r, at[0])
		if err != nil {
			return nil, err
		}
		for _, p := range parts {
			if slices.ContainsFunc(at[:n], func(a raid.PartCursor) bool { return a.Part == p.Number }) {
				out = append(out, raid.Repair{File: file, Part: p})
			}
		}
		at = at[n:]
	}
	return out, nil
}

// CountOn is PartsOn that only counts: good copies on the nodes, and their bytes.
func (c *Catalog) CountOn(ctx context.Context, nodes []raid.NodeID, after raid.PartCursor, rows int) (copies, bytes int64, next raid.PartCursor, more bool, err error) {
	keys := c.keySet(nodes)
	if keys == "" {
		return 0, 0, after, false, c.writer.check()
	}
	err = c.read(ctx, "count copies on nodes", func(r *conn) error {
		end, err := partsPage(r, after, rows)
		if err != nil {
			return err
		}
		next, more = end, int64(end.File) != beyond.File
		return r.query(func(row []driver.Value) error {
			copies, bytes = integer(row[0]), integer(row[1])
			return nil
		}, `SELECT count(*), ifnull(sum((SELECT length FROM part p WHERE p.file = c.file AND p.stripe = c.stripe AND p.part = c.part)), 0)
			FROM chunk c WHERE (file, stripe, part) > (?, ?, ?) AND (file, stripe, part) <= (?, ?, ?)
			AND flaw <> 1 AND instr(?, '.' || node || '.') > 0 AND EXISTS (SELECT 1 FROM upload u WHERE u.id = c.file AND u.state IN (1, 2))`,
			int64(after.File), after.Stripe, int64(after.Part), int64(end.File), end.Stripe, int64(end.Part), keys)
	})
	if err != nil {
		return 0, 0, after, true, fmt.Errorf("count copies on nodes: %w", err)
	}
	return copies, bytes, next, more, nil
}

// MayHave reports whether some file may have a part with just so many good copies on
// nodes that are there. It looks at the rows of spread, and does no I/O.
func (c *Catalog) MayHave(copies int, there func(raid.NodeID) bool) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	v := view{there: make([]bool, len(c.state.nodes)+1)}
	for i, n := range c.state.nodes {
		v.there[i+1] = n.removed == staying && there(n.ID)
	}
	if c.state.meta.spreadTo != allCounted {
		return true
	}
	for places, row := range c.state.spread.files {
		if row.n == (rowCount{}) {
			continue
		}
		r, _ := parsePlaces(places) // this program wrote it, or has read it at its start
		if r.kind != exactRow {
			return true
		}
		for _, set := range r.sets {
			n := 0
			for _, k := range set {
				n += int(truth(v.has(k)))
			}
			if n == copies && n < len(set) {
				return true
			}
		}
	}
	return false
}
