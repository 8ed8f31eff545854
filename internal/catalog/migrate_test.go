package catalog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

func TestNewerSchemaIsRefused(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	f := store(t, c, 1)
	must(t, idleWriter(t, c).script("PRAGMA user_version = 7000"))
	must(t, c.Close())
	_, err := Open(bg, config(path))
	wants(t, err, raid.ErrUnsupported)
	if !strings.Contains(err.Error(), "install a newer raid-controller") {
		t.Errorf("it is told %q", err)
	}
	conn, err := openConn(path, nil, fmt.Sprintf("user_version = %d", len(migrations())))
	must(t, err)
	must(t, conn.close())
	c = openTest(t, path)
	if _, err := c.File(bg, f.ID); err != nil || c.Run() != 2 {
		t.Errorf("run %d, %v", c.Run(), err)
	}
}

func TestOtherProgramsDatabaseIsRefused(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	conn, err := openConn(path, nil)
	must(t, err)
	must(t, conn.script("CREATE TABLE file (id INTEGER PRIMARY KEY)"))
	must(t, conn.close())
	_, err = Open(bg, config(path))
	wants(t, err, raid.ErrInvalid)

	must(t, os.WriteFile(path, []byte(strings.Repeat("no database ", 1000)), 0o600))
	if _, err = Open(bg, config(path)); err == nil {
		t.Error("opened a file that is no database")
	}
}

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
	if _, err := open(bg, config(path), options{migrations: broken, checkpoint: checkpointPages}); err == nil || !strings.Contains(err.Error(), "9999_test.sql") {
		t.Errorf("got %v", err)
	}
	c = openTest(t, path)
	checkWholeFiles(t, c, map[raid.FileID]raid.File{f.ID: f})
}

// A start that was cut off when the database file was just made.
func TestEmptyFileIsANewCatalog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	must(t, os.WriteFile(path, nil, 0o600))
	store(t, openTest(t, path), 1)
}
