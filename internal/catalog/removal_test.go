package catalog

import (
	"crypto/rand"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

func TestDeletedFileIsGoneAtOnceAndItsChunksLater(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	f, kept := store(t, c, 500), store(t, c, 2)
	must(t, c.Delete(bg, f.ID))
	wants(t, c.Delete(bg, f.ID), raid.ErrNotFound)
	_, err := c.File(bg, f.ID)
	wants(t, err, raid.ErrNotFound)
	_, _, err = allNames(c, f)
	wants(t, err, raid.ErrNotFound)
	if n, _ := c.Counts(bg); n.Files != 1 || n.Bytes != kept.Size || n.Removals != 0 {
		t.Errorf("%+v", n)
	}
	rounds := 0
	for more := true; more; rounds++ {
		more, err = c.Sweep(bg, 300)
		must(t, err)
		checkTotals(t, c)
		if rounds == 2 { // a restart in the middle
			must(t, c.Close())
			c = openTest(t, path)
		}
	}
	if rounds < 2000/300 {
		t.Errorf("2000 chunks went in %d rounds", rounds)
	}
	if got, want := removalsOf(t, c), chunksOf(f.Upload, newParts(0, 500)); !slices.Equal(got, want) {
		t.Errorf("%d chunks to be removed, want %d", len(got), len(want))
	}
	checkWholeFiles(t, c, map[raid.FileID]raid.File{kept.ID: kept})
	_, err = c.Parts(bg, f.ID, 0, 1)
	wants(t, err, raid.ErrNotFound)
	if n := sqlInt(t, c, "SELECT count(*) FROM part"); n != 4 {
		t.Errorf("%d parts, want those of the file that was kept", n)
	}
}

func TestSweepTakesManySmallFilesAtOnce(t *testing.T) {
	c := openTest(t, "")
	for range 30 {
		must(t, c.Delete(bg, store(t, c, 1).ID))
	}
	commit := c.Commit()
	if more, err := c.Sweep(bg, 1000); more || err != nil {
		t.Errorf("more %v, %v", more, err)
	}
	if n := c.Commit() - commit; n != 1 {
		t.Errorf("%d commits", n)
	}
	checkTotals(t, c)
}

func TestChunksOnLabNodesStayAndThatIsLogged(t *testing.T) {
	var log kit.Log // the check of the catalog's bytes writes to it too, whenever it comes to that
	cfg := config(t.TempDir() + "/catalog.db")
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	c := openWith(t, cfg, options{})
	fin := newFile(t, c, 1)
	fin.Parts[0].Copies[0].Node, fin.Parts[0].Copies[1].Node = "", "lab-10.0.0.1:99"
	f, err := c.Finish(bg, fin)
	must(t, err)
	must(t, c.Delete(bg, f.ID))
	sweepAll(t, c, 100)
	if got, want := removalsOf(t, c), chunksOf(f.Upload, fin.Parts[1:]); !slices.Equal(got, want) {
		t.Errorf("to be removed %v, want %v", got, want)
	}
	if s := log.String(); !strings.Contains(s, "stay on lab nodes") || !strings.Contains(s, "chunks=2") {
		t.Errorf("log %s", s)
	}
}

func TestRemovalsAreKeptUntilTheNodeHasDoneThem(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	f := store(t, c, 100)
	must(t, c.Delete(bg, f.ID))
	sweepAll(t, c, 1000)
	must(t, c.Close())
	c = openTest(t, path)
	counts, err := c.RemovalCounts(bg)
	must(t, err)
	first, err := c.Removals(bg, "n1", 10)
	must(t, err)
	if len(first) != 10 || counts["n1"] != 100 {
		t.Errorf("%d of %v", len(first), counts)
	}
	must(t, c.Removed(bg, first))
	must(t, c.Removed(bg, first)) // an answer may come twice
	next, err := c.Removals(bg, "n1", 1000)
	must(t, err)
	if len(next) != 90 || slices.Contains(next, first[0]) {
		t.Errorf("%d are left", len(next))
	}
	must(t, c.Record(bg, first))
	must(t, c.Record(bg, first))
	checkTotals(t, c)
	if counts, _ := c.RemovalCounts(bg); counts["n1"] != 100 {
		t.Errorf("%v", counts)
	}
	if none, err := c.Removals(bg, "who", 5); len(none) != 0 || err != nil {
		t.Errorf("%v, %v", none, err)
	}
}

// Promise 11: what has a row of any state is known, and so is everything of the
// present run, which may get its row yet.
func TestOnlyUploadsOfEarlierRunsAreUnknown(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	done, going := store(t, c, 1), begin(t, c, 1).File
	dropped := begin(t, c, 1).File
	must(t, c.Abandon(bg, dropped, nil))
	deleted := store(t, c, 1)
	must(t, c.Delete(bg, deleted.ID))
	lost, err := raid.NewUploadID(c.Run(), rand.Reader)
	must(t, err)
	must(t, c.Close())
	c = openTest(t, path)
	present, err := raid.NewUploadID(c.Run(), rand.Reader)
	must(t, err)
	future, err := raid.NewUploadID(c.Run()+1, rand.Reader)
	must(t, err)
	all := []raid.UploadID{done.Upload, going.Upload, dropped.Upload, deleted.Upload, lost, present, future}
	got, err := c.UnknownUploads(bg, all)
	must(t, err)
	if !slices.Equal(got, []raid.UploadID{lost}) {
		t.Errorf("unknown %v, want %v alone", got, lost)
	}
	many := slices.Repeat([]raid.UploadID{done.Upload, lost}, 3*batchRows)
	if got, err := c.UnknownUploads(bg, many); len(got) != 3*batchRows || err != nil {
		t.Errorf("%d of many, %v", len(got), err)
	}
}
