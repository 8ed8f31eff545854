package catalog

import (
	"cmp"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/raidpi/raidpi/internal/raid"
)

// ErrRefused is wrapped by those errors of Open that trying again can't heal: a
// person has to decide. With it comes raid.ErrUnsupported for a catalog of a
// newer version, raid.ErrCorrupt for one that is damaged, and raid.ErrInvalid for
// what is no catalog.
var ErrRefused = errors.New("catalog refused")

// examine looks at a catalog before anything is written to it, and refuses one
// that this version must not touch. What it can't find out is left to those who
// open it for writing.
func (c *Catalog) examine(query url.Values, busy string, known int) error {
	st, err := os.Stat(c.path)
	if err != nil {
		return err
	}
	if st.Size() == 0 { // a new one, unless it has a log: SQLite would throw that away
		if log, err := os.Stat(c.path + "-wal"); err == nil && log.Size() > 0 {
			return fmt.Errorf("it is empty, and has a log: %w", raid.ErrCorrupt)
		}
		return nil
	}
	readOnly := url.Values{"mode": {"ro"}}
	for k, v := range query {
		readOnly[k] = v
	}
	conn, err := openConn(c.path, readOnly, busy)
	if err != nil {
		return onlyRefusals(err)
	}
	defer func() { _ = conn.close() }() // it was only read
	version, err := schemaVersion(conn)
	if err != nil {
		return onlyRefusals(err)
	}
	if version > int64(known) {
		return newer(c.path, version, known)
	}
	return onlyRefusals(readSmallTables(conn))
}

// readSmallTables reads what the start reads, so that damage in it is found
// before a schema or a run number changes.
func readSmallTables(c *conn) error {
	var tables []string
	err := c.query(func(r []driver.Value) error { tables = append(tables, text(r[0])); return nil },
		"SELECT name FROM sqlite_schema WHERE type = 'table' AND name IN ('meta', 'epoch', 'node', 'access_token', 'join_use')")
	if err != nil {
		return err
	}
	for _, t := range tables {
		if err := c.query(func([]driver.Value) error { return nil }, "SELECT * FROM "+t); err != nil {
			return fmt.Errorf("read table %s: %w", t, err)
		}
	}
	return nil
}

// onlyRefusals leaves out what may have another reason than the catalog itself,
// such as a log that only a writer can put right.
func onlyRefusals(err error) error {
	if damaged(err) || errors.Is(err, ErrRefused) {
		return err
	}
	return nil
}

// damaged tells errors that say that the database's bytes are not what was
// written. A disk that can't be read is not meant: it may be read again.
func damaged(err error) bool {
	code := primaryCode(err)
	return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB || errors.Is(err, raid.ErrCorrupt)
}

// newer refuses a catalog that a newer version has written, and tells both ways
// on.
func newer(path string, version int64, known int) error {
	b, holds, ok := usable(path, known)
	advice := "No copy that this version can open lies beside it"
	if ok {
		advice = fmt.Sprintf("To go back instead, to the copy that the upgrade made, %s (%s): %s. What was stored, deleted or decided since then "+
			"is not in the copy, and nodes that have seen later commits are refused until you give those up, as /usr/share/doc/raid-controller/catalog.md tells (Going back)",
			b.path, holds, swap(path, b.path))
	}
	return fmt.Errorf("%w: %w: its schema is version %d and this raid-controller knows up to %d; install the newer raid-controller again, "+
		"then nothing is lost. %s. Nothing was changed", ErrRefused, raid.ErrUnsupported, version, known, advice)
}

// refuseStep refuses what a step of the schema fails with for good: every try would
// write its log to the card again.
func refuseStep(path string, err error) error {
	switch primaryCode(err) {
	case sqlite3.SQLITE_FULL:
		// Room may come back by itself, and what was copied is not copied again.
		return fmt.Errorf("%w: the disk of %s filled up while the schema was changed, which is undone. The next start tries again; free some, see df -h, "+
			"or install the version that ran before", raid.ErrNoSpace, filepath.Dir(path))
	case sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE, sqlite3.SQLITE_TOOBIG:
		return fmt.Errorf("%w: this catalog's schema can't be changed to what this version needs: %w. The change is undone and nothing is lost. "+
			"Install the version that ran before, and report this", ErrRefused, err)
	}
	return err
}

// refuseDamaged tells what can be done when the catalog is damaged.
func refuseDamaged(path string, known int, err error) error {
	advice := "No copy that an upgrade made lies beside it; put a backup of yours in its place"
	if b, holds, ok := usable(path, known); ok {
		advice = fmt.Sprintf("A backup of yours, if you have a newer one, or the copy that an upgrade made, %s (%s), can take its place: %s",
			b.path, holds, swap(path, b.path))
	}
	why := err
	if !errors.Is(err, raid.ErrCorrupt) {
		why = fmt.Errorf("%w: %w", raid.ErrCorrupt, err)
	}
	return fmt.Errorf("%w: %w: the file %s is damaged or is no catalog. It was left as it is, and so were the chunks on the nodes. %s. "+
		"What was stored after a backup is not in it, see /usr/share/doc/raid-controller/catalog.md (A damaged catalog)", ErrRefused, why, path, advice)
}

// Gone tells whether there is no catalog at path: its file is missing or empty.
// With a log beside it it is damaged, which Open tells.
func Gone(path string) bool {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && st.Size() == 0 {
		log, err := os.Stat(path + "-wal")
		return err != nil || log.Size() == 0
	}
	return false
}

// RefuseGone is the error for a catalog that must have been at path, since keys of
// its array are in the folder. Open would begin a new array, to which all nodes and
// their chunks are strangers.
func RefuseGone(path, keys string) error {
	found, _ := backups(path) // they are only good advice
	var whole []string
	best := ""
	for _, b := range found {
		if holds, err := b.holds(); err == nil {
			whole = append(whole, b.path+" ("+holds+")")
			best = cmp.Or(best, b.path)
		}
	}
	copies := "No copy that an upgrade made lies beside it"
	if best != "" {
		copies = fmt.Sprintf("If you have none, a copy that an upgrade made: %s. The newest: sudo mv %s %s && sudo systemctl start raid-controller",
			strings.Join(whole, ", "), shellWord(best), shellWord(path))
	}
	aside := keys + ".aside"
	for n := 2; exists(aside); n++ {
		aside = fmt.Sprintf("%s.aside%d", keys, n)
	}
	return fmt.Errorf("%w: the catalog is gone: %s is not there, and the keys of its array are, in %s. Nothing was made or changed, and the chunks on the nodes are untouched. "+
		"Put a backup of the catalog in its place. %s. See /usr/share/doc/raid-controller/catalog.md (A catalog that is gone). "+
		"Only if this is to be a new array, to which the files of the old one are lost: sudo mv %s %s && sudo systemctl start raid-controller",
		ErrRefused, path, keys, copies, shellWord(keys), shellWord(aside))
}

// swap is the command line that sets a catalog aside, with its log, and moves a
// copy into its place. A log that stayed behind would be taken for the copy's.
func swap(path, copied string) string {
	aside := path + ".aside"
	for n := 2; exists(aside); n++ {
		aside = fmt.Sprintf("%s.aside%d", path, n)
	}
	var files []string
	for _, f := range []string{path, path + "-wal", path + "-shm"} {
		if exists(f) {
			files = append(files, shellWord(f))
		}
	}
	return fmt.Sprintf("sudo systemctl stop raid-controller && sudo mkdir %s && sudo mv %s %s/ && sudo mv %s %s && sudo systemctl start raid-controller",
		shellWord(aside), strings.Join(files, " "), shellWord(aside), shellWord(copied), shellWord(path))
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// shellWord writes a path so that a shell takes it for one word.
func shellWord(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("/._-+,:@", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
