package catalog

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

// A surplus copy may be the last good one of its part: the others, for which it was given
// up, went bad. Then the part rests on it, in all that is said of files and nodes, until
// it has been read and counts again.

// spareWork is the part of a WHERE that leaves out surplus copies, s, of which nothing can be decided.
// They are bad, and their part lacks good copies.
const spareWork = `(s.bad = 0 OR NOT EXISTS
	(SELECT 1 FROM chunk f WHERE f.file = s.file AND f.stripe = s.stripe AND f.part = s.part AND f.flaw > 0))`

// noGoodCopy is the part of a WHERE that says of a surplus copy, s, that its part has no
// good copy beside.
const noGoodCopy = `NOT EXISTS (SELECT 1 FROM chunk o WHERE o.file = s.file AND o.stripe = s.stripe AND o.part = s.part AND o.flaw <> 1)`

// sparedSets puts parts of a file that have no good copy on the nodes of their surplus ones.
func (t *tx) sparedSets(id int64, sets map[string]int64) error {
	var failed error
	err := t.conn.query(func(r []driver.Value) error {
		keys, err := parseSet(text(r[0]))
		if err != nil {
			failed = err
			return nil
		}
		sets[writeSet(keys)]++
		if sets[noCopy]--; sets[noCopy] <= 0 {
			delete(sets, noCopy)
		}
		return nil
	}, "SELECT group_concat(s.node, '.') FROM surplus s WHERE s.file = ? AND s.bad = 0 AND "+noGoodCopy+" GROUP BY s.stripe, s.part", id)
	if err == nil {
		err = failed
	}
	return err
}

// sparedOn are the nodes of the surplus copies of a part.
func (t *tx) sparedOn(id, stripe, part int64) (keys []int64, err error) {
	err = t.conn.query(func(r []driver.Value) error {
		keys = append(keys, integer(r[0]))
		return nil
	}, "SELECT node FROM surplus WHERE file = ? AND stripe = ? AND part = ? AND bad = 0", id, stripe, part)
	return keys, err
}

// forgetSurplus forgets a surplus copy, on which its part may rest.
func (t *tx) forgetSurplus(id, stripe, part, attempt int64) error {
	return t.movingCopy(id, stripe, part, func() error {
		_, err := t.exec("DELETE FROM surplus WHERE file = ? AND stripe = ? AND part = ? AND attempt = ?", id, stripe, part, attempt)
		return err
	})
}

// dropSurplus forgets up to limit surplus copies on a node, and returns how many.
func (t *tx) dropSurplus(node, limit int64) (dropped int64, err error) {
	type spare struct{ file, stripe, part, attempt int64 }
	var last []spare // on which parts rest
	err = t.conn.query(func(r []driver.Value) error {
		last = append(last, spare{integer(r[0]), integer(r[1]), integer(r[2]), integer(r[3])})
		return nil
	}, `SELECT s.file, s.stripe, s.part, s.attempt FROM surplus s WHERE (s.file, s.stripe, s.part, s.attempt) IN
		(SELECT file, stripe, part, attempt FROM surplus INDEXED BY surplus_on WHERE node = ? ORDER BY file, stripe, part, attempt LIMIT +?)
		AND `+noGoodCopy, node, limit)
	if err != nil {
		return 0, err
	}
	for _, s := range last {
		if err := t.forgetSurplus(s.file, s.stripe, s.part, s.attempt); err != nil {
			return 0, err
		}
	}
	n, err := t.exec(`DELETE FROM surplus WHERE (file, stripe, part, attempt) IN
		(SELECT file, stripe, part, attempt FROM surplus INDEXED BY surplus_on WHERE node = ? ORDER BY file, stripe, part, attempt LIMIT +?)`,
		node, limit-int64(len(last)))
	return n + int64(len(last)), err
}

// sparedBy counts files at most, up to some, that a surplus copy on a node may be needed
// for: none but those that can't be read from elsewhere.
func (t *tx) sparedBy(node, most int64) (n int64, err error) {
	if most == 0 {
		return 0, nil
	}
	n, _, err = t.conn.queryInt("SELECT count(*) FROM (SELECT 1 FROM surplus INDEXED BY surplus_on WHERE node = ? AND bad = 0 LIMIT +?)", node, most)
	return n, err
}

// isSpare finds a surplus copy of a file, also of one in the trash.
const isSpare = `SELECT 1 FROM upload u JOIN surplus s ON s.file = u.id
	WHERE u.upload_id = ? AND u.state IN (1, 2) AND s.stripe = ? AND s.part = ? AND s.attempt = ? AND s.node = ?`

// SurplusBad notes, durably, that a surplus copy is missing or corrupt. While its part lacks
// good copies it stays where it is, and is not among Surpluses. One that is not there any
// more is no error.
func (c *Catalog) SurplusBad(ctx context.Context, s raid.Surplus) error {
	id, p := int64(s.File), &s.Part
	name := fmt.Sprintf("mark a surplus copy of file %d stripe %d part %d bad", s.File, p.Stripe, p.Number)
	return c.write(ctx, &op{name: name, rows: 2, files: true, run: func(t *tx) error {
		return t.movingCopy(id, p.Stripe, int64(p.Number), func() error {
			_, err := t.exec("UPDATE surplus SET bad = 1 WHERE file = ? AND stripe = ? AND part = ? AND attempt = ? AND node = ? AND bad = 0",
				id, p.Stripe, int64(p.Number), int64(s.Copy.Attempt), t.findNode(s.Copy.Node))
			return err
		})
	}})
}
