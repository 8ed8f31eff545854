package catalog

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// refused opens a catalog, which must be refused for a reason and with words.
func refused(t *testing.T, path string, why error, words ...string) string {
	t.Helper()
	c, err := Open(bg, config(path))
	if err == nil {
		_ = c.Close()
	}
	wants(t, err, ErrRefused)
	wants(t, err, why)
	for _, w := range append(words, path) {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("it is told\n%v\nwithout %q", err, w)
		}
	}
	return err.Error()
}

// upgraded is a catalog with one file before and one after an upgrade to a
// version that this program does not know.
func upgraded(t *testing.T, path string) (before raid.File) {
	t.Helper()
	c := openTest(t, path)
	before = store(t, c, 2)
	must(t, c.Close())
	c = openWith(t, config(path), options{migrations: nextVersion()})
	store(t, c, 1)
	must(t, c.Close())
	return before
}

func nextVersion() []migration {
	return append(migrations(), migration{"9999_test.sql", "ALTER TABLE upload ADD COLUMN test INTEGER NOT NULL DEFAULT 5;"})
}

// untouched checks that a catalog and what lies beside it are as they were; empty
// files, such as its lock, may have come.
func untouched(t *testing.T, path string, before map[string][]byte) {
	t.Helper()
	after := filesIn(t, filepath.Dir(path))
	for name, b := range before {
		if !bytes.Equal(after[name], b) {
			t.Errorf("%s was changed", name)
		}
	}
	for name, b := range after {
		if _, was := before[name]; !was && len(b) > 0 {
			t.Errorf("%s was made", name)
		}
	}
}

// A downgrade: the words name the copy, and their commands, run as they stand,
// bring it back.
func TestNewerCatalogIsRefusedAndItsWordsLeadBackToTheCopy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "the catalog's.db") // a name that needs quotes
	before := upgraded(t, path)
	must(t, os.WriteFile(path+".v99", []byte("of a version that is not known here"), 0o600))
	must(t, os.WriteFile(path+".v05", []byte("no copy of ours"), 0o600))
	must(t, os.WriteFile(path+"-wal", nil, 0o600)) // of a controller that was killed
	files := filesIn(t, filepath.Dir(path))
	kept := fmt.Sprintf("%s.v%d", path, len(migrations()))
	said := refused(t, path, raid.ErrUnsupported, kept+" (1 files, commit ", ", last written 20", "install the newer raid-controller again",
		"is not in the copy", "/usr/share/doc/raid-controller/catalog.md")
	untouched(t, path, files)

	_, command, _ := strings.Cut(said, "): ")
	command, _, found := strings.Cut(command, ". What was stored")
	if !found {
		t.Fatalf("no command in %q", said)
	}
	bin := t.TempDir()
	must(t, os.WriteFile(filepath.Join(bin, "sudo"), []byte("#!/bin/sh\nexec \"$@\"\n"), 0o700))
	must(t, os.WriteFile(filepath.Join(bin, "systemctl"), []byte("#!/bin/sh\n"), 0o700))
	run := exec.CommandContext(t.Context(), "sh", "-ec", command)
	run.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%s\n%v\n%s", command, err, out)
	}
	old := openTest(t, path)
	checkWholeFiles(t, old, map[raid.FileID]raid.File{before.ID: before})
	for _, f := range []string{"", "-wal"} {
		b, err := os.ReadFile(filepath.Join(path+".aside", filepath.Base(path)+f))
		if err != nil || !bytes.Equal(b, files[path+f]) {
			t.Errorf("of the newer catalog's %q: %v", f, err)
		}
	}
}

func TestNewerCatalogWithoutAUsableCopySaysSo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	upgraded(t, path)
	kept := fmt.Sprintf("%s.v%d", path, len(migrations()))
	must(t, os.WriteFile(kept, bytes.Repeat([]byte("damaged "), 2000), 0o600))
	if said := refused(t, path, raid.ErrUnsupported, "No copy that this version can open lies beside it", "install the newer"); strings.Contains(said, kept) {
		t.Errorf("a damaged copy is offered: %s", said)
	}
	must(t, os.Remove(kept))
	refused(t, path, raid.ErrUnsupported, "No copy that this version can open lies beside it")
}

// The log of a newer controller that was killed is not moved, either.
func TestNewerCatalogIsRefusedByItsLogToo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openTest(t, path)
	store(t, c, 1)
	w := idleWriter(t, c)
	left := filepath.Join(t.TempDir(), "catalog.db")
	must(t, (&migrator{conn: w}).copyTo(bg, fmt.Sprintf("%s.v%d", left, len(migrations()))))
	must(t, w.script("PRAGMA user_version = 7000"))
	for name, b := range filesIn(t, filepath.Dir(path)) {
		must(t, os.WriteFile(filepath.Join(filepath.Dir(left), filepath.Base(name)), b, 0o600))
	}
	files := filesIn(t, filepath.Dir(left))
	if len(files[left+"-wal"]) == 0 {
		t.Fatal("no log")
	}
	refused(t, left, raid.ErrUnsupported, "version 7000", "sudo mv "+left+" "+left+"-wal ")
	untouched(t, left, files)
}

func TestOtherProgramsDatabaseIsRefusedAndNotTouched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	conn, err := openConn(path, nil)
	must(t, err)
	must(t, conn.script("CREATE TABLE file (id INTEGER PRIMARY KEY)"))
	must(t, conn.close())
	files := filesIn(t, filepath.Dir(path))
	refused(t, path, raid.ErrInvalid, "another program", "state_dir")
	untouched(t, path, files)
}

// Promise: a damaged catalog is left as it is, and the words say what can be done.
func TestDamagedCatalogIsRefusedAndNotTouched(t *testing.T) {
	good := filepath.Join(t.TempDir(), "catalog.db")
	c := openTest(t, good)
	store(t, c, 1)
	root := sqlInt(t, c, "SELECT rootpage FROM sqlite_schema WHERE name = 'node'")
	must(t, c.Close())
	bytesOf, err := os.ReadFile(good)
	must(t, err)
	page := func(n int64) int { return int(n-1) * 4096 }
	for what, spoil := range map[string]func([]byte) []byte{
		"no database at all": func([]byte) []byte { return bytes.Repeat([]byte("no database "), 1000) },
		"header overwritten": func(b []byte) []byte { copy(b, "\x00\x00\x00\x00\x00\x00\x00\x00"); return b },
		"schema page":        func(b []byte) []byte { copy(b[100:], bytes.Repeat([]byte{0xff}, 200)); return b },
		"page of nodes":      func(b []byte) []byte { copy(b[page(root):], bytes.Repeat([]byte{0xff}, 4096)); return b },
		"cut off":            func(b []byte) []byte { return b[:page(3)] },
		"a short file":       func([]byte) []byte { return []byte("SQLite") },
	} {
		t.Run(what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "catalog.db")
			must(t, os.WriteFile(path, spoil(bytes.Clone(bytesOf)), 0o600))
			files := filesIn(t, filepath.Dir(path))
			refused(t, path, raid.ErrCorrupt, "the file "+path+" is damaged", "left as it is", "chunks on the nodes", "put a backup of yours in its place")
			untouched(t, path, files)
			must(t, os.WriteFile(fmt.Sprintf("%s.v%d", path, len(migrations())), bytesOf, 0o600))
			refused(t, path, raid.ErrCorrupt, "the copy that an upgrade made, "+path+".v", "(1 files, commit ", "sudo systemctl stop raid-controller && sudo mkdir")
		})
	}
}

// SQLite throws away the log of a database without a page, and a new array would
// begin where the old one was.
func TestEmptiedCatalogWithALogIsRefusedAndNotTouched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	must(t, os.WriteFile(path, nil, 0o600))
	must(t, os.WriteFile(path+"-wal", []byte("what was stored last"), 0o600))
	files := filesIn(t, filepath.Dir(path))
	refused(t, path, raid.ErrCorrupt, "the file "+path+" is damaged", "it is empty, and has a log")
	untouched(t, path, files)
}

// A row that says what can't be is found after SQLite has read it well.
func TestCatalogThatMakesNoSenseIsRefusedAsDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openTest(t, path)
	store(t, c, 1)
	sqlDo(t, c, "UPDATE meta SET latest = 'yesterday'")
	sqlDo(t, c, "UPDATE node SET key = key + 100")
	must(t, c.Close())
	refused(t, path, raid.ErrCorrupt, "is damaged")
}
