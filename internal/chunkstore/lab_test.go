package chunkstore_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

func TestLabChunksLieApart(t *testing.T) {
	dir := t.TempDir()
	c := newChunk(t, 100, 1)
	withStore(t, dir, func(s *chunkstore.Store) {
		_, err := s.ReadLab(t.Context(), "abc")
		wantErr(t, err, raid.ErrNotFound)
		// A lab chunk that looks like one of ours is none.
		if err := s.WriteLab(t.Context(), string(c.name()), []byte("lab")); err != nil {
			t.Fatal(err)
		}
		_, err = read(t.Context(), s, c)
		wantErr(t, err, raid.ErrNotFound)
		write(t, s, c)
		for _, content := range []string{"first", "", "the third is longer"} {
			if err := s.WriteLab(t.Context(), "abc", []byte(content)); err != nil {
				t.Fatal(err)
			}
			b, err := s.ReadLab(t.Context(), "abc")
			if err != nil || string(b.Bytes()) != content {
				t.Fatalf("lab chunk %q reads wrong: %v", content, err)
			}
			b.Release()
		}
	})
	withStore(t, dir, func(s *chunkstore.Store) {
		b, err := s.ReadLab(t.Context(), string(c.name()))
		if err != nil || string(b.Bytes()) != "lab" {
			t.Fatalf("lab chunk reads wrong after a restart: %v", err)
		}
		b.Release()
		mustRead(t, s, c)
		if got := list(t, s, 10, 0, 10); len(got) != 1 {
			t.Fatalf("listed %v", got)
		}
		kit.Eventually(t, "lab chunks do not count", func() bool { return s.Stats().Chunks == 1 })
	})
	file, err := os.ReadFile(filepath.Join(dir, "lab", "ab", "abc"))
	if err != nil || string(file) != "the third is longer" {
		t.Fatalf("on disk: %q, %v", file, err)
	}
}

func TestLabChunksAreReadIntoTheBudget(t *testing.T) {
	pool := budget.New(1 << 20)
	dir := t.TempDir()
	s := openStore(t, chunkstore.Config{FS: openDir(t, dir), Pool: pool})
	if err := s.WriteLab(t.Context(), "abc", bytes.Repeat([]byte{7}, 1<<20)); err != nil {
		t.Fatal(err)
	}
	b, err := s.ReadLab(t.Context(), "abc")
	if err != nil || pool.InUse() != 1<<20 {
		t.Fatalf("%d bytes in use, %v", pool.InUse(), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = s.ReadLab(ctx, "abc")
	wantErr(t, err, context.DeadlineExceeded)
	b.Release()

	if err := os.Truncate(filepath.Join(dir, "lab", "ab", "abc"), 1<<30+1); err != nil {
		t.Fatal(err)
	}
	_, err = s.ReadLab(t.Context(), "abc")
	wantErr(t, err, raid.ErrTooLarge)
	if pool.InUse() != 0 {
		t.Errorf("%d bytes are still in use", pool.InUse())
	}
}

func TestKilledLabWriteLeavesTheOldChunk(t *testing.T) {
	s, f := newFaulty(t, chunkstore.Config{})
	if err := s.WriteLab(t.Context(), "abc", []byte("old")); err != nil {
		t.Fatal(err)
	}
	f.CutPowerBefore(3)
	if err := s.WriteLab(t.Context(), "abc", []byte("new")); !errors.Is(err, raid.ErrReadOnly) {
		t.Fatal(err)
	}
}
