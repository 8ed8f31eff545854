package catalog

import (
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

func TestUploadsStopAtTheReserveAndDeletesDoNot(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	f := store(t, c, 2)
	begun := begin(t, c, 1)
	must(t, c.Close())

	cfg := config(path)
	cfg.Reserve = 1 << 60 // of no disk is so much free
	c = openWith(t, cfg, options{})
	wants(t, c.Append(bg, begun.File.ID, begun.Parts), raid.ErrNoSpace)
	wants(t, c.Begin(bg, newFile(t, c, 1).File), raid.ErrNoSpace)
	_, err := c.Finish(bg, newFile(t, c, 1))
	wants(t, err, raid.ErrNoSpace)

	must(t, c.MarkBad(bg, f.ID, 0, 1, 1, 1))
	must(t, c.ReplaceCopy(bg, f.ID, 0, 1, raid.Copy{Index: 1, Attempt: 1, Node: "n1"}, next(t, c, f.ID, 0, 1, 1, "n3")))
	must(t, c.Delete(bg, f.ID))
	must(t, c.Abandon(bg, begun.File, nil))
	sweepAll(t, c, 100)
	checkTotals(t, c)
}

// SQLite's own word that there is no room, before COMMIT: nothing has happened,
// and the catalog goes on when there is room again.
func TestFullDiskBeforeCommitChangesNothing(t *testing.T) {
	c := openTest(t, "")
	f := store(t, c, 1)
	limit := "PRAGMA max_page_count = " + itoa(sqlInt(t, c, "PRAGMA page_count"))
	must(t, idleWriter(t, c).script(limit))
	commit := c.Commit()
	fin := newFile(t, c, 300)
	_, err := c.Finish(bg, fin)
	wants(t, err, raid.ErrNoSpace)
	if isClosed(c.Broken()) || c.Commit() != commit {
		t.Errorf("broken, or commit went from %d to %d", commit, c.Commit())
	}
	checkTotals(t, c)
	must(t, c.Delete(bg, f.ID))
	must(t, idleWriter(t, c).script("PRAGMA max_page_count = 1000000"))
	_, err = c.Finish(bg, fin)
	must(t, err)
	checkWholeFiles(t, c, map[raid.FileID]raid.File{fin.File.ID: fin.File})
}

func TestBusyDatabaseIsNoReasonToEnd(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	other, err := openConn(path, nil)
	must(t, err)
	defer other.close()
	must(t, other.script("BEGIN IMMEDIATE"))
	_, err = c.Finish(bg, newFile(t, c, 1))
	wants(t, err, raid.ErrBusy)
	must(t, other.script("ROLLBACK"))
	store(t, c, 1)
}

// Another program's long read keeps the log from being begun anew. That may cost
// a moment now and then, and not stop anything.
func TestAnotherProgramsLongReadStopsNothing(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openWith(t, config(path), options{checkpoint: 10})
	other, err := openConn(path, nil)
	must(t, err)
	defer other.close()
	must(t, other.script("BEGIN; SELECT count(*) FROM upload"))
	for range 60 {
		store(t, c, 1)
	}
	must(t, other.script("COMMIT"))
	for range 60 {
		store(t, c, 1)
	}
	if n := sqlInt(t, c, "SELECT count(*) FROM upload"); n != 120 {
		t.Errorf("%d files", n)
	}
}
