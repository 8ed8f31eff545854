package catalog

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// stored are the files whose Finish returned.
type stored struct {
	mu    sync.Mutex
	files map[raid.FileID]raid.File
}

func (s *stored) add(f raid.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files == nil {
		s.files = map[raid.FileID]raid.File{}
	}
	s.files[f.ID] = f
}

func (s *stored) snapshot() map[raid.FileID]raid.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.files)
}

// checkWholeFiles checks that every file that is listed is whole, and that all of
// want are there.
func checkWholeFiles(t *testing.T, c *Catalog, want map[raid.FileID]raid.File) {
	t.Helper()
	found := map[raid.FileID]bool{}
	for _, f := range listAll(t, c, raid.FileQuery{}) {
		found[f.ID] = true
		parts, err := c.Parts(bg, f.ID, 0, f.Stripes)
		must(t, err)
		if err := checkAll(&f, parts); err != nil {
			t.Errorf("file %d is not whole: %v", f.ID, err)
		}
		for _, p := range parts {
			if len(p.Copies) != 2 {
				t.Errorf("file %d stripe %d part %d has copies %v", f.ID, p.Stripe, p.Number, p.Copies)
			}
		}
	}
	for id := range want {
		if !found[id] {
			t.Errorf("file %d was stored and is gone", id)
		}
	}
	checkTotals(t, c)
}

// Promise 1: whatever Finish has returned survives that every file forgets what
// was not flushed, at any moment.
func TestFinishedFilesSurviveAPowerCut(t *testing.T) {
	fs := newFaultFS(t)
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openWith(t, config(path), options{vfs: fs.name})
	var done stored
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for !isClosed(stop) {
				fin, err := makeFile(c, 2)
				if err != nil {
					t.Error(err)
					return
				}
				f, err := c.Finish(bg, fin)
				if err != nil {
					t.Error(err)
					return
				}
				done.add(f)
			}
		})
	}
	for cut := range 4 {
		for len(done.snapshot()) < 40*(cut+1) {
			yield()
		}
		acknowledged, commit := done.snapshot(), c.Commit()
		after := openTest(t, fs.powerCut(t, path))
		checkWholeFiles(t, after, acknowledged)
		if !after.Knows(commit) {
			t.Errorf("commit %d was forgotten", commit)
		}
		must(t, after.Close())
	}
	close(stop)
	wg.Wait()
}

// The second rule under the promises: after a COMMIT that failed nothing is
// written, nothing is taken for done or undone, and the next start believes what
// it reads.
func TestFailedCommitBreaksTheCatalogForGood(t *testing.T) {
	fs := newFaultFS(t)
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openWith(t, config(path), options{vfs: fs.name})
	old := store(t, c, 2)
	var fins []raid.FinishedUpload
	for range 10 {
		fins = append(fins, newFile(t, c, 1))
	}
	commit := c.Commit()
	fs.failAt("-wal")
	var wg sync.WaitGroup
	for _, fin := range fins {
		wg.Go(func() {
			if _, err := c.Finish(bg, fin); !errors.Is(err, raid.ErrCatalogBroken) {
				t.Errorf("a write that could not be flushed: %v", err)
			}
		})
	}
	wg.Wait()
	if !isClosed(c.Broken()) {
		t.Error("Broken is not closed")
	}
	if c.Commit() != commit {
		t.Errorf("commit went from %d to %d", commit, c.Commit())
	}
	fs.failAt("nothing fails any more")
	checkAllBroken(t, c, old)
	before := filesIn(t, filepath.Dir(path))
	must(t, c.Close())
	for name, b := range before {
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, b) {
			t.Errorf("%s was written after the failure: %v", name, err)
		}
	}
	c = openTest(t, path)
	checkWholeFiles(t, c, map[raid.FileID]raid.File{old.ID: old})
	store(t, c, 1)
}

func checkAllBroken(t *testing.T, c *Catalog, f raid.File) {
	t.Helper()
	_, err := c.NextID(bg)
	wants(t, err, raid.ErrCatalogBroken)
	_, err = c.File(bg, f.ID)
	wants(t, err, raid.ErrCatalogBroken)
	_, err = c.Counts(bg)
	wants(t, err, raid.ErrCatalogBroken)
	_, err = c.Nodes(bg)
	wants(t, err, raid.ErrCatalogBroken)
	_, err = c.Sweep(bg, 5)
	wants(t, err, raid.ErrCatalogBroken)
	wants(t, c.Delete(bg, f.ID), raid.ErrCatalogBroken)
	wants(t, c.SaveNode(bg, raid.NodeRecord{ID: "n1"}), raid.ErrCatalogBroken)
	_, err = c.Members(bg)
	wants(t, err, raid.ErrCatalogBroken)
	_, err = c.Join(bg, wish("n1", 1), raid.TokenUse{Token: "t", Uses: 1})
	wants(t, err, raid.ErrCatalogBroken)
	_, _, err = c.MarkLost(bg, raid.LostCursor{}, 5)
	wants(t, err, raid.ErrCatalogBroken)
	_, _, _, err = c.PartsOn(bg, []raid.NodeID{"n1"}, raid.PartCursor{}, 5)
	wants(t, err, raid.ErrCatalogBroken)
	_, _, _, _, err = c.CountOn(bg, []raid.NodeID{"n1"}, raid.PartCursor{}, 5)
	wants(t, err, raid.ErrCatalogBroken)
	_, _, _, err = c.Surpluses(bg, "n1", raid.SurplusCursor{}, 5)
	wants(t, err, raid.ErrCatalogBroken)
	_, err = c.SettleSurplus(bg, []raid.Settlement{{}})
	wants(t, err, raid.ErrCatalogBroken)
	wants(t, c.ReplaceLost(bg, f.ID, 0, 1, raid.Copy{}, raid.Copy{Attempt: 1}), raid.ErrCatalogBroken)
	wants(t, c.Begin(bg, raid.File{ID: 5}), raid.ErrCatalogBroken)
	for _, err := range c.Files(bg, raid.FileQuery{}) {
		wants(t, err, raid.ErrCatalogBroken)
	}
}

// filesIn are the contents of a folder's files; SQLite's shared memory is not
// on disk in any sense that counts.
func filesIn(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	must(t, err)
	out := map[string][]byte{}
	for _, n := range names {
		if filepath.Ext(n) == ".db-shm" {
			continue
		}
		b, err := os.ReadFile(n)
		must(t, err)
		out[n] = b
	}
	return out
}

// What was committed stays committed when moving it into the database fails, and
// the disk is not trusted any more.
func TestFailedCheckpointBreaksTheCatalogAndLosesNothing(t *testing.T) {
	fs := newFaultFS(t)
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openWith(t, config(path), options{vfs: fs.name, checkpoint: 40})
	fs.failAt(".db")
	done := map[raid.FileID]raid.File{}
	for !isClosed(c.Broken()) {
		fin, err := makeFile(c, 10)
		if errors.Is(err, raid.ErrCatalogBroken) {
			break
		}
		must(t, err)
		f, err := c.Finish(bg, fin)
		if errors.Is(err, raid.ErrCatalogBroken) {
			break
		}
		must(t, err)
		done[f.ID] = f
		if len(done) > 1000 {
			t.Fatal("the log is never emptied")
		}
	}
	must(t, c.Close())
	checkWholeFiles(t, openTest(t, path), done)
}

// What a run that was killed left in the log may not be on disk, although it is
// read from there; nothing must be added behind it.
func TestStartEmptiesTheLog(t *testing.T) {
	dir := t.TempDir()
	c := openTest(t, filepath.Join(dir, "catalog.db"))
	done := map[raid.FileID]raid.File{}
	for _, f := range storeMany(t, c, 2000) {
		done[f.ID] = f
	}
	left := t.TempDir()
	for name, b := range filesIn(t, dir) {
		must(t, os.WriteFile(filepath.Join(left, filepath.Base(name)), b, 0o600))
	}
	log := filepath.Join(left, "catalog.db-wal")
	before, err := os.Stat(log)
	must(t, err)
	checkWholeFiles(t, openTest(t, filepath.Join(left, "catalog.db")), done)
	after, err := os.Stat(log)
	must(t, err)
	if before.Size() < 100*4096 || after.Size() > 20*4096 {
		t.Errorf("the log had %d bytes and has %d after the start", before.Size(), after.Size())
	}
}

// The log does not grow for ever, also while someone reads all the time.
func TestLogStaysBounded(t *testing.T) {
	const pages = 8
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openWith(t, config(path), options{checkpoint: pages})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !isClosed(stop) {
				for _, err := range c.Files(bg, raid.FileQuery{Limit: 20}) {
					if err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for range 40 { // some 10 pages each
		if _, err := c.Finish(bg, newFile(t, c, 50)); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
	st, err := os.Stat(path + "-wal")
	must(t, err)
	// It is begun anew after a transaction, and each may have come to some more pages.
	if limit := int64((patience + 4) * pages * (4096 + 24)); st.Size() > limit {
		t.Errorf("the log has %d bytes, want at most %d", st.Size(), limit)
	}
}
