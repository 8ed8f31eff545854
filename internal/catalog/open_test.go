package catalog

import (
	"bytes"
	"database/sql/driver"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

func TestStartsAreCountedAndTheArrayStays(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	var array raid.ArrayID
	for run := uint32(1); run <= 3; run++ {
		c := openTest(t, path)
		if run == 1 {
			array = c.Array()
		}
		if c.Run() != run || c.Array() != array || len(array) != raid.IDLen {
			t.Errorf("run %d of array %s, want %d of %s", c.Run(), c.Array(), run, array)
		}
		must(t, c.Close())
	}
}

// The first rule under the promises: a catalog knows its own past, and that what
// it does not know is not its past.
func TestCatalogPutBackDoesNotKnowWhatCameAfter(t *testing.T) {
	dir := t.TempDir()
	path, copied := dir+"/catalog.db", dir+"/older.db"
	var past []uint64 // one of early in each run, one of its end
	c := openTest(t, path)
	for run := range 3 {
		store(t, c, 1)
		past = append(past, c.Commit())
		if run == 1 {
			must(t, (&migrator{conn: idleWriter(t, c)}).copyTo(bg, copied))
		}
		for range 8 { // more than the copy will ever do in one run
			store(t, c, 1)
		}
		past = append(past, c.Commit())
		must(t, c.Close())
		c = openTest(t, path)
	}
	for i, n := range append(past, 0, c.Commit()) {
		if i > 0 && i < len(past) && n <= past[i-1] {
			t.Errorf("commit numbers fall: %v", past)
		}
		if !c.Knows(n) {
			t.Errorf("commit %d of %v is not known", n, past)
		}
	}
	if c.Knows(c.Commit() + 1) {
		t.Error("the future is known")
	}
	for range 3 { // starting it again and again does not make up for it
		old := openTest(t, copied)
		store(t, old, 1)
		store(t, old, 1)
		for i, n := range past {
			if i == 4 {
				continue // only a random tag tells it from one of the copy's own
			}
			if want := i < 3; old.Knows(n) != want {
				t.Errorf("run %d, copied at commit %d, knows commit %d: %v, want %v", old.Run(), past[2], n, !want, want)
			}
		}
		must(t, old.Close())
	}
}

func TestSecondControllerIsRefused(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	_, err := Open(bg, config(path))
	wants(t, err, raid.ErrBusy)
	if !strings.Contains(err.Error(), "another raid-controller") {
		t.Errorf("it is told %q", err)
	}
	store(t, c, 1)
	must(t, c.Close())
	openTest(t, path)
}

func TestFilesAreForTheOwnerAlone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	c := openTest(t, filepath.Join(dir, "catalog.db"))
	store(t, c, 1)
	for _, d := range []string{dir, filepath.Dir(dir)} {
		if st, err := os.Stat(d); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("folder %s: %v, %v", d, st.Mode(), err)
		}
	}
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if st, err := e.Info(); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", e.Name(), st.Mode(), err)
		}
	}
	if len(entries) < 4 {
		t.Errorf("only %v", entries)
	}
}

func TestDurabilityIsAsPromised(t *testing.T) {
	c := openTest(t, "")
	for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal", "temp_store": "2", "wal_autocheckpoint": "0"} {
		var got string
		must(t, idleWriter(t, c).query(func(r []driver.Value) error { got = asText(r[0]); return nil }, "PRAGMA "+pragma))
		if got != want {
			t.Errorf("%s is %s, want %s", pragma, got, want)
		}
	}
}

func asText(v any) string {
	if n, ok := v.(int64); ok {
		return itoa(n)
	}
	return text(v)
}

// Promise 9.
func TestIdleCatalogWritesNothing(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	f := store(t, c, 1)
	must(t, c.SaveNode(bg, raid.NodeRecord{ID: "n1", Address: "10.0.0.1", Disk: 7}))
	before, commit := filesIn(t, filepath.Dir(path)), c.Commit()

	must(t, c.SaveNode(bg, raid.NodeRecord{ID: "n1", Address: "10.0.0.1", Disk: 7}))
	sweepAll(t, c, 100)
	_, err := c.AbandonUnfinished(bg)
	must(t, err)
	must(t, c.Removed(bg, []raid.Removal{{Node: "n1", Key: raid.ChunkKey{Upload: f.Upload, Part: 1, Attempt: 5}}}))
	must(t, c.Abandon(bg, f, nil))
	wants(t, c.Delete(bg, 12345), raid.ErrNotFound)
	_, err = c.Finish(bg, raid.FinishedUpload{File: f, Parts: newParts(0, 1)})
	wants(t, err, raid.ErrPrecondition)
	listAll(t, c, raid.FileQuery{})
	_, err = c.Counts(bg)
	must(t, err)

	if c.Commit() != commit {
		t.Errorf("commit went from %d to %d", commit, c.Commit())
	}
	for name, b := range filesIn(t, filepath.Dir(path)) {
		if !bytes.Equal(b, before[name]) {
			t.Errorf("%s was written", filepath.Base(name))
		}
	}
}

func TestNodesAreRemembered(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	f := store(t, c, 1) // on nodes that nobody saved
	want := raid.NodeRecord{
		ID: "n2", Address: "10.0.0.2", CleanedRun: 1<<32 - 1, Disk: 1 << 40,
		Last: raid.NodeSight{At: "2026-01-02 03:04:05", TotalBytes: 1 << 40, FreeBytes: 5, Chunks: 6, Version: "0.7"},
	}
	must(t, c.SaveNode(bg, want))
	must(t, c.SaveNode(bg, raid.NodeRecord{ID: "n9"}))
	wants(t, c.SaveNode(bg, raid.NodeRecord{ID: "lab-1.2.3.4:5"}), raid.ErrInvalid)
	wants(t, c.SaveNode(bg, raid.NodeRecord{}), raid.ErrInvalid)
	must(t, c.Close())
	c = openTest(t, path)
	nodes, err := c.Nodes(bg)
	must(t, err)
	if len(nodes) != 4 || !slices.Contains(nodes, want) || !slices.Contains(nodes, raid.NodeRecord{ID: "n9"}) {
		t.Errorf("nodes %+v", nodes)
	}
	parts, err := c.Parts(bg, f.ID, 0, 1)
	must(t, err)
	if parts[0].Copies[1].Node != "n2" {
		t.Errorf("parts %+v", parts)
	}
}

func TestStartIsFast(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	for range 100 {
		store(t, c, 1)
	}
	must(t, c.Close())
	begin := time.Now()
	openTest(t, path)
	t.Logf("opened in %v", time.Since(begin)) // said, not asserted: machines differ
}

func TestFolderThatIsAFileIsToldInWords(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	path := filepath.Join(file, "catalog.db")
	if _, err := Open(bg, config(path)); err == nil || !strings.Contains(err.Error(), "open catalog "+path) {
		t.Errorf("it is told %v", err)
	}
}
