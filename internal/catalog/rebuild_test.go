package catalog

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// What an index says is said by its table, too.
func TestACatalogWithARottenIndexIsRebuiltWithoutLoss(t *testing.T) {
	path, files := bigCatalog(t)
	pages := pagesOf(t, path, "sqlite_autoindex_upload_1")
	flip(t, path, pages[len(pages)/2], 500)
	flip(t, path, pages[0], 100)
	damagedFile, err := os.ReadFile(path)
	must(t, err)
	must(t, Rebuild(bg, config(path)))
	kept, err := os.ReadFile(path + ".damaged1")
	must(t, err)
	if !bytes.Equal(kept, damagedFile) {
		t.Error("what it was is not kept")
	}
	c := openTest(t, path)
	must(t, awaitVouched(t, c))
	checkWholeFiles(t, c, files)
	var ids []raid.UploadID
	for _, f := range files {
		ids = append(ids, f.Upload)
	}
	unknown, err := c.UnknownUploads(bg, ids)
	must(t, err)
	if len(unknown) > 0 {
		t.Errorf("%d uploads are unknown", len(unknown))
	}
	store(t, c, 1)
	must(t, c.Close())
	checkSeals(t, path)
}

// Files would be lost, and their chunks taken for leftovers.
func TestACatalogThatLostRowsIsNotRebuilt(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, path string, files map[raid.FileID]raid.File){
		"a rotten table": func(t *testing.T, path string, _ map[raid.FileID]raid.File) {
			pages := pagesOf(t, path, "chunk")
			flip(t, path, pages[0], 500)
		},
		"an index that says otherwise": func(t *testing.T, path string, files map[raid.FileID]raid.File) {
			for _, f := range files {
				renameIn(t, path, "upload", f.Upload)
				return
			}
		},
		"a damaged log": func(t *testing.T, path string, _ map[raid.FileID]raid.File) {
			k := newCut(t)
			log := k.log
			log[logHeader+k.ends[3]*frameSize+1000] ^= 1
			for _, end := range []string{"", "-wal"} {
				b, err := os.ReadFile(k.path() + end)
				must(t, err)
				must(t, os.WriteFile(path+end, b, 0o600))
			}
			must(t, os.WriteFile(path+"-wal", log, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, files := bigCatalog(t)
			harm(t, path, files)
			before := filesIn(t, filepath.Dir(path))
			err := Rebuild(bg, config(path))
			wants(t, err, ErrRefused)
			wants(t, err, raid.ErrCorrupt)
			for file, b := range filesIn(t, filepath.Dir(path)) {
				if filepath.Ext(file) == ".db" && !bytes.Equal(b, before[file]) {
					t.Errorf("%s was changed", file)
				}
			}
			if exists(path + ".damaged1") {
				t.Error("it was put aside")
			}
		})
	}
}
