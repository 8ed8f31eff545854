package catalog

import (
	"bytes"
	"cmp"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/raidpi/raidpi/internal/raid"
)

// past is the memory of the lock's file for the next start: a commit number that a
// catalog in this folder has made. A catalog that does not know it lacks what came
// before it, too. It is written when the catalog is opened, after that commit is durable.
type past struct {
	array  raid.ArrayID
	commit uint64
	why    string // the catalog may not know it; "": there is no reason yet
}

// pastSize is of what the lock's file holds, in bytes.
const pastSize = 4096

// readPast reads what the lock's file says; nothing, when that is not whole.
func readPast(lock *os.File) (p past) {
	b, err := io.ReadAll(io.NewSectionReader(lock, 0, pastSize))
	if err != nil {
		return past{}
	}
	lines := strings.Split(string(b), "\n")
	if len(lines) < 4 {
		return past{}
	}
	if _, err := fmt.Sscanf(lines[0]+" "+lines[1], "array %s commit %d", &p.array, &p.commit); err != nil {
		return past{}
	}
	p.why = strings.TrimPrefix(lines[2], "why ")
	if !strings.HasPrefix(string(b), p.text()) {
		return past{} // one rotten byte must not stop an array
	}
	return p
}

// text is the beginning of the lock's file.
func (p past) text() string {
	text := fmt.Sprintf("array %s\ncommit %d\nwhy %.2000s\n", p.array, p.commit, p.why)
	return fmt.Sprintf("%send %08x\n", text, crc32.Checksum([]byte(text), castagnoli))
}

// write makes p what the next start reads, durably. Cut off or rotten, it says nothing.
func (p past) write(lock *os.File) error {
	text := make([]byte, pastSize) // always as long: it takes no more room on a full disk
	n := copy(text, p.text())
	for i := n; i < len(text); i++ {
		text[i] = '\n'
	}
	if _, err := lock.WriteAt(text, 0); err != nil {
		return err
	}
	return lock.Sync()
}

// checkLog looks at the log before SQLite does, which would drop what is behind a bad
// frame without a word. A log that is damaged is kept beside the catalog, and what the
// catalog lacks because of that is noted, before anything is changed.
func (c *Catalog) checkLog(query url.Values) error {
	if err := c.checkLogFits(query); err != nil {
		return err
	}
	what, err := logDamage(c.path)
	if err != nil || what == "" {
		return err
	}
	c.log.Error("the catalog's log is damaged: what was committed from there on is lost", "log", c.path+"-wal", "at", what)
	readOnly := url.Values{"mode": {"ro"}, "vfs": {query.Get("vfs")}}
	conn, err := openConn(c.path, readOnly)
	if err != nil {
		return err
	}
	defer func() { _ = conn.close() }() // it was only read
	var p past
	err = conn.query(func(r []driver.Value) error {
		p = past{array: raid.ArrayID(text(r[0])), commit: uint64(integer(r[1])) + 1}
		return nil
	}, "SELECT array_id, commit_number FROM meta")
	if err != nil || p.commit == 0 {
		return fmt.Errorf("%w: its log is damaged at %s, and without what is behind that it can't be read: %w", raid.ErrCorrupt, what, cmp.Or(err, raid.ErrNotFound))
	}
	kept, err := keepLog(c.path)
	if err != nil {
		return fmt.Errorf("keep the damaged log: %w", err)
	}
	if before := readPast(c.lock); before.array == p.array {
		p.commit = max(p.commit, before.commit)
	}
	p.why = fmt.Sprintf("Its log is damaged at %s; what was committed from there on is lost. The log is kept as %s.", what, kept)
	return p.write(c.lock)
}

// keepLog copies the log of the database at path beside it, durably.
func keepLog(path string) (kept string, err error) {
	from, err := os.Open(path + "-wal")
	if err != nil {
		return "", err
	}
	defer from.Close()
	var to *os.File
	for n := 1; to == nil; n++ {
		kept = fmt.Sprintf("%s-wal.damaged%d", path, n)
		if same, err := sameBytes(from, kept); err != nil || same {
			return kept, err // of a start that came no further
		}
		if to, err = os.OpenFile(kept, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	_, err = io.Copy(to, io.NewSectionReader(from, 0, math.MaxInt64))
	err = errors.Join(err, fsync(to), to.Close())
	if err != nil {
		_ = os.Remove(kept)
		return "", err
	}
	return kept, syncFolder(filepath.Dir(path))
}

// sameBytes tells whether a file is there that has the bytes of another one.
func sameBytes(a *os.File, path string) (bool, error) {
	b, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer b.Close()
	var x, y [64 << 10]byte
	for at := int64(0); ; {
		n, aerr := a.ReadAt(x[:], at)
		m, berr := b.ReadAt(y[:], at)
		switch {
		case n != m || !bytes.Equal(x[:n], y[:m]):
			return false, nil
		case errors.Is(aerr, io.EOF) && errors.Is(berr, io.EOF):
			return true, nil
		case aerr != nil || berr != nil:
			return false, cmp.Or(aerr, berr)
		}
		at += int64(n)
	}
}

// recall compares the catalog with what the lock's file remembers of its past, and has
// it remember this start.
func (c *Catalog) recall() {
	p := readPast(c.lock)
	if p.array == c.array && !c.Knows(p.commit) {
		c.health.behind(p)
		return
	}
	if err := (past{array: c.array, commit: c.Commit()}).write(c.lock); err != nil {
		c.log.Warn("the next start will not notice by itself if this catalog is an older one then", "error", err)
	}
}

// behind notes that the catalog lacks what was committed in its folder.
func (h *health) behind(p past) {
	why := p.why
	if why == "" {
		why = "It was put back from a backup, or its log, catalog.db-wal, is missing."
	}
	err := fmt.Errorf("%w: commit %d was made in this state directory, and this catalog does not have it. %s "+
		"Nothing is stored or removed until raid-controller is stopped, the newest catalog, with its log, is put into its state directory, and it is started again. "+
		"If there is none, what was stored and deleted since can be given up: sudo -u raid-controller raid-controller --give-up-commit %d. Read %s (When an older catalog was started) first",
		raid.ErrCatalogBehind, p.commit, why, p.commit, manual)
	h.older.Store(&err)
	h.log.Error("the catalog lacks what was committed before: uploads and deletes stop", "commit", p.commit, "reason", why)
}
