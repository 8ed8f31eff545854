package catalog

import (
	"bytes"
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"net/url"

	"github.com/raidpi/raidpi/internal/raid"
)

// standing holds how far a catalog is, from its row of meta.
type standing struct {
	array  string
	run    uint32
	commit uint64
}

// follows tells whether a transaction that left next can have come right after s.
func (s standing) follows(next standing) bool {
	if next.array != s.array {
		return false
	}
	return next.commit == s.commit+1 || next.commit&lastCount == 1 && next.commit>>(countBits+tagBits) == uint64(s.run)+1
}

// checkLogFits refuses a log that is not this database's: somebody has put the database
// back and left the log of the one before beside it. SQLite would write its pages into
// it, and the two of them are no catalog.
func (c *Catalog) checkLogFits(query url.Values) error {
	alone, root, ok := c.withoutLog(query)
	if !ok {
		return nil // there is none yet, or it is damaged: others tell
	}
	l, end, err := openLog(c.path)
	if err != nil || l == nil {
		return err
	}
	defer end()
	if !l.headerGood() {
		return nil
	}
	first, last, fits, err := l.standings(root, alone)
	if err == nil && !fits && last.array == alone.array && last.commit < alone.commit {
		return fmt.Errorf("%w: %w: the log %s-wal ends at commit %d, as it is damaged behind that or an older one, and %[3]s is at commit %[5]d already: older pages would be put over newer ones. Nothing was changed. "+
			"Set the log aside: sudo mv %[6]s %[6]s.aside; then start raid-controller again. %[7]s (A log that lost something) says more",
			ErrRefused, raid.ErrCorrupt, c.path, last.commit, alone.commit, shellWord(c.path+"-wal"), manual)
	}
	if err != nil || fits {
		return err
	}
	return fmt.Errorf("%w: %w: the log %s-wal belongs to another catalog: it goes on at commit %d of array %s, and %s ends at commit %d of array %s. Nothing was changed. "+
		"If %[3]s was put back from a backup, set the log aside: sudo mv %[9]s %[9]s.aside; then start raid-controller again. Else put the catalog back that the log belongs to",
		ErrRefused, raid.ErrInvalid, c.path, first.commit, first.array, c.path, alone.commit, alone.array, shellWord(c.path+"-wal"))
}

// withoutLog reads how far the database is when its log is left out, and on which page
// that stands.
func (c *Catalog) withoutLog(query url.Values) (s standing, root uint32, ok bool) {
	conn, err := openConn(c.path, url.Values{"mode": {"ro"}, "immutable": {"1"}, "vfs": {query.Get("vfs")}})
	if err != nil {
		return s, 0, false
	}
	defer func() { _ = conn.close() }() // it was only read
	err = conn.query(func(r []driver.Value) error {
		s = standing{text(r[0]), uint32(integer(r[1])), uint64(integer(r[2]))}
		root = uint32(integer(r[3]))
		return nil
	}, "SELECT array_id, run, commit_number, (SELECT rootpage FROM sqlite_schema WHERE name = 'meta') FROM meta")
	return s, root, err == nil && root > 0 && s.commit > 0
}

// standings looks through the transactions of a log for one that the database can be at,
// alone, and for the first and the last one. A log that says nothing of that fits.
func (l *logReader) standings(root uint32, alone standing) (first, last standing, fits bool, err error) {
	var f frame
	var page [pageSize]byte
	seen, changed := false, false
	from := sumAt(l.big, l.header[24:])
	for n := range l.frames {
		if err := l.read(n, &f); err != nil {
			return first, last, false, err
		}
		if sum := f.after(from); sum != sumAt(l.big, f.head[16:]) || !bytes.Equal(f.salts(), l.header[16:24]) {
			break
		}
		from = sumAt(l.big, f.head[16:])
		if f.number() == root {
			page, changed = f.page, true
		}
		if !f.commits() || !changed {
			continue
		}
		changed = false
		s, ok := standingOf(page[:])
		if !ok {
			return first, alone, true, nil
		}
		if !seen {
			first, seen = s, true
		}
		fits = fits || s == alone || s == first && alone.follows(s)
		last = s
	}
	if !seen {
		return first, alone, true, nil
	}
	return first, last, fits, nil
}

// standingOf reads the row of meta from its page, which is a leaf of one row (SQLite's
// file format, 1.6 and 2.1).
func standingOf(page []byte) (s standing, ok bool) {
	if page[0] != 13 || binary.BigEndian.Uint16(page[3:]) != 1 {
		return s, false
	}
	at := int(binary.BigEndian.Uint16(page[8:]))
	if at < 11 || at >= sealAt {
		return s, false
	}
	r := record{b: page[at:sealAt]}
	r.number() // of bytes
	r.number() // the row's
	body := r
	size := int(body.number())
	if size > len(r.b) {
		return s, false
	}
	values := record{b: r.b[size:]}
	var columns [4]any
	for i := range columns {
		columns[i] = values.value(body.number())
	}
	array, isText := columns[1].(string)
	run, isRun := columns[2].(int64)
	commit, isCommit := columns[3].(int64)
	return standing{array, uint32(run), uint64(commit)}, isText && isRun && isCommit && !r.short && !body.short && !values.short
}

// record reads the bytes of a row.
type record struct {
	b     []byte
	short bool
}

func (r *record) take(n int) []byte {
	if n > len(r.b) {
		r.short = true
		return make([]byte, n)
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// number reads a number of one to nine bytes, most significant first, of which each but
// the ninth has seven bits.
func (r *record) number() (v uint64) {
	for range 8 {
		b := r.take(1)[0]
		v = v<<7 | uint64(b&0x7f)
		if b < 0x80 {
			return v
		}
	}
	return v<<8 | uint64(r.take(1)[0])
}

// value reads a value of a type; of those that meta does not have it returns nil.
func (r *record) value(kind uint64) any {
	switch sizes := [...]int{0, 1, 2, 3, 4, 6, 8}; {
	case kind == 0:
		return nil
	case kind < uint64(len(sizes)):
		v := int64(0)
		for i, b := range r.take(sizes[kind]) {
			if i == 0 {
				v = int64(int8(b))
				continue
			}
			v = v<<8 | int64(b)
		}
		return v
	case kind == 8, kind == 9:
		return int64(kind - 8)
	case kind >= 13 && kind%2 == 1 && kind < 13+2*pageSize:
		return string(r.take(int(kind-13) / 2))
	}
	r.short = true
	return nil
}
