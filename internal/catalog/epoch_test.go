package catalog

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// setCommit has the next transaction follow the one of that number.
func setCommit(t *testing.T, c *Catalog, run uint32, commit uint64) {
	t.Helper()
	c.mu.Lock()
	c.state.meta.run, c.state.meta.commit = run, commit
	c.mu.Unlock()
	c.commit.Store(commit)
}

// What is counted within a run must not run over into the random bits: a catalog
// put back could then not be told from one that went on.
func TestARunThatIsCountedToItsEndGoesOnAsTheNext(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	last := c.Commit() | lastCount
	setCommit(t, c, c.Run(), last-1)
	store(t, c, 1)
	if c.Commit() != last || !c.Knows(last) || c.Knows(last+1) {
		t.Fatalf("commit %#x, want %#x", c.Commit(), last)
	}
	store(t, c, 1)
	first := c.Commit()
	if first <= last || first>>(countBits+tagBits) != 2 || first&lastCount != 1 || c.Run() != 1 {
		t.Fatalf("after %#x comes %#x, run %d", last, first, c.Run())
	}
	store(t, c, 1)
	now := c.Commit()
	if now != first+1 {
		t.Errorf("commit %#x, want %#x", now, first+1)
	}
	for range 2 {
		for _, n := range []uint64{last, first, now} {
			if !c.Knows(n) {
				t.Errorf("commit %#x is not known", n)
			}
		}
		if c.Knows(c.Commit()+1) || c.Knows(last^1<<countBits) {
			t.Error("knows what never was")
		}
		must(t, c.Close())
		c = openTest(t, path)
	}
	if c.Run() != 4 || c.Commit() <= now { // of the starts, one each; one for the counting
		t.Errorf("run %d, commit %#x", c.Run(), c.Commit())
	}
}

func TestRunNumbersThatAreUsedUpAreToldInWords(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	f := store(t, c, 1)
	setCommit(t, c, maxRun, uint64(maxRun)<<(tagBits+countBits)|lastCount)
	wants(t, c.Delete(bg, f.ID), raid.ErrUnsupported)
	if _, err := c.File(bg, f.ID); err != nil {
		t.Errorf("the file of a delete that failed: %v", err)
	}
	must(t, idleWriter(t, c).script("UPDATE meta SET run = "+itoa(maxRun-1)))
	must(t, c.Close())
	must(t, openTest(t, path).Close())
	_, err := Open(bg, config(path))
	wants(t, err, raid.ErrUnsupported)
	if !strings.Contains(err.Error(), "/usr/share/doc/raid-controller/catalog.md") {
		t.Errorf("it is told %q", err)
	}
}

func TestCommitNumbersOfTheFirstLayoutAreKnownAndGoOn(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	old, err := openConn(path, nil)
	must(t, err)
	_, err = (&migrator{conn: old, path: path, steps: migrations()[:2], log: slog.New(slog.DiscardHandler)}).run(bg)
	must(t, err)
	past := []uint64{3<<44 | 0xabc<<32 | 7, 4<<44 | 0xfff<<32 | 1000}
	must(t, old.script(fmt.Sprintf("INSERT INTO meta VALUES (1, 'a', 4, %d, 1, 0, 0, 0, 0); INSERT INTO run VALUES (3, %d)", past[1], past[0])))
	must(t, old.close())

	c := openTest(t, path)
	for _, n := range past {
		if !c.Knows(n) || c.Knows(n+1) || c.Commit() <= n || c.Run() <= 4 {
			t.Errorf("after %#x: run %d, commit %#x", n, c.Run(), c.Commit())
		}
	}
}
