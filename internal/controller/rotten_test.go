package controller

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// rotCatalog flips a byte of an upload's id wherever a kind of SQLite's pages has it:
// 10 is an index's, 13 a table's.
func (a *array) rotCatalog(upload string, kind byte) {
	a.t.Helper()
	path := filepath.Join(a.dir, "controller", CatalogFile)
	b, err := os.ReadFile(path)
	if err != nil {
		a.t.Fatal(err)
	}
	found := false
	for page := 4096; page+4096 <= len(b); page += 4096 {
		for at := bytes.Index(b[page:page+4096], []byte(upload)); at >= 0 && b[page] == kind; at = bytes.Index(b[page:page+4096], []byte(upload)) {
			b[page+at+10] ^= 1
			found = true
		}
	}
	if !found {
		a.t.Fatal("the catalog does not have the upload's id")
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// The only evidence that an upload is a leftover is that the catalog does not know it.
func TestARottenByteInTheCatalogRemovesNoChunk(t *testing.T) {
	for name, kind := range map[string]byte{"in an index": 10, "in a table": 13} {
		t.Run(name, func(t *testing.T) {
			a := newArray(t, 3, nil)
			b := randomBytes(100_000)
			first, second := a.upload(b), a.upload(b)
			upload := a.info(first.ID).Part1Filenames[:22]
			a.stopController()
			chunks := a.totalChunks()
			a.rotCatalog(upload, kind)
			a.startController()
			a.awaitUp(3)
			var status struct {
				Ready   bool   `json:"ready"`
				Message string `json:"message"`
			}
			a.eventually("the damage is noticed", func() bool {
				a.getJSON("/status", &status)
				return !status.Ready
			})
			if !strings.Contains(status.Message, "catalog is damaged") || !strings.Contains(status.Message, "backup") {
				t.Errorf("status says %q", status.Message)
			}
			time.Sleep(time.Second) // leftovers are looked for as soon as nodes come
			if now := a.totalChunks(); now != chunks {
				t.Errorf("%d chunks of %d are left", now, chunks)
			}
			for _, id := range []int64{first.ID, second.ID, second.ID + 1} {
				if s, got := a.download(id, ""); s == http.StatusNotFound || s == http.StatusOK && !bytes.Equal(got, b) {
					t.Errorf("file %d: status %d", id, s)
				}
			}
			if s, _ := a.tryUpload(bytes.NewReader(b)); s != http.StatusServiceUnavailable {
				t.Errorf("upload: status %d", s)
			}
			if s := a.delete(second.ID); s != http.StatusServiceUnavailable {
				t.Errorf("delete: status %d", s)
			}
			if kind == 10 { // tables say all that indexes say
				a.mustEqual(first.ID, b)
				a.stopController()
				cfg := Config{StateDir: filepath.Join(a.dir, "controller"), Log: a.log}
				if err := RebuildCatalog(t.Context(), cfg); err != nil {
					t.Fatal(err)
				}
				a.startController()
				a.awaitUp(3)
				a.mustEqual(first.ID, b)
				a.upload(b)
			}
		})
	}
}
