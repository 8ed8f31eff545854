//go:build system

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/raidpi/raidpi/test/cluster"
)

// smallDisks mounts a tmpfs of so many bytes for each node\'s chunks.
func smallDisks(t *testing.T, dir string, bytes int64, nodes int) {
	t.Helper()
	for i := range nodes {
		chunks := filepath.Join(dir, fmt.Sprintf("node%d", i+1), "chunks")
		if err := os.MkdirAll(chunks, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mount("tmpfs", chunks, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
			t.Fatalf("mount a tmpfs: %v", err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(chunks, syscall.MNT_DETACH); err != nil {
				t.Errorf("unmount %s: %v", chunks, err)
			}
		})
	}
}

// TestFullNodeIsPassedOver fills one node's disk and then all of them.
func TestFullNodeIsPassedOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	smallDisks(t, dir, 24*mib, 4)
	a := start(t, cluster.Config{Dir: dir, Nodes: 4, Bin: programs.race})

	// One disk fills behind the controller's back.
	filler := filepath.Join(a.ChunkDir(0), "filler")
	a.must(fill(filler))
	stored := map[int64]cluster.Content{}
	for range 8 {
		c := content(mib)
		created := a.upload(c)
		if created.Degraded {
			t.Error("one of four disks is full and a file is stored degraded")
		}
		stored[created.ID] = c
	}
	if chunks, err := a.Chunks(0); err != nil || len(chunks) != 0 {
		t.Errorf("the full disk holds %d chunks (%v)", len(chunks), err)
	}
	a.must(os.Remove(filler))

	// All fill with files.
	full := false
	for range 200 {
		c := content(mib)
		created, err := a.API.Upload(t.Context(), "filling", c.Reader(), c.Size)
		if err != nil {
			if cluster.Status(err) != 507 {
				t.Errorf("upload to a full array: %v, want status 507", err)
			}
			full = true
			break
		}
		stored[created.ID] = c
	}
	if !full {
		t.Fatalf("an array of four disks of 24 MiB took %d MiB", len(stored))
	}
	for id, c := range stored {
		a.check(id, c)
	}
	for id := range stored { // deletes still work, and make room
		a.must(a.API.Delete(t.Context(), id))
	}
	a.becomesWhole()
	a.eventually("there is room again", settled, func() error {
		_, err := a.API.Upload(t.Context(), "again", content(mib).Reader(), mib)
		return err
	})
}

// fill writes a file until the disk is full.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for size := mib; size >= 512; size /= 2 {
		for {
			if _, err := f.Write(make([]byte, size)); err != nil {
				break // full for pieces of this size
			}
		}
	}
	return nil
}
