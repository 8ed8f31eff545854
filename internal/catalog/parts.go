package catalog

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"

	"github.com/raidpi/raidpi/internal/raid"
)

// The values of chunk.flaw.
const (
	copyOK        = 0
	copyBad       = 1
	copyColocated = 2
)

// All have an index of their own. anyWithout finds a part without a good copy.
const (
	anyWithout = `SELECT 1 FROM chunk c WHERE c.file = ? AND c.flaw > 0 AND NOT EXISTS
		(SELECT 1 FROM chunk o WHERE o.file = c.file AND o.stripe = c.stripe AND o.part = c.part AND o.flaw <> 1) LIMIT 1`
	anyFlaw = "SELECT 1 FROM chunk WHERE file = ? AND flaw > 0 LIMIT 1"
	// isFlawed is anyFlaw of the row of upload that a statement is at.
	isFlawed = "EXISTS (SELECT 1 FROM chunk WHERE file = upload.id AND flaw > 0)"
	anyLab   = "SELECT 1 FROM chunk WHERE file = ? AND node IS NULL LIMIT 1"
)

// flaws says what is wrong with each of a part's copies: bad ones, and good ones
// on a native node that holds another good copy before it.
func flaws(copies []raid.Copy) []int64 {
	out := make([]int64, len(copies))
	for i, c := range copies {
		switch {
		case c.Bad:
			out[i] = copyBad
		case c.Node.IsNative() && slices.ContainsFunc(copies[:i], func(o raid.Copy) bool { return !o.Bad && o.Node == c.Node }):
			out[i] = copyColocated
		}
	}
	return out
}

// rowsOf is about how many rows parts are.
func rowsOf(parts []raid.Part) int {
	n := 1
	for i := range parts {
		n += 1 + len(parts[i].Copies)
	}
	return n
}

// checkParts refuses what no chunk could be named after.
func checkParts(parts []raid.Part) error {
	for i := range parts {
		p := &parts[i]
		if p.Stripe < 0 || p.Stripe > raid.MaxStripe || p.Number < 1 || p.Number > raid.MaxPart || p.Length < 0 || len(p.Copies) == 0 {
			return fmt.Errorf("%w: stripe %d part %d, %d bytes, %d copies", raid.ErrInvalid, p.Stripe, p.Number, p.Length, len(p.Copies))
		}
		for _, c := range p.Copies {
			if c.Index < 1 || c.Attempt < 1 || c.Attempt > raid.MaxAttempt {
				return fmt.Errorf("%w: stripe %d part %d copy %d attempt %d", raid.ErrInvalid, p.Stripe, p.Number, c.Index, c.Attempt)
			}
		}
	}
	return nil
}

// checkFinish checks what it can before the writer's turn. It returns how many
// parts were appended before.
func (c *Catalog) checkFinish(ctx context.Context, fin *raid.FinishedUpload) (appended int64, err error) {
	f := &fin.File
	if f.ID < 1 || f.Size < 0 || f.Stripes < 1 || f.StripeSize < 1 {
		return 0, fmt.Errorf("%w: id %d, %d bytes, %d stripes of %d bytes", raid.ErrInvalid, f.ID, f.Size, f.Stripes, f.StripeSize)
	}
	if k := fin.Idempotency; k != nil && (k.Key == "" || len(k.Key) > 255) {
		return 0, fmt.Errorf("%w: an idempotency key has 1 to 255 bytes", raid.ErrInvalid)
	}
	if err := checkParts(fin.Parts); err != nil {
		return 0, err
	}
	if !fin.Begun {
		return 0, checkAll(f, fin.Parts)
	}
	// Counted here, a long upload does not keep the writer from others. Only its
	// own caller appends to it.
	err = c.read(ctx, "count parts", func(r *conn) (err error) {
		appended, _, err = r.queryInt("SELECT count(*) FROM part WHERE file = ?", int64(f.ID))
		return err
	})
	return appended, err
}

// checkAll checks that parts are all of f: as many of each stripe as of the last.
func checkAll(f *raid.File, parts []raid.Part) error {
	perStripe := 0
	for i := range parts {
		if parts[i].Stripe == f.Stripes-1 {
			perStripe++
		}
	}
	// The table's primary key keeps two from being the same.
	whole := perStripe > 0 && int64(len(parts)) == f.Stripes*int64(perStripe)
	for i := range parts {
		whole = whole && parts[i].Stripe < f.Stripes && parts[i].Number <= perStripe
	}
	if !whole {
		return fmt.Errorf("%w: %d parts are not all of %d stripes", raid.ErrInvalid, len(parts), f.Stripes)
	}
	return nil
}

// checkWhole is checkAll for an upload whose parts are in the database.
func (t *tx) checkWhole(f *raid.File, parts int64) error {
	var last, perStripe int64
	err := t.conn.query(func(r []driver.Value) error {
		last, perStripe = integer(r[0]), integer(r[1])
		return nil
	}, `SELECT stripe, (SELECT count(*) FROM part q WHERE q.file = p.file AND q.stripe = p.stripe)
		FROM part p WHERE file = ? ORDER BY stripe DESC, part DESC LIMIT 1`, int64(f.ID))
	if err != nil {
		return err
	}
	if perStripe == 0 || last != f.Stripes-1 || parts != perStripe*f.Stripes {
		return fmt.Errorf("%w: %d parts up to stripe %d are not all of %d stripes", raid.ErrInvalid, parts, last, f.Stripes)
	}
	return nil
}

// countParts counts those of parts that the database has.
func (t *tx) countParts(file int64, parts []raid.Part) (n int64, err error) {
	for i := range parts {
		_, ok, err := t.conn.queryInt("SELECT 1 FROM part WHERE file = ? AND stripe = ? AND part = ?",
			file, parts[i].Stripe, int64(parts[i].Number))
		if err != nil {
			return 0, err
		}
		n += truth(ok)
	}
	return n, nil
}

// rewriteParts writes parts over what the database has of them. Usually that is
// nothing, which one look at their range of stripes tells.
func (t *tx) rewriteParts(file int64, parts []raid.Part) error {
	if len(parts) == 0 {
		return nil
	}
	low, high := parts[0].Stripe, parts[0].Stripe
	for i := range parts {
		low, high = min(low, parts[i].Stripe), max(high, parts[i].Stripe)
	}
	_, known, err := t.conn.queryInt("SELECT 1 FROM part WHERE file = ? AND stripe >= ? AND stripe <= ? LIMIT 1", file, low, high)
	if err != nil {
		return err
	}
	for i := range parts {
		if !known {
			break
		}
		stripe, number := parts[i].Stripe, int64(parts[i].Number)
		n, err := t.exec("DELETE FROM part WHERE file = ? AND stripe = ? AND part = ?", file, stripe, number)
		if err != nil {
			return err
		}
		if n == 0 {
			continue
		}
		if _, err := t.exec("DELETE FROM chunk WHERE file = ? AND stripe = ? AND part = ?", file, stripe, number); err != nil {
			return err
		}
	}
	return t.insertParts(file, parts)
}

// insertParts writes parts that the database does not have.
func (t *tx) insertParts(file int64, parts []raid.Part) error {
	p, c := bulk{t: t, into: partRows}, bulk{t: t, into: chunkRows}
	for i := range parts {
		part := &parts[i]
		if err := p.add(file, part.Stripe, int64(part.Number), part.Length, int64(part.CRC)); err != nil {
			return err
		}
		fl := flaws(part.Copies)
		for j, cp := range part.Copies {
			node, err := t.nodeValue(cp.Node)
			if err != nil {
				return err
			}
			if err := c.add(file, part.Stripe, int64(part.Number), int64(cp.Index), int64(cp.Attempt), node, fl[j]); err != nil {
				return err
			}
		}
	}
	if err := p.flush(); err != nil {
		return err
	}
	return c.flush()
}

// nodeValue is a node's key as chunk.node holds it.
func (t *tx) nodeValue(id raid.NodeID) (any, error) {
	key, err := t.nodeKey(id)
	if err != nil || key == 0 {
		return nil, err
	}
	return key, nil
}

// rowSizes are the numbers of rows that bulk inserts at once, largest first. The
// driver's binding takes time by the square of the arguments; beyond 8 rows
// nothing is gained.
var rowSizes = [...]int{8, 4, 2, 1}

// rowsInto are the statements that insert rowSizes rows into one table.
type rowsInto struct {
	columns int
	sql     [len(rowSizes)]string
}

var (
	partRows  = newRowsInto("part (file, stripe, part, length, crc)", 5)
	chunkRows = newRowsInto("chunk (file, stripe, part, copy, attempt, node, flaw)", 7)
)

func newRowsInto(table string, columns int) *rowsInto {
	row := "(?" + strings.Repeat(", ?", columns-1) + ")"
	r := &rowsInto{columns: columns}
	for i, n := range rowSizes {
		r.sql[i] = "INSERT INTO " + table + " VALUES " + row + strings.Repeat(", "+row, n-1)
	}
	return r
}

// bulk inserts rows, several with each statement.
type bulk struct {
	t    *tx
	into *rowsInto
	args []any
}

func (b *bulk) add(row ...any) error {
	b.args = append(b.args, row...)
	if len(b.args) == rowSizes[0]*b.into.columns {
		return b.flush()
	}
	return nil
}

func (b *bulk) flush() error {
	rest := b.args
	for i, n := range rowSizes {
		for size := n * b.into.columns; len(rest) >= size; rest = rest[size:] {
			if _, err := b.t.exec(b.into.sql[i], rest[:size]...); err != nil {
				return err
			}
		}
	}
	b.args = b.args[:0]
	return nil
}
