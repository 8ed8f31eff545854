package catalog

import (
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

func TestWhatIsGivenUpIsKnownFromThenOn(t *testing.T) {
	dir := t.TempDir()
	c := openTest(t, dir+"/catalog.db")
	f := store(t, c, 1)
	must(t, (&migrator{conn: idleWriter(t, c)}).copyTo(bg, dir+"/older.db"))
	must(t, c.Close())
	var other *Catalog
	var seen []uint64
	for range 4 { // an older one goes further than the newest
		other = openTest(t, dir+"/older.db")
		seen = append(seen, other.Commit())
		store(t, other, 1)
		seen = append(seen, other.Commit())
		must(t, other.Close())
	}

	c = openTest(t, dir+"/catalog.db")
	for i := 0; i < len(seen); i += 2 {
		if c.Knows(seen[i]) {
			t.Fatalf("commit %#x is known", seen[i])
		}
		must(t, c.ForgetCommits(bg, seen[i]))
		wants(t, c.ForgetCommits(bg, seen[i+1]), raid.ErrInvalid) // comes with it
	}
	for range 2 {
		for _, n := range seen {
			if !c.Knows(n) {
				t.Errorf("commit %#x is not known", n)
			}
		}
		must(t, c.Close())
		c = openTest(t, dir+"/catalog.db")
	}
	// What comes now must be seen by nodes that have seen the other.
	if last := seen[len(seen)-1]; c.Commit() <= last {
		t.Errorf("commit %#x comes after %#x", c.Commit(), last)
	}
	if id, err := c.NextID(bg); err != nil || id < raid.FileID(forgetIDs) {
		t.Errorf("id %d, %v: the other may have given it out", id, err)
	}
	checkWholeFiles(t, c, map[raid.FileID]raid.File{f.ID: f})
}

func TestNumbersThatNoControllerMadeAreNotGivenUp(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	for _, n := range []uint64{1, 1<<64 - 1, 1<<63 - 1, uint64(c.Run()+forgetRuns+1) << (tagBits + countBits)} {
		wants(t, c.ForgetCommits(bg, n), raid.ErrInvalid)
		if c.Knows(n) {
			t.Errorf("commit %#x is known", n)
		}
	}
	must(t, c.ForgetCommits(bg, c.Commit()+5)) // of the present run, which a copy of the catalog went through
	must(t, c.Close())
	if c = openTest(t, path); c.Run() != 2 {
		t.Errorf("run %d", c.Run())
	}
}
