package chunkstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/raid"
)

func TestListingIsInOrderAndFiltersByRun(t *testing.T) {
	s, dir := newStore(t)
	var all, second []raid.ChunkName
	for i := range 60 {
		c := newChunk(t, 10, uint32(1+i%3))
		for attempt := range 3 { // several in one directory
			c.meta.Key.Attempt = 1 + attempt
			write(t, s, c)
			all = append(all, c.name())
			if i%3 == 1 {
				second = append(second, c.name())
			}
		}
	}
	slices.Sort(all)
	slices.Sort(second)
	// What is not a chunk is not listed, wherever it lies.
	d := string(all[0][:2])
	for _, stray := range []string{"notes.txt", d + "/short", d + "/zz" + string(all[0][2:]), "lost+found", "tmp/" + string(all[0])} {
		if err := os.WriteFile(filepath.Join(dir, stray), nil, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.WriteLab(t.Context(), "labname", nil); err != nil {
		t.Fatal(err)
	}
	for _, page := range []int{1, 2, 7, 179, 180, 181, 1000} {
		if got := list(t, s, page, 0, 10); !slices.Equal(got, all) {
			t.Fatalf("in pages of %d: %d names, want %d in order", page, len(got), len(all))
		}
		if got := list(t, s, page, 2, 3); !slices.Equal(got, second) {
			t.Fatalf("run 2 in pages of %d: %d names, want %d in order", page, len(got), len(second))
		}
	}
	if got := list(t, s, 10, 4, 10); len(got) != 0 {
		t.Fatalf("runs that never were: %v", got)
	}
	// A listing may begin after a name that is there no more, or never was.
	for _, after := range []raid.ChunkName{"0", "zz", all[50][:2], all[50][:9], all[50] + "0", "~"} {
		want := all
		for len(want) > 0 && want[0] <= after {
			want = want[1:]
		}
		got, _, err := s.List(t.Context(), after, 1000, 0, 10)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("after %q: %d names, want %d (%v)", after, len(got), len(want), err)
		}
	}
	_, _, err := s.List(t.Context(), "", 0, 0, 10)
	wantErr(t, err, raid.ErrInvalid)
}

func TestTenThousandChunksAreCountedListedAndDeleted(t *testing.T) {
	dir, ok := smallDisk(t, "200m") // in memory: to make so many files takes a while
	if !ok {
		dir = t.TempDir()
	}
	const n = 10_000
	made := map[raid.ChunkName]bool{}
	for len(made) < n {
		upload := newChunk(t, 20, 1)
		for i := range 100 { // files of 100 stripes
			upload.meta.Key.Stripe = int64(i)
			b, err := chunkstore.EncodeChunk(upload.meta, upload.payload)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.MkdirAll(filepath.Dir(upload.path(dir)), 0o750), os.WriteFile(upload.path(dir), b, 0o640)); err != nil {
				t.Fatal(err)
			}
			made[upload.name()] = true
		}
	}

	// The store counts while its controller already writes and deletes.
	s := openStore(t, chunkstore.Config{FS: nosync{openDir(t, dir)}})
	extra := newChunk(t, 20, 1)
	write(t, s, extra)
	made[extra.name()] = true
	names := list(t, s, 1000, 0, 10)
	if len(names) != n+1 || !slices.IsSorted(names) {
		t.Fatalf("%d names listed, want %d in order", len(names), n+1)
	}
	for _, name := range names {
		if !made[name] {
			t.Fatalf("chunk %s was never written", name)
		}
	}
	for i, err := range s.Delete(t.Context(), names[:1000]) {
		if err != nil {
			t.Fatalf("delete %s: %v", names[i], err)
		}
	}
	eventually(t, "the count is right", func() bool { return s.Stats().Chunks == n-999 })
	eventually(t, "the scan is done", func() bool { return s.Stats().Scanned })
	if got := s.Stats(); got.Chunks != n-999 || got.Corrupt != 0 {
		t.Fatalf("after the scan: %+v", got)
	}
	if got := list(t, s, 1000, 0, 10); !slices.Equal(got, names[1000:]) {
		t.Fatalf("%d names listed after 1000 deletions", len(got))
	}
}
