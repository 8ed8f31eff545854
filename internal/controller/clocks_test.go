package controller

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

var (
	epoch  = time.Unix(0, 0)
	future = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

// A Pi without a network starts in 1970 and one with a wrong one may be far
// ahead, and a card that was copied has the times of its copying.
func TestTheTimesOfFilesDecideNothing(t *testing.T) {
	for name, c := range map[string]struct{ catalog, chunks time.Time }{
		"all in 1970":                        {epoch, epoch},
		"all in the future":                  {future, future},
		"the catalog long before the chunks": {epoch, future},
		"the chunks long before the catalog": {future, epoch},
	} {
		t.Run(name, func(t *testing.T) {
			a := newArray(t, 3, nil)
			kept, deleted := randomBytes(600_000), randomBytes(600_000)
			keptID := a.upload(kept).ID
			chunks := []int{len(a.nodes[0].chunks()), len(a.nodes[1].chunks()), len(a.nodes[2].chunks())}
			deletedID := a.upload(deleted).ID

			// A removal is left for the next run, and an unfinished write.
			a.nodes[0].stop()
			a.eventually("a node is away", func() bool { return a.nodesIn(raid.Down) == 1 })
			if s := a.delete(deletedID); s != http.StatusOK {
				t.Fatalf("delete: status %d", s)
			}
			a.eventually("the other nodes have removed theirs", func() bool {
				return len(a.nodes[1].chunks()) == chunks[1] && len(a.nodes[2].chunks()) == chunks[2]
			})
			if len(a.nodes[0].chunks()) == chunks[0] {
				t.Fatal("nothing is left to be removed from the node that is away")
			}
			unfinished := filepath.Join(a.nodes[0].dir, "chunks", "tmp", "77")
			if err := os.WriteFile(unfinished, deleted[:1000], 0o600); err != nil {
				t.Fatal(err)
			}
			for _, n := range a.nodes[1:] {
				n.stop()
			}
			a.stopController()
			setTimes(t, filepath.Join(a.dir, "controller"), c.catalog)
			for _, n := range a.nodes {
				setTimes(t, n.dir, c.chunks)
			}

			a.startController()
			for _, n := range a.nodes {
				a.startNode(n, "")
			}
			a.awaitUp(3)
			a.mustEqual(keptID, kept)
			if s, _ := a.download(deletedID, ""); s != http.StatusNotFound {
				t.Errorf("the deleted file: status %d", s)
			}
			a.eventually("what is on record is removed, and nothing else", func() bool {
				return len(a.nodes[0].chunks()) == chunks[0]
			})
			if _, err := os.Stat(unfinished); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the unfinished write of an earlier run: %v", err)
			}
			i := a.upload(deleted)
			a.mustEqual(i.ID, deleted)
			if i.Degraded || a.info(keptID).Degraded {
				t.Errorf("degraded: the new file %v, the old one %v", i.Degraded, a.info(keptID).Degraded)
			}
			a.mustEqual(keptID, kept)
			if n, want := a.totalChunks(), 2*(chunks[0]+chunks[1]+chunks[2]); n != want {
				t.Errorf("%d chunks are on the nodes, want %d", n, want)
			}
		})
	}
}

// setTimes changes the times of everything below a folder, and its own.
func setTimes(t *testing.T, dir string, to time.Time) {
	t.Helper()
	changed := 0
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		changed++
		return os.Chtimes(path, to, to)
	})
	if err != nil || changed < 3 {
		t.Fatalf("set the times of %d files: %v", changed, err)
	}
}
