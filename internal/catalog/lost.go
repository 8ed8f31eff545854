package catalog

import (
	"context"
	"database/sql/driver"
	"iter"
	"math"

	"github.com/raidpi/raidpi/internal/raid"
)

// flawedPage bounds the flawed copies that are looked at in one read; a variable for tests.
var flawedPage = 2000

// filesWithoutCopy lists as Files does, of files alone of which some part has no good
// copy on any node. It reads flawed copies alone, and those in pages.
func (c *Catalog) filesWithoutCopy(ctx context.Context, q raid.FileQuery) iter.Seq2[raid.File, error] {
	return func(yield func(raid.File, error) bool) {
		wanted := searchFor(q.Filename)
		at := raid.PartCursor{File: q.After, Stripe: math.MaxInt64}
		for n, more := 0, true; more; {
			var f raid.File
			var found bool
			err := c.read(ctx, "look for lost files", func(r *conn) (err error) {
				f, found, at, more, err = nextLost(r, at)
				return err
			})
			switch {
			case err != nil:
				yield(raid.File{}, err)
				return
			case !found || !wanted(f.Filename):
				continue
			case !yield(f, nil):
				return
			}
			if n++; n == q.Limit {
				return
			}
		}
	}
}

// nextLost looks at a page of flawed copies after a part. It ends at the first file that
// has lost a part; the next page begins after that file.
func nextLost(r *conn, after raid.PartCursor) (f raid.File, found bool, next raid.PartCursor, more bool, err error) {
	next = after
	seen := 0
	err = r.query(func(row []driver.Value) error {
		seen++
		next = raid.PartCursor{File: raid.FileID(integer(row[0])), Stripe: integer(row[1]), Part: int(integer(row[2]))}
		if found = integer(row[3]) == 0; found {
			return errPageFull
		}
		return nil
	}, `SELECT c.file, c.stripe, c.part, EXISTS (SELECT 1 FROM chunk g WHERE g.file = c.file AND g.stripe = c.stripe AND g.part = c.part AND g.flaw <> 1)
		FROM chunk c INDEXED BY chunk_flawed WHERE c.flaw > 0 AND (c.file, c.stripe, c.part) > (?, ?, ?)
		ORDER BY c.file, c.stripe, c.part LIMIT +?`, int64(after.File), after.Stripe, int64(after.Part), int64(flawedPage))
	if !found {
		return f, false, next, seen == flawedPage, err
	}
	next.Stripe = math.MaxInt64
	f, err = findFile(r, int64(next.File))
	if isGone(err) { // it is being deleted
		return f, false, next, true, nil
	}
	return f, true, next, true, err
}
