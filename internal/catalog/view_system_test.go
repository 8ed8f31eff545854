//go:build system

package catalog

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// Debian's own program reads the catalog while it is open.
func TestPlainSQLiteReadsTheCatalog(t *testing.T) {
	program, err := exec.LookPath("sqlite3")
	if err != nil {
		t.Fatalf("sqlite3 reads the catalog here: %v", err)
	}
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	f, g := store(t, c, 1), store(t, c, 3)
	out, err := exec.CommandContext(t.Context(), program, "-readonly", "-noheader", path, assignment+"; PRAGMA integrity_check;").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var want string
	for _, f := range []raid.File{f, g} {
		p1, p2, err := allNames(c, f)
		must(t, err)
		want += strings.Join([]string{itoa(int64(f.ID)), f.Filename, itoa(f.Size), f.ContentType, f.Created, joined(p1), joined(p2)}, "|") + "\n"
	}
	if want += "ok\n"; string(out) != want {
		t.Errorf("sqlite3 says\n%s\nwant\n%s", out, want)
	}
	if _, err := c.Finish(bg, newFile(t, c, 1)); err != nil {
		t.Errorf("a write after another program has read: %v", err)
	}
}
