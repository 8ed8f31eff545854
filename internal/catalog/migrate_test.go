package catalog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

func TestOldCatalogIsCopiedBeforeItsSchemaChanges(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	f := store(t, c, 2)
	must(t, c.Close())

	second := append(migrations(), migration{"9999_test.sql", "ALTER TABLE upload ADD COLUMN test INTEGER NOT NULL DEFAULT 5;"})
	kept := fmt.Sprintf("%s.v%d", path, len(migrations()))
	must(t, os.WriteFile(kept+".part", []byte("of an upgrade that was cut off"), 0o600))
	c = openWith(t, config(path), options{migrations: second})
	if n := sqlInt(t, c, "SELECT test FROM upload WHERE id = ?", int64(f.ID)); n != 5 {
		t.Errorf("the new column has %d", n)
	}
	must(t, c.Close())
	_, err := Open(bg, config(path))
	wants(t, err, raid.ErrUnsupported) // the older program

	st, err := os.Stat(kept)
	must(t, err)
	if st.Mode().Perm() != 0o600 {
		t.Errorf("the copy's mode is %v", st.Mode())
	}
	old := openTest(t, kept)
	checkWholeFiles(t, old, map[raid.FileID]raid.File{f.ID: f})
}

func TestFailedMigrationLeavesTheCatalogAsItWas(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	f := store(t, c, 1)
	must(t, c.Close())
	broken := append(migrations(), migration{"9999_test.sql", "DELETE FROM upload; ALTER TABLE nothing ADD COLUMN x;"})
	if _, err := open(bg, config(path), options{migrations: broken, checkpoint: checkpointPages}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "9999_test.sql") {
		t.Errorf("got %v", err)
	}
	c = openTest(t, path)
	checkWholeFiles(t, c, map[raid.FileID]raid.File{f.ID: f})
}

// A service manager tries again and again, and each copy costs the card.
func TestUpgradeThatFailsAgainCopiesOnce(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	f := store(t, c, 1)
	must(t, c.Close())
	broken := append(migrations(), migration{"9999_test.sql", "DELETE FROM upload; ALTER TABLE nothing ADD COLUMN x;"})
	kept := fmt.Sprintf("%s.v%d", path, len(migrations()))
	try := func() os.FileInfo {
		t.Helper()
		_, err := open(bg, config(path), options{migrations: broken, checkpoint: checkpointPages})
		wants(t, err, ErrRefused)
		st, err := os.Stat(kept)
		must(t, err)
		return st
	}
	first := try()
	if second := try(); !os.SameFile(first, second) || !first.ModTime().Equal(second.ModTime()) {
		t.Error("it is copied again")
	}
	must(t, openTest(t, path).Close()) // the version that ran before, which stores nothing
	after := try()
	if os.SameFile(first, after) {
		t.Error("a start of the version before is not in the copy")
	}
	must(t, os.WriteFile(kept, []byte("damaged"), 0o600))
	try()
	checkWholeFiles(t, openTest(t, kept), map[raid.FileID]raid.File{f.ID: f})
}

// Room may come back by itself: what apt has unpacked goes, for instance.
func TestUpgradeThatFillsTheDiskIsTriedAgain(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	f := store(t, c, 1)
	must(t, c.Close())
	full := append(migrations(), migration{"9999_test.sql", "PRAGMA max_page_count = 1; CREATE TABLE test (x); INSERT INTO test VALUES (zeroblob(1000000));"})
	_, err := open(bg, config(path), options{migrations: full, checkpoint: checkpointPages})
	wants(t, err, raid.ErrNoSpace)
	if errors.Is(err, ErrRefused) {
		t.Errorf("it ends for good: %v", err)
	}
	checkWholeFiles(t, openTest(t, path), map[raid.FileID]raid.File{f.ID: f})
}

// What a change leaves in the log is moved while the start is waited for: the first
// write, which is watched, is quick.
func TestLogOfASchemaChangeIsMovedBeforeTheStartIsOver(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	must(t, openTest(t, path).Close())
	c := openWith(t, config(path), options{migrations: slowVersion()})
	log, err := os.Stat(path + "-wal")
	must(t, err)
	db, err := os.Stat(path)
	must(t, err)
	if log.Size() > 100_000 || db.Size() < 10<<20 {
		t.Errorf("the log has %d bytes, and the database %d", log.Size(), db.Size())
	}
	store(t, c, 1)
}

// A start that was cut off when the database file was just made.
func TestEmptyFileIsANewCatalog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	must(t, os.WriteFile(path, nil, 0o600))
	store(t, openTest(t, path), 1)
}
