package catalog

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"math"
	"slices"

	"github.com/raidpi/raidpi/internal/raid"
)

// EachHeld calls see for the copies on some nodes that count as good, of the parts after
// the cursor and in their order. It looks at some more than so many copies, which lie one
// after the other on the disk. more is false when it was at the end. See is called with a
// value that it may not keep.
//
// Gone is not told, and what comes or goes meanwhile may or may not be among them.
func (c *Catalog) EachHeld(ctx context.Context, nodes []raid.NodeID, after raid.PartCursor, copies int, see func(*raid.Held)) (next raid.PartCursor, more bool, err error) {
	wanted := c.keysOf(nodes)
	next = after
	err = c.read(ctx, "look at what nodes should hold", func(r *conn) error {
		var found []raid.Held
		var before raid.PartCursor // the part before the last one
		whole, seen := 0, 0        // copies in found before the last part, and rows
		err := r.query(func(row []driver.Value) error {
			seen++
			if now := (raid.PartCursor{File: raid.FileID(integer(row[0])), Stripe: integer(row[1]), Part: int(integer(row[2]))}); now != next {
				before, next, whole = next, now, len(found)
			}
			node, on := wanted[integer(row[7])]
			if !on || integer(row[8]) == copyBad {
				return nil
			}
			found = append(found, raid.Held{
				Node: node, File: next.File, Stripe: next.Stripe, Part: next.Part, Length: integer(row[3]), CRC: uint32(integer(row[4])),
				Index: int(integer(row[5])), Attempt: int(integer(row[6])),
			})
			return nil
		}, `SELECT p.file, p.stripe, p.part, p.length, p.crc, c.copy, c.attempt, c.node, c.flaw
			FROM part p CROSS JOIN chunk c ON c.file = p.file AND c.stripe = p.stripe AND c.part = p.part
			WHERE (p.file, p.stripe, p.part) > (?, ?, ?) ORDER BY p.file, p.stripe, p.part LIMIT +?`,
			int64(after.File), after.Stripe, int64(after.Part), int64(copies+copiesAtMost))
		if more = seen == copies+copiesAtMost; more { // the last part may not be whole
			next, found = before, found[:whole]
		}
		if err != nil || len(found) == 0 {
			return err
		}
		return withUploads(r, found, see)
	})
	return next, more, err
}

// withUploads calls see for copies, in order of their files, once their uploads are
// known. Those of files that went meanwhile are left out.
func withUploads(r *conn, found []raid.Held, see func(*raid.Held)) error {
	i := 0
	return r.query(func(row []driver.Value) error {
		id, upload := raid.FileID(integer(row[0])), text(row[1])
		for ; i < len(found) && found[i].File < id; i++ {
		}
		for ; i < len(found) && found[i].File == id; i++ {
			found[i].Upload = upload
			see(&found[i])
		}
		return nil
	}, "SELECT id, upload_id FROM upload NOT INDEXED WHERE id >= ? AND id <= ? ORDER BY id", int64(found[0].File), int64(found[len(found)-1].File))
}

func (c *Catalog) keysOf(nodes []raid.NodeID) map[int64]raid.NodeID {
	c.mu.RLock()
	defer c.mu.RUnlock()
	keys := map[int64]raid.NodeID{}
	for _, id := range nodes {
		if key := c.state.byID[id]; key > 0 {
			keys[key] = id
		}
	}
	return keys
}

// heldUploads bounds the uploads that one HeldOn looks at: most have nothing on the node
// where there are many nodes.
const heldUploads = 500

// HeldOn returns copies on a node, good and bad, in the order of their chunks' names,
// after the cursor and before uploads that begin with to (empty: to the end). They may be
// some more than limit, which is at least 1, or none although there are more.
func (c *Catalog) HeldOn(ctx context.Context, node raid.NodeID, after raid.HeldCursor, to string, limit int) (held []raid.Held, next raid.HeldCursor, more bool, err error) {
	next = after
	key := int64(0)
	for k := range c.keysOf([]raid.NodeID{node}) {
		key = k
	}
	if key == 0 {
		return nil, next, false, nil
	}
	err = c.read(ctx, fmt.Sprintf("look at what node %s should hold", node), func(r *conn) error {
		uploads, err := uploadsFrom(r, after.Upload, to)
		for i, u := range uploads {
			if err != nil || len(held) >= limit {
				more = true
				break
			}
			from := raid.HeldCursor{Upload: u.upload}
			if u.upload == after.Upload {
				from = after
			}
			var some []raid.Held
			some, more, err = heldOf(r, u, key, from, limit-len(held))
			for j := range some {
				some[j].Node = node
			}
			held = append(held, some...)
			if more {
				last := held[len(held)-1]
				next = raid.HeldCursor{Upload: u.upload, Stripe: last.Stripe + 1, Part: last.Part}
				break
			}
			next = raid.HeldCursor{Upload: u.upload, Stripe: math.MaxInt64, Part: 0}
			more = i == heldUploads-1
		}
		return err
	})
	return held, next, more, err
}

// uploadRow is a row of the index of upload ids.
type uploadRow struct {
	id     int64
	upload string
}

func uploadsFrom(r *conn, from, to string) (out []uploadRow, err error) {
	err = r.query(func(row []driver.Value) error {
		out = append(out, uploadRow{integer(row[0]), text(row[1])})
		return nil
	}, "SELECT id, upload_id FROM upload INDEXED BY sqlite_autoindex_upload_1 WHERE upload_id >= ? AND upload_id < ? ORDER BY upload_id LIMIT +?",
		from, cmp.Or(to, "~"), int64(heldUploads)) // ~ comes after all digits
	return out, err
}

// copiesAtMost is more than a part has on one node.
const copiesAtMost = 64

// heldOf returns an upload's copies on a node after a cursor, about limit. When there are
// more, the last part is whole.
func heldOf(r *conn, u uploadRow, node int64, after raid.HeldCursor, limit int) (out []raid.Held, more bool, err error) {
	err = r.query(func(row []driver.Value) error {
		out = append(out, raid.Held{
			File: raid.FileID(u.id), Upload: u.upload, Stripe: integer(row[0]), Part: int(integer(row[1])), Index: int(integer(row[2])),
			Attempt: int(integer(row[3])), Bad: integer(row[4]) == copyBad, Length: integer(row[5]), CRC: uint32(integer(row[6])),
		})
		return nil
	}, `SELECT c.stripe, c.part, c.copy, c.attempt, c.flaw, p.length, p.crc
		FROM chunk c NOT INDEXED CROSS JOIN part p ON p.file = c.file AND p.stripe = c.stripe AND p.part = c.part
		WHERE c.file = ? AND (c.stripe, c.part) > (?, ?) AND c.node = ? ORDER BY c.stripe, c.part, c.copy LIMIT +?`,
		u.id, after.Stripe-1, int64(after.Part), node, int64(limit+copiesAtMost))
	if err != nil || len(out) == 0 {
		return nil, false, err
	}
	if len(out) == limit+copiesAtMost {
		last := out[len(out)-1]
		more = true
		out = slices.DeleteFunc(out, func(h raid.Held) bool { return h.Stripe == last.Stripe && h.Part == last.Part })
	}
	slices.SortStableFunc(out, func(a, b raid.Held) int {
		return cmp.Or(cmp.Compare(a.Stripe, b.Stripe), cmp.Compare(a.Part, b.Part), cmp.Compare(a.Attempt, b.Attempt))
	})
	state, there, err := r.queryInt("SELECT state FROM upload WHERE id = ?", u.id)
	if err != nil || !there {
		return nil, false, err
	}
	for i := range out {
		out[i].Gone = state == going
	}
	return out, more, nil
}
