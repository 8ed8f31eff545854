package catalog

import (
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

const testKeep = 24 * time.Hour

func openKeeping(t *testing.T, path string, keep time.Duration) *Catalog {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "catalog.db")
	}
	cfg := config(path)
	cfg.Keep = keep
	return openWith(t, cfg, options{})
}

func trashOf(t *testing.T, c *Catalog, q raid.FileQuery) (ids []raid.FileID) {
	t.Helper()
	for f, err := range c.Trash(bg, q) {
		must(t, err)
		ids = append(ids, f.File.ID)
	}
	return ids
}

// A file that is put back is the file that it was, with each of its chunks.
func TestADeletedFileComesBackAsItWas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openKeeping(t, path, testKeep)
	for _, stripes := range []int64{1, 3, longFile + 1} {
		kept, f := store(t, c, stripes), store(t, c, stripes)
		parts, err := c.Parts(bg, f.ID, 0, stripes)
		must(t, err)
		whole, err := c.File(bg, f.ID)
		must(t, err)
		must(t, c.Delete(bg, f.ID))
		wants(t, c.Delete(bg, f.ID), raid.ErrNotFound)
		_, err = c.File(bg, f.ID)
		wants(t, err, raid.ErrNotFound)
		for _, other := range listAll(t, c, raid.FileQuery{}) {
			if other.ID == f.ID {
				t.Error("a deleted file is listed")
			}
		}
		sweepAll(t, c, 1000)
		checkTotals(t, c)
		must(t, c.Close())
		c = openKeeping(t, path, testKeep)
		found, err := c.Trashed(bg, f.ID)
		must(t, err)
		if g := found.File; g.ID != f.ID || g.Filename != f.Filename || g.Size != f.Size || g.SHA256 != f.SHA256 || g.Created != f.Created ||
			found.Deleted == "" || found.Left <= testKeep-time.Minute || found.Left > testKeep {
			t.Errorf("in the trash: %+v, deleted was %+v", found, f)
		}
		sweepAll(t, c, 1000)
		back, err := c.Undelete(bg, f.ID)
		must(t, err)
		again, err := c.Undelete(bg, f.ID) // as after an answer that was lost
		must(t, err)
		now, err := c.Parts(bg, f.ID, 0, stripes)
		must(t, err)
		for what, same := range map[string]bool{
			"record": sameFile(back, whole), "record once more": sameFile(again, whole),
			"parts": slices.EqualFunc(parts, now, func(a, b raid.Part) bool {
				return a.Key(f.Upload, a.Copies[0]) == b.Key(f.Upload, b.Copies[0]) && slices.Equal(a.Copies, b.Copies) && a.CRC == b.CRC && a.Length == b.Length
			}),
		} {
			if !same {
				t.Errorf("of %d stripes: the %s of a file that was put back is another: %+v, was %+v", stripes, what, back, whole)
			}
		}
		_, err = c.Trashed(bg, f.ID)
		wants(t, err, raid.ErrNotFound)
		_, err = c.File(bg, kept.ID)
		must(t, err)
		checkTotals(t, c)
		checkReach(t, c, rand.New(rand.NewPCG(5, 6)))
	}
	if n := sqlInt(t, c, "SELECT count(*) FROM removal"); n != 0 {
		t.Errorf("%d chunks of files that are there are to be removed", n)
	}
}

func sameFile(a, b raid.File) bool {
	names := slices.EqualFunc(a.PartNames, b.PartNames, slices.Equal)
	a.PartNames, b.PartNames = nil, nil
	return names && a.ID == b.ID && a.Upload == b.Upload && a.Filename == b.Filename && a.Size == b.Size && a.SHA256 == b.SHA256 &&
		a.Created == b.Created && a.ContentType == b.ContentType && a.Degraded == b.Degraded && a.Stripes == b.Stripes
}

// What went for good never comes back, not even in part, and its chunks go.
func TestWhatIsPurgedIsOutOfReachAtOnce(t *testing.T) {
	c := openKeeping(t, "", testKeep)
	file, trashed, expired := store(t, c, 2), store(t, c, 2), store(t, c, 2)
	must(t, c.Delete(bg, trashed.ID))
	must(t, c.Purge(bg, file.ID))
	must(t, c.Purge(bg, trashed.ID))
	must(t, c.Delete(bg, expired.ID))
	gone, err := c.Discard(bg, raid.Discard{Until: c.Ran(), Limit: 10})
	must(t, err)
	if gone.Files != 1 || gone.Bytes != expired.Size {
		t.Errorf("%+v went", gone)
	}
	for _, f := range []raid.File{file, trashed, expired} {
		_, err := c.Undelete(bg, f.ID)
		wants(t, err, raid.ErrNotFound)
		wants(t, c.Purge(bg, f.ID), raid.ErrNotFound)
		wants(t, c.Delete(bg, f.ID), raid.ErrNotFound)
	}
	checkTotals(t, c)
	must(t, sweepSome(c, 3)) // in the middle of a file
	_, err = c.Undelete(bg, file.ID)
	wants(t, err, raid.ErrNotFound)
	sweepAll(t, c, 1000)
	if n := sqlInt(t, c, "SELECT count(*) FROM removal"); n != 3*2*2*2 {
		t.Errorf("%d chunks of three files are to be removed", n)
	}
	if n := sqlInt(t, c, "SELECT count(*) FROM upload"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

func sweepSome(c *Catalog, limit int) error {
	_, err := c.Sweep(bg, limit)
	return err
}

// With "0" deleted files go at once, as before there was a trash, and what is in it from
// another configuration does too.
func TestWithoutTimeToKeepThemDeletedFilesGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openKeeping(t, path, testKeep)
	old := store(t, c, 1)
	must(t, c.Delete(bg, old.ID))
	must(t, c.Close())
	c = openKeeping(t, path, 0)
	f := store(t, c, 1)
	must(t, c.Delete(bg, f.ID))
	_, err := c.Undelete(bg, f.ID)
	wants(t, err, raid.ErrNotFound)
	since, some, err := c.Oldest(bg)
	must(t, err)
	if !some || since > c.Ran() {
		t.Errorf("the oldest file of the trash was deleted at %v, now is %v", since, c.Ran())
	}
	_, err = c.Discard(bg, raid.Discard{Until: c.Ran(), Limit: 10})
	must(t, err)
	sweepAll(t, c, 100)
	if n := sqlInt(t, c, "SELECT count(*) FROM upload"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	checkTotals(t, c)
}

// A file's time in the trash is time that the controller ran: a restart takes nothing of
// it away, and what was noted counts.
func TestTheTimeOfADeletedFileOutlivesRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	var id raid.FileID
	left := func(c *Catalog) time.Duration {
		f, err := c.Trashed(bg, id)
		must(t, err)
		return f.Left
	}
	run := func(work func(c *Catalog)) {
		synctest.Test(t, func(t *testing.T) {
			cfg := config(path)
			cfg.Keep = testKeep
			c := openWith(t, cfg, options{})
			work(c)
			must(t, c.Close())
		})
	}
	run(func(c *Catalog) {
		time.Sleep(100 * time.Hour) // of a run before
		f := store(t, c, 1)
		must(t, c.Delete(bg, f.ID))
		id = f.ID
		time.Sleep(5 * time.Hour)
		if l := left(c); l != testKeep-5*time.Hour {
			t.Errorf("%v are left after 5 h", l)
		}
		must(t, c.NoteRan(bg, time.Hour))
		commit := c.Commit()
		time.Sleep(time.Hour - time.Second)
		must(t, c.NoteRan(bg, time.Hour)) // too soon
		if c.Commit() != commit {
			t.Error("it was written although the last note is not an hour old")
		}
	})
	run(func(c *Catalog) {
		if l := left(c); l != testKeep-5*time.Hour {
			t.Errorf("%v are left after a restart, 5 h were noted", l)
		}
		time.Sleep(testKeep - 5*time.Hour - time.Second)
		gone, err := c.Discard(bg, raid.Discard{Until: c.Ran() - testKeep, Limit: 10})
		must(t, err)
		if gone.Files != 0 {
			t.Error("it went a second too early")
		}
		time.Sleep(time.Second)
		gone, err = c.Discard(bg, raid.Discard{Until: c.Ran() - testKeep, Limit: 10})
		must(t, err)
		if gone.Files != 1 {
			t.Error("it did not go when its time was over")
		}
		commit := c.Commit()
		must(t, c.NoteRan(bg, 0)) // nothing waits for it
		if c.Commit() != commit {
			t.Error("time is noted although the trash is empty")
		}
	})
}

func TestTheOldestGoesFirst(t *testing.T) {
	c := openKeeping(t, "", testKeep)
	var files []raid.File
	for range 6 {
		files = append(files, store(t, c, 1))
	}
	order := []int{3, 0, 5, 1, 4, 2}
	for _, i := range order {
		must(t, c.Delete(bg, files[i].ID))
		for before := c.Ran(); c.Ran() == before; {
			yield()
		}
	}
	for n := 0; n < len(order); n += 2 {
		gone, err := c.Discard(bg, raid.Discard{Until: c.Ran(), Bytes: files[0].Size + 1, Limit: 10})
		must(t, err)
		if gone.Files != 2 {
			t.Fatalf("%+v went for %d bytes", gone, files[0].Size+1)
		}
		var want []raid.FileID
		for _, i := range order[n+2:] {
			want = append(want, files[i].ID)
		}
		slices.Sort(want)
		if got := trashOf(t, c, raid.FileQuery{}); !slices.Equal(got, want) {
			t.Errorf("left are %v, want %v", got, want)
		}
	}
}

func TestTheTrashIsListedInPages(t *testing.T) {
	c := openKeeping(t, "", testKeep)
	files := storeMany(t, c, listPage+30)
	var want []raid.FileID
	for i, f := range files {
		if i%7 != 0 {
			must(t, c.Delete(bg, f.ID))
			want = append(want, f.ID)
		}
	}
	slices.Sort(want)
	if got := trashOf(t, c, raid.FileQuery{}); !slices.Equal(got, want) {
		t.Errorf("%d of %d files are listed", len(got), len(want))
	}
	if got := trashOf(t, c, raid.FileQuery{After: want[5], Limit: 3}); !slices.Equal(got, want[6:9]) {
		t.Errorf("after %d come %v", want[5], got)
	}
	f, err := c.Trashed(bg, want[100])
	must(t, err)
	if got := trashOf(t, c, raid.FileQuery{Filename: f.File.Filename}); !slices.Contains(got, want[100]) {
		t.Errorf("%q is not found, %v are", f.File.Filename, got)
	}
	if got := trashOf(t, c, raid.FileQuery{Filename: "no such name"}); len(got) != 0 {
		t.Errorf("found are %v", got)
	}
}

// What happened to the nodes while a file was in the trash, it says when it is put back.
func TestWhatIsPutBackSaysWhatIsLeftOfIt(t *testing.T) {
	c := openKeeping(t, "", testKeep)
	f, lost, late := store(t, c, 2), store(t, c, 2), store(t, c, 2)
	for _, g := range []raid.File{f, lost, late} {
		must(t, c.Delete(bg, g.ID))
	}
	must(t, c.MarkBad(bg, f.ID, 0, 1, 1, 1))
	for stripe, p := int64(0), 1; p <= 2; p++ {
		must(t, c.MarkBad(bg, lost.ID, stripe, p, 1, 1))
		must(t, c.MarkBad(bg, lost.ID, stripe, p, 2, 2))
	}
	checkTotals(t, c)
	if repairs, err := c.Repairs(bg, raid.PartCursor{}, 10); err != nil || len(repairs) != 1 || repairs[0].File != f.ID {
		t.Errorf("of files in the trash are repaired %v, %v", repairs, err)
	}
	_, err := c.Undelete(bg, lost.ID)
	wants(t, err, raid.ErrConflict)
	_, err = c.Trashed(bg, lost.ID)
	must(t, err)
	back, err := c.Undelete(bg, f.ID)
	must(t, err)
	if !back.Degraded {
		t.Error("a file with a bad copy is not degraded")
	}
	repairs, err := c.Repairs(bg, raid.PartCursor{}, 10)
	must(t, err)
	if len(repairs) != 1 || repairs[0].File != f.ID {
		t.Errorf("to be repaired are %v", repairs)
	}
	// Stripe 0 part 1 is on n1 and n2 alone. Nothing is marked yet when both are removed.
	must(t, c.RemoveNode(bg, "n1", nil, nil))
	must(t, c.RemoveNode(bg, "n2", nil, nil))
	_, err = c.Undelete(bg, late.ID)
	wants(t, err, raid.ErrConflict)
	loseAll(t, c, 3)
	_, err = c.Undelete(bg, late.ID)
	wants(t, err, raid.ErrConflict)
	checkTotals(t, c)
	checkReach(t, c, rand.New(rand.NewPCG(5, 6)))
}

// A file in the trash is removed from nowhere, whoever asks for it.
func TestNoChunkOfAFileInTheTrashIsRemoved(t *testing.T) {
	c := openKeeping(t, "", testKeep)
	f := store(t, c, 1)
	used := firstCopy(t, c, f.ID)
	must(t, c.Delete(bg, f.ID))
	must(t, c.Record(bg, []raid.Removal{{Node: used.Node, Key: raid.ChunkKey{Upload: f.Upload, Part: 1, Attempt: used.Attempt}}}))
	sweepAll(t, c, 100)
	if n := sqlInt(t, c, "SELECT count(*) FROM removal"); n != 0 {
		t.Errorf("%d chunks of a file that can be put back are to be removed", n)
	}
}

// A copy that is made while the file is in the trash takes its place there, so that all of
// it can be put back. Of one that goes for good it comes to nothing.
func TestARepairUnderWayAndTheTrash(t *testing.T) {
	for _, then := range []string{"stays", "is put back", "goes"} {
		c := openKeeping(t, "", testKeep)
		f := store(t, c, 1)
		must(t, c.MarkBad(bg, f.ID, 0, 1, 1, 1))
		repairs, err := c.Repairs(bg, raid.PartCursor{}, 10)
		must(t, err)
		must(t, c.Delete(bg, f.ID))
		fresh := next(t, c, f.ID, 0, 1, 1, "n3")
		switch then {
		case "is put back":
			_, err := c.Undelete(bg, f.ID)
			must(t, err)
		case "goes":
			must(t, c.Purge(bg, f.ID))
		}
		err = c.ReplaceCopy(bg, f.ID, 0, 1, repairs[0].Part.Copies[0], fresh)
		checkTotals(t, c)
		checkReach(t, c, rand.New(rand.NewPCG(5, 6)))
		if then == "goes" {
			wants(t, err, raid.ErrPrecondition)
			_, err = c.NextAttempt(bg, f.ID, 0, 1, "n3")
			wants(t, err, raid.ErrNotFound)
			continue
		}
		must(t, err)
		g, err := c.Undelete(bg, f.ID)
		must(t, err)
		if g.Degraded {
			t.Errorf("the file %s, and is degraded with all its copies", then)
		}
		checkTotals(t, c)
	}
}

// Each call's answer is one that a model gives too, over restarts.
func TestTheStatesOfFilesAreThoseOfAModel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openKeeping(t, path, testKeep)
	const none, file, inTrash = 0, 1, 2
	model := map[raid.FileID]int{}
	rng := rand.New(rand.NewPCG(3, 4))
	for step := range 1500 {
		ids := slices.Sorted(maps.Keys(model))
		if len(ids) == 0 || rng.IntN(8) == 0 {
			model[store(t, c, 1+rng.Int64N(3)).ID] = file
			continue
		}
		id := ids[rng.IntN(len(ids))]
		want := error(nil)
		var err error
		switch rng.IntN(8) {
		case 0, 1:
			if err = c.Delete(bg, id); model[id] == file {
				model[id] = inTrash
			} else {
				want = raid.ErrNotFound
			}
		case 2, 3:
			if _, err = c.Undelete(bg, id); model[id] != none {
				model[id] = file
			} else {
				want = raid.ErrNotFound
			}
		case 4:
			if err = c.Purge(bg, id); model[id] == none {
				want = raid.ErrNotFound
			}
			model[id] = none
		case 5:
			if rng.IntN(10) == 0 {
				_, err = c.Discard(bg, raid.Discard{Until: c.Ran(), Limit: 1 << 20})
				for id, state := range model {
					if state == inTrash {
						model[id] = none
					}
				}
			}
		case 6:
			_, err = c.Sweep(bg, 1+rng.IntN(10))
		case 7:
			if rng.IntN(40) == 0 {
				must(t, c.Close())
				c = openKeeping(t, path, testKeep)
			}
		}
		if want == nil {
			must(t, err)
		} else {
			wants(t, err, want)
		}
		if step%50 == 0 {
			checkModel(t, c, model, file, inTrash)
		}
	}
	checkModel(t, c, model, file, inTrash)
}

func checkModel(t *testing.T, c *Catalog, model map[raid.FileID]int, file, inTrash int) {
	t.Helper()
	var files, trash []raid.FileID
	for _, id := range slices.Sorted(maps.Keys(model)) {
		switch model[id] {
		case file:
			files = append(files, id)
		case inTrash:
			trash = append(trash, id)
		}
	}
	var listed []raid.FileID
	for _, f := range listAll(t, c, raid.FileQuery{}) {
		listed = append(listed, f.ID)
	}
	if got := trashOf(t, c, raid.FileQuery{}); !slices.Equal(listed, files) || !slices.Equal(got, trash) {
		t.Fatalf("files %v, want %v; in the trash %v, want %v", listed, files, got, trash)
	}
	checkTotals(t, c)
	checkReach(t, c, rand.New(rand.NewPCG(5, 6)))
}

// Whatever Delete, Undelete and Purge have returned survives that every file forgets
// what was not flushed.
func TestTheTrashSurvivesAPowerCut(t *testing.T) {
	fs := newFaultFS(t)
	path := filepath.Join(t.TempDir(), "catalog.db")
	cfg := config(path)
	cfg.Keep = testKeep
	c := openWith(t, cfg, options{vfs: fs.name})
	files := storeMany(t, c, 40)
	var wg sync.WaitGroup
	for i, f := range files {
		wg.Go(func() {
			if err := c.Delete(bg, f.ID); err != nil {
				t.Error(err)
			}
			if i%3 == 1 {
				if _, err := c.Undelete(bg, f.ID); err != nil {
					t.Error(err)
				}
			} else if i%3 == 2 {
				if err := c.Purge(bg, f.ID); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	after := openKeeping(t, fs.powerCut(t, path), testKeep)
	for i, f := range files {
		_, err := after.File(bg, f.ID)
		_, inTrash := after.Trashed(bg, f.ID)
		if (err == nil) != (i%3 == 1) || (inTrash == nil) != (i%3 == 0) {
			t.Errorf("file %d after the cut: %v, in the trash: %v", i, err, inTrash)
		}
	}
	checkTotals(t, after)

	fs.failAt("-wal")
	_, err := c.Undelete(bg, files[0].ID)
	wants(t, err, raid.ErrCatalogBroken)
	wants(t, c.Purge(bg, files[0].ID), raid.ErrCatalogBroken)
	_, err = c.Discard(bg, raid.Discard{Limit: 1})
	wants(t, err, raid.ErrCatalogBroken)
	_, _, err = c.Oldest(bg)
	wants(t, err, raid.ErrCatalogBroken)
	wants(t, c.NoteRan(bg, 0), raid.ErrCatalogBroken)
	_, err = c.Trashed(bg, files[0].ID)
	wants(t, err, raid.ErrCatalogBroken)
	for _, err := range c.Trash(bg, raid.FileQuery{}) {
		wants(t, err, raid.ErrCatalogBroken)
	}
}
