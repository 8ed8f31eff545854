package e2e

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/raidpi/raidpi/test/cluster"
)

// damage does what happens to chunk files on old cards. Each gets the paths of two chunks of
// different files and damages the first.
var damage = map[string]func(path, other string) error{
	"a bit flips in the payload":      func(path, _ string) error { return flip(path, 0.3) },
	"a bit flips in the trailer":      func(path, _ string) error { return flip(path, 1) },
	"the file is cut short":           func(path, _ string) error { return os.Truncate(path, 100_000) },
	"the file is empty":               func(path, _ string) error { return os.Truncate(path, 0) },
	"the file is gone":                func(path, _ string) error { return os.Remove(path) },
	"another valid chunk is in place": replaceBy,
}

// flip changes one bit at a place from 0, the first byte, to 1, the last.
func flip(path string, where float64) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[int(where*float64(len(b)-1))] ^= 1
	return os.WriteFile(path, b, 0o644)
}

func replaceBy(path, other string) error {
	b, err := os.ReadFile(other)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// chunkFile finds a chunk on the nodes' disks.
func (a *array) chunkFile(name string) string {
	a.t.Helper()
	for i := range a.Nodes {
		chunks, err := a.Chunks(i)
		a.must(err)
		if path, ok := chunks[name]; ok {
			return path
		}
	}
	a.t.Fatalf("chunk %s is on no disk", name)
	return ""
}

// What rots on a disk is never served, and is made anew from the other copy.
func TestRottenChunkIsNeverServedAndReplaced(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 4, Bin: programs.race})
	other, err := a.API.Info(t.Context(), a.upload(content(3*mib)).ID)
	a.must(err)
	for what, happen := range damage {
		c := content(3 * mib)
		id := a.upload(c).ID
		info, err := a.API.Info(t.Context(), id)
		a.must(err)
		rotten := []string{info.Part1[0], info.Part2[1]}
		for _, name := range rotten {
			a.must(happen(a.chunkFile(name), a.chunkFile(other.Part1[0])))
		}
		a.eventually(what+": the copies are replaced", settled, func() error {
			a.check(id, c) // reads a random copy each time
			return a.replaced(id, rotten...)
		})
		for range 4 {
			a.check(id, c)
		}
	}
	a.becomesWhole()
}

// replaced tells whether the file is made of other chunks than these.
func (a *array) replaced(id int64, names ...string) error {
	info, err := a.API.Info(a.t.Context(), id)
	if err != nil {
		return err
	}
	for _, name := range names {
		if slices.Contains(info.Part1, name) || slices.Contains(info.Part2, name) {
			return fmt.Errorf("chunk %s is still part of file %d", name, id)
		}
	}
	return nil
}
