package chunkstore_test

import (
	"path/filepath"
	"testing"
	"time"
)

func TestADiskInUseHasAllItsDirectories(t *testing.T) {
	s, dir := newStore(t)
	count := func() int {
		names, err := filepath.Glob(filepath.Join(dir, "??"))
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	for range 99 {
		write(t, s, newChunk(t, 10, 1))
	}
	if n := count(); n > 99 {
		t.Fatalf("%d directories for 99 chunks", n)
	}
	write(t, s, newChunk(t, 10, 1))
	for end := time.Now().Add(30 * time.Second); count() < 62*62; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d directories", count())
		}
	}
	c := newChunk(t, 1000, 1)
	write(t, s, c)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
