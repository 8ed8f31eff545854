package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/raidpi/raidpi/test/cluster"
)

// Half of what a node holds is gone when it starts, and some of the rest is damaged.
// Nobody reads a file, and all the same everything is on two nodes again.
func TestAWipedChunkFolderIsNoticedAndFilledAgain(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 3, Bin: programs.race})
	stored := map[int64]cluster.Content{}
	for i := range 20 {
		c := content(int64(i) * 20_000)
		stored[a.upload(c).ID] = c
	}
	c := content(9 * mib)
	stored[a.upload(c).ID] = c

	a.must(a.Nodes[0].Kill())
	chunks, err := a.Chunks(0)
	a.must(err)
	i := 0
	for _, path := range chunks {
		switch {
		case i%2 == 0:
			a.must(os.Remove(path))
		case i == 1:
			a.must(os.Truncate(path, 10))
		case i == 3:
			a.must(flip(path, 1)) // the trailer
		}
		i++
	}
	if i < 20 {
		t.Fatalf("the node holds %d chunks: too few to wipe", i)
	}
	a.must(a.Nodes[0].Start())
	a.eventually("what is gone is made again", settled, func() error {
		now, err := a.Chunks(0)
		if err == nil && len(now) < i/4 {
			err = errors.New("the node was not filled again")
		}
		return errors.Join(err, a.whole())
	})
	a.must(a.AllExplained(t.Context()))
	for id, c := range stored {
		a.check(id, c)
	}
}

// A node's folder is put back from an old copy: what was stored since is made again, and
// what was deleted since goes.
func TestAnOldCopyOfAChunkFolderIsPutBack(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 3, Bin: programs.race})
	stored := map[int64]cluster.Content{}
	store := func() (ids []int64) {
		for i := range 12 {
			c := content(int64(i) * 20_000)
			id := a.upload(c).ID
			stored[id] = c
			ids = append(ids, id)
		}
		return ids
	}
	old := store()
	a.must(errors.Join(a.Controller.Kill(), a.Controller.Start())) // what follows is of another run
	a.must(a.WaitReady(t.Context(), 3))
	a.becomesWhole()

	backup := filepath.Join(t.TempDir(), "chunks")
	a.must(a.Nodes[0].Kill())
	a.must(os.CopyFS(backup, os.DirFS(a.ChunkDir(0))))
	before, err := a.Chunks(0)
	a.must(err)
	a.must(a.Nodes[0].Start())
	a.must(a.WaitReady(t.Context(), 3))
	for _, id := range old[:6] {
		a.must(a.API.Delete(t.Context(), id))
		delete(stored, id)
	}
	store()
	a.becomesWhole()

	a.must(a.Nodes[0].Kill())
	a.must(errors.Join(os.RemoveAll(a.ChunkDir(0)), os.CopyFS(a.ChunkDir(0), os.DirFS(backup))))
	if back, err := a.Chunks(0); err != nil || len(back) != len(before) {
		t.Fatalf("%d chunks are back of %d (%v)", len(back), len(before), err)
	}
	a.must(a.Nodes[0].Start())
	a.becomesWhole()
	a.must(a.AllExplained(t.Context()))
	now, err := a.Chunks(0)
	a.must(err)
	kept := 0
	for name := range before {
		if _, there := now[name]; there {
			kept++
		}
	}
	if kept == 0 {
		t.Error("what was good in the old copy was not used")
	}
	ids := []int64{}
	for id, c := range stored {
		ids = append(ids, id)
		a.check(id, c)
	}
	if slices.Contains(ids, old[0]) || len(ids) != 18 {
		t.Errorf("files %v are left", ids)
	}
}
