//go:build system

package chunkstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/raid"
)

// smallDisk is a tmpfs.
func smallDisk(t *testing.T, bytes string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+bytes); err != nil {
		t.Fatalf("mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestDiskThatFillsUpKeepsWhatItHas(t *testing.T) {
	dir := smallDisk(t, "4m")
	d := openDir(t, dir)
	s := openStore(t, chunkstore.Config{FS: lying{d}})
	var stored []testChunk
	for range 100 {
		c := newChunk(t, 150_000, 1)
		err := s.Write(t.Context(), c.meta, c.payload)
		if errors.Is(err, raid.ErrNoSpace) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, c)
	}
	if len(stored) < 20 || len(stored) > 28 {
		t.Fatalf("%d chunks of 150 kB on 4 MiB", len(stored))
	}
	left, err := os.ReadDir(filepath.Join(dir, "tmp"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind in tmp/: %v %v", left, err)
	}
	for _, c := range stored {
		mustRead(t, s, c)
	}
	if err := s.Delete(t.Context(), []raid.ChunkName{stored[0].name()})[0]; err != nil {
		t.Fatal(err)
	}
	c := newChunk(t, 140_000, 1)
	write(t, s, c)
	mustRead(t, s, c)
}
