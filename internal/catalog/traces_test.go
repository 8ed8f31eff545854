package catalog

import (
	"crypto/rand"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// stranger is an upload that no row has.
func stranger(t *testing.T) raid.UploadID {
	t.Helper()
	u, err := raid.NewUploadID(0, rand.Reader)
	must(t, err)
	return u
}

func TestAnUploadThatWasNeverFinishedHasNoTrace(t *testing.T) {
	c := openTest(t, "")
	store(t, c, 3)
	id, err := c.NextID(bg)
	must(t, err)
	found, err := c.Traces(bg, map[raid.UploadID][]raid.FileID{stranger(t): {id}, stranger(t): nil})
	must(t, err)
	if len(found) != 0 || c.Damaged() != nil {
		t.Errorf("%v, %v", found, c.Damaged())
	}
}

// What a node says of a file id is its word alone: its chunks stay, and the catalog is
// believed all the same.
func TestWhatANodeSaysOfAFileIDKeepsItsChunks(t *testing.T) {
	c := openTest(t, "")
	f := store(t, c, 1)
	ofAnother, unknown, both := stranger(t), stranger(t), stranger(t)
	found, err := c.Traces(bg, map[raid.UploadID][]raid.FileID{ofAnother: {f.ID}, unknown: {1 << 40}, both: {0, f.ID}})
	must(t, err)
	if found[ofAnother] == "" || found[unknown] == "" || found[both] == "" || c.Damaged() != nil {
		t.Errorf("%v, %v", found, c.Damaged())
	}
}

// An index that does not know what the table has, and parts without their file, are
// damage that the catalog shows by itself.
func TestAFileThatTheCatalogLostIsDamage(t *testing.T) {
	for name, lose := range map[string]func(*Catalog, raid.File) map[raid.UploadID][]raid.FileID{
		"the index does not have it, and the chunk names it": func(_ *Catalog, f raid.File) map[raid.UploadID][]raid.FileID {
			return map[raid.UploadID][]raid.FileID{f.Upload: {f.ID}}
		},
		"the index does not have it": func(_ *Catalog, f raid.File) map[raid.UploadID][]raid.FileID {
			return map[raid.UploadID][]raid.FileID{f.Upload: nil}
		},
		"its row is gone": func(c *Catalog, f raid.File) map[raid.UploadID][]raid.FileID {
			must(t, c.write(bg, &op{name: "test", rows: 1, run: func(t *tx) error {
				_, err := t.exec("DELETE FROM upload WHERE id = ?", int64(f.ID))
				return err
			}}))
			return map[raid.UploadID][]raid.FileID{f.Upload: nil}
		},
	} {
		c := openTest(t, "")
		for range 3 {
			store(t, c, 2)
		}
		claims := lose(c, store(t, c, 2))
		store(t, c, 1)
		found, err := c.Traces(bg, claims)
		wants(t, err, raid.ErrCorrupt)
		if c.Damaged() == nil || c.Vouched() == nil {
			t.Errorf("%s: %v, and the catalog does not count as damaged", name, found)
		}
		wants(t, c.Delete(bg, 1), raid.ErrCatalogDamaged)
	}
}

// Files are removed while their parts are compared with them.
func TestAFileThatIsRemovedMeanwhileIsNoDamage(t *testing.T) {
	c := openTest(t, "")
	for range 3 {
		store(t, c, 1)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		for range 60 {
			f := store(t, c, 1)
			if err := c.Delete(bg, f.ID); err != nil {
				t.Errorf("delete: %v", err)
			}
			for more := true; more; {
				var err error
				if more, err = c.Sweep(bg, 100); err != nil {
					t.Errorf("sweep: %v", err)
					return
				}
			}
		}
	}()
	for {
		if _, err := c.Traces(bg, nil); err != nil {
			t.Errorf("traces: %v", err)
		}
		select {
		case <-over:
			return
		default:
		}
		if t.Failed() {
			<-over
			return
		}
	}
}

// The sweep and the record of removals ask a second place before they give up a chunk.
func TestARottenIndexOrRecordRemovesNoFile(t *testing.T) {
	c := openTest(t, "")
	f := store(t, c, 1)
	wants(t, c.write(bg, &op{name: "test", rows: 1, run: func(t *tx) error { return t.isGoing(int64(f.ID)) }}), raid.ErrCorrupt)
	wants(t, c.write(bg, &op{name: "test", rows: 1, run: func(t *tx) error { return t.isTrashed(int64(f.ID), 1<<60) }}), raid.ErrCorrupt)

	used := firstCopy(t, c, f.ID)
	must(t, c.write(bg, &op{name: "test", rows: 1, run: func(t *tx) error {
		_, err := t.exec("INSERT INTO removal VALUES (?, ?, 0, 1, ?)", t.findNode(used.Node), f.Upload.String(), int64(used.Attempt))
		return err
	}}))
	removals, err := c.Removals(bg, used.Node, 10)
	wants(t, err, raid.ErrCorrupt)
	if len(removals) != 0 || c.Damaged() == nil {
		t.Errorf("%v are to be removed; damaged: %v", removals, c.Damaged())
	}
}
