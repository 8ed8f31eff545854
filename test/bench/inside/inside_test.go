package inside

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/catalog"
)

func TestTheRowsOfAFilledNodeAreThoseOfItsChunks(t *testing.T) {
	dir := t.TempDir()
	path, id := filepath.Join(dir, "catalog.db"), strings.Repeat("B", 22)
	chunks := filepath.Join(dir, "chunks")
	n, err := FillNode(t.Context(), path, makeDir(t, chunks), id, 1000)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(chunks, "??", "*"))
	if err != nil || n != 1000 || len(files) != n {
		t.Errorf("it says %d, and there are %d files, %v", n, len(files), err)
	}
	c, err := catalog.Open(t.Context(), catalog.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if s, err := c.Counts(t.Context()); err != nil || s.Files != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	rounds := 0
	err = ScrubAgainstCat(t.Context(), chunks, 2, func(bytes int64, scrubbed, catted time.Duration) {
		if rounds++; bytes < 1000*madePart || scrubbed <= 0 || catted <= 0 {
			t.Errorf("%d bytes in %v and %v", bytes, scrubbed, catted)
		}
	})
	if err != nil || rounds != 2 {
		t.Errorf("%d rounds, %v", rounds, err)
	}
}

func TestManyGrows(t *testing.T) {
	var all []Many
	err := MeasureMany(t.Context(), filepath.Join(t.TempDir(), "catalog.db"), 8, []int{400, 800}, func(m Many) { all = append(all, m) })
	if err != nil || len(all) != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	for i, m := range all {
		if m.Chunks != 400*(i+1) || m.Held < int64(m.Chunks/16) || m.Held > int64(m.Chunks/4) || m.Size == 0 {
			t.Errorf("%+v", m)
		}
	}
}

func makeDir(t *testing.T, path string) string {
	t.Helper()
	if err := os.Mkdir(path, 0o750); err != nil {
		t.Fatal(err)
	}
	return path
}
