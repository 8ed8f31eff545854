package chunkstore_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/chunkstore/faultfs"
)

func TestHighestCommitIsKnownAtOnceAfterARestart(t *testing.T) {
	dir := t.TempDir()
	withStore(t, dir, func(s *chunkstore.Store) {
		write(t, s, newChunk(t, 100, 1))
		s.SawCommit(99)
		s.SawCommit(42)
	})
	withStore(t, dir, func(s *chunkstore.Store) {
		s.SawCommit(120)
		if st := s.Stats(); st.HighestCommit != 120 || st.FoundCommit != 99 {
			t.Fatalf("commits seen and found: %d and %d, want 120 and 99", st.HighestCommit, st.FoundCommit)
		}
	})
	withStore(t, dir, func(s *chunkstore.Store) {
		if n := s.Stats().HighestCommit; n != 120 {
			t.Fatalf("highest commit %d, want 120", n)
		}
	})
	// A bit that flips in it must not stop the array.
	path := filepath.Join(dir, "raid-node.commit")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		rotten := append([]byte{}, b...)
		rotten[i] ^= 1
		if err := os.WriteFile(path, rotten, 0o640); err != nil {
			t.Fatal(err)
		}
		d := openDir(t, dir)
		s := openStore(t, chunkstore.Config{FS: d})
		eventually(t, "the scan is done", func() bool { return s.Stats().Scanned })
		if n := s.Stats().HighestCommit; n != 17 {
			t.Fatalf("highest commit %d with byte %d flipped, want the trailer's 17", n, i)
		}
		s.Close()
		d.Close()
	}
}

func TestIdleStoreWritesNothing(t *testing.T) {
	dir := t.TempDir()
	withStore(t, dir, func(s *chunkstore.Store) {
		for range 20 {
			write(t, s, newChunk(t, 3000, 1))
		}
	})
	f, err := faultfs.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := openStore(t, chunkstore.Config{FS: f})
	f.OnCall(func(c faultfs.Call) error {
		if c.Op != faultfs.Open && c.Op != faultfs.Read {
			t.Errorf("an idle store does: %s %s", c.Op, c.Path)
		}
		return nil
	})
	eventually(t, "the scan is done", func() bool { return s.Stats().Scanned })
	for range 20 {
		s.SawCommit(uint64(time.Now().UnixNano()))
		s.Stats()
		list(t, s, 10, 0, 10)
		time.Sleep(10 * time.Millisecond)
	}
	f.OnCall(nil)
}
