package chunkstore_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/chunkstore/faultfs"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
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
	dir := t.TempDir()
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
	kit.Eventually(t, "the count is right", func() bool { return s.Stats().Chunks == n-999 })
	kit.Eventually(t, "the scan is done", func() bool { return s.Stats().Scanned })
	if got := s.Stats(); got.Chunks != n-999 || got.Corrupt != 0 {
		t.Fatalf("after the scan: %+v", got)
	}
	if got := list(t, s, 1000, 0, 10); !slices.Equal(got, names[1000:]) {
		t.Fatalf("%d names listed after 1000 deletions", len(got))
	}
}

// describe describes everything in pages.
func describe(t testing.TB, s *chunkstore.Store, page int) (all []raid.Listed) {
	t.Helper()
	var after raid.ChunkName
	for more := true; more; {
		var got []raid.Listed
		var err error
		if got, more, err = s.Describe(t.Context(), after, page, 0, 10); err != nil || more && len(got) == 0 {
			t.Fatalf("a page of %d after %q: %v", len(got), after, err)
		}
		for _, l := range got {
			after = l.Name
		}
		all = append(all, got...)
	}
	return all
}

// A listing says of each chunk what its trailer does, and of a rotten one that it is.
func TestAListingDescribesWhatTrailersSay(t *testing.T) {
	s, dir := newStore(t)
	want := map[raid.ChunkName]raid.Listed{}
	rotten := func(c testChunk) { want[c.name()] = raid.Listed{Name: c.name(), Described: true, Err: raid.ErrCorrupt} }
	for _, size := range []int{0, 1, 65_536, 200_000, 1 << 20} {
		c := newChunk(t, size, 1)
		write(t, s, c)
		want[c.name()] = raid.Listed{Name: c.name(), Described: true, Length: int64(size), CRC: c.crc()}
	}
	cut, flipped, found := newChunk(t, 300_000, 1), newChunk(t, 1000, 1), newChunk(t, 100_000, 1)
	for _, c := range []testChunk{cut, flipped, found} {
		write(t, s, c)
		rotten(c)
	}
	if err := os.Truncate(cut.path(dir), 250_000); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(flipped.path(dir))
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-40] ^= 1 // in the record
	b2, err := os.ReadFile(found.path(dir))
	if err != nil {
		t.Fatal(err)
	}
	b2[70_000] ^= 1 // in the payload: only who reads that can tell
	if err := errors.Join(os.WriteFile(flipped.path(dir), b, 0o640), os.WriteFile(found.path(dir), b2, 0o640)); err != nil {
		t.Fatal(err)
	}
	_, err = read(t.Context(), s, found)
	wantErr(t, err, raid.ErrCorrupt)

	for _, page := range []int{1, 3, 100} {
		left := maps.Clone(want)
		for _, got := range describe(t, s, page) {
			w := left[got.Name]
			delete(left, got.Name)
			if !got.Described || got.Length != w.Length || got.CRC != w.CRC || !errors.Is(got.Err, w.Err) {
				t.Errorf("described as %+v, want %+v", got, w)
			}
		}
		if len(left) > 0 {
			t.Errorf("in pages of %d: %d chunks are missing", page, len(left))
		}
	}
}

// What is written, removed, trashed and brought back is seen by the next page, although
// names of a directory are kept between pages.
func TestAListingSeesWhatChangesBetweenPages(t *testing.T) {
	s, dir := newStore(t)
	u := newChunk(t, 10, 1)
	at := func(stripe int64) testChunk { c := u; c.meta.Key.Stripe = stripe; return c }
	for _, i := range []int64{1, 3, 5, 7} {
		write(t, s, at(i))
	}
	kit.Eventually(t, "the scan is done", func() bool { return s.Stats().Scanned })
	page := func(after testChunk, want ...int64) {
		t.Helper()
		names := []raid.ChunkName{}
		for _, i := range want {
			names = append(names, at(i).name())
		}
		got, _, err := s.List(t.Context(), after.name(), 10, 0, 10)
		if err != nil || !slices.Equal(got, names) {
			t.Errorf("listed %v (%v), want stripes %v", got, err, want)
		}
	}
	page(at(1), 3, 5, 7)
	write(t, s, at(4))
	page(at(1), 3, 4, 5, 7)
	s.Delete(t.Context(), []raid.ChunkName{at(5).name()})
	page(at(3), 4, 7)
	s.Trash(t.Context(), []raid.ChunkName{at(4).name()}, time.Hour)
	page(at(1), 3, 7)
	mustRead(t, s, at(4)) // brings it back
	page(at(1), 3, 4, 7)
	page(at(0), 1, 3, 4, 7)
	if err := os.RemoveAll(filepath.Dir(at(1).path(dir))); err != nil {
		t.Fatal(err)
	}
	write(t, s, newChunk(t, 10, 2)) // somewhere else
	if got, _, err := s.Describe(t.Context(), at(3).name(), 10, 0, 2); err != nil || len(got) != 2 || !errors.Is(got[0].Err, raid.ErrNotFound) {
		t.Errorf("of a directory that somebody removed %+v is listed (%v)", got, err)
	}
	if got, _, err := s.List(t.Context(), "", 10, 0, 2); err != nil || len(got) != 0 {
		t.Errorf("of a directory that somebody removed %v is listed (%v)", got, err)
	}
}

// A directory is read once for a listing, however many pages it takes, and no page needs
// the others' directories.
func TestPagesDoNotReadDirectoriesAgain(t *testing.T) {
	s, f := newFaulty(t, chunkstore.Config{})
	u := newChunk(t, 10, 1)
	for i := range 60 { // fewer than those that have all directories made ahead
		c := u
		if i%3 == 0 {
			c = newChunk(t, 10, 1)
		}
		c.meta.Key.Stripe = int64(i)
		write(t, s, c)
	}
	kit.Eventually(t, "the scan is done", func() bool { return s.Stats().Scanned })
	opened := map[string]int{}
	f.OnCall(func(c faultfs.Call) error {
		if c.Op == faultfs.Open {
			opened[c.Path]++
		}
		return nil
	})
	if n := len(list(t, s, 2, 0, 10)); n != 60 {
		t.Fatalf("%d names", n)
	}
	for path, n := range opened {
		if n > 1 {
			t.Errorf("%s was read %d times", path, n)
		}
	}
}

// A disk that hangs costs one caller at a time, and the others are told at once.
func TestAListingOfADiskThatHangsKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFaulty(t, chunkstore.Config{})
		write(t, s, newChunk(t, 10, 1))
		time.Sleep(time.Minute)
		goOn := make(chan struct{})
		waiting := 0
		f.OnCall(func(c faultfs.Call) error {
			if c.Op == faultfs.Open {
				waiting++
				<-goOn
			}
			return nil
		})
		done := make(chan error, 3)
		go func() { _, _, err := s.List(t.Context(), "", 10, 0, 10); done <- err }()
		synctest.Wait()
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			go func() { _, _, err := s.Describe(ctx, "", 10, 0, 10); done <- err }()
		}
		time.Sleep(2 * time.Second)
		for range 2 {
			wantErr(t, <-done, context.DeadlineExceeded)
		}
		time.Sleep(time.Minute)
		_, _, err := s.List(t.Context(), "", 10, 0, 10)
		wantErr(t, err, raid.ErrBusy)
		if waiting != 1 {
			t.Errorf("%d callers wait for the disk", waiting)
		}
		close(goOn)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A page whose trailers take long ends early, and the next one goes on.
func TestAPageOfASlowDiskEndsEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newFaulty(t, chunkstore.Config{})
		for range 20 {
			write(t, s, newChunk(t, 10, 1))
		}
		time.Sleep(time.Minute)
		f.OnCall(func(c faultfs.Call) error {
			if c.Op == faultfs.Open && len(c.Path) > 2 {
				time.Sleep(500 * time.Millisecond)
			}
			return nil
		})
		began := time.Now()
		got, more, err := s.Describe(t.Context(), "", 20, 0, 10)
		if took := time.Since(began); err != nil || !more || len(got) < 4 || len(got) > 6 || took > 3*time.Second {
			t.Errorf("%d chunks after %v, more: %v (%v)", len(got), took, more, err)
		}
		if all := describe(t, s, 20); len(all) != 20 {
			t.Errorf("%d chunks in all pages", len(all))
		}
	})
}

// What can't be read is an error, never an absence.
func TestAListingFailsWithItsDisk(t *testing.T) {
	for _, op := range []faultfs.Op{faultfs.Open, faultfs.Read} {
		for _, prefix := range []string{"dir", "chunk"} {
			s, f := newFaulty(t, chunkstore.Config{})
			c := newChunk(t, 10, 1)
			write(t, s, c)
			kit.Eventually(t, "the scan is done", func() bool { return s.Stats().Scanned })
			f.OnCall(func(call faultfs.Call) error {
				if call.Op == op && (len(call.Path) > 2) == (prefix == "chunk") {
					return syscall.EIO
				}
				return nil
			})
			got, _, err := s.Describe(t.Context(), "", 10, 0, 10)
			switch {
			case prefix == "dir" && err == nil, prefix == "chunk" && (err != nil || len(got) != 1 || got[0].Err == nil || errors.Is(got[0].Err, raid.ErrNotFound)):
				t.Errorf("%s of a %s fails: %+v, %v", op, prefix, got, err)
			}
		}
	}
}

// What is told from one read of a file's end is what an open file tells, also where that
// read is not enough.
func TestTheEndOfAFileTellsWhatTheOpenFileDoes(t *testing.T) {
	s, dir := newStore(t)
	var all []testChunk
	for _, size := range []int{0, 1, 4000, 4096, 100_000, 70 << 20} { // the last one's record is longer than what is read
		c := newChunk(t, size, 1)
		write(t, s, c)
		all = append(all, c)
	}
	link := newChunk(t, 10, 1)
	link.meta.Key.Upload = all[1].meta.Key.Upload // in the same directory
	link.meta.Key.Attempt = 2
	if err := os.Symlink(all[1].path(dir), link.path(dir)); err != nil {
		t.Fatal(err)
	}
	got := map[raid.ChunkName]raid.Listed{}
	for _, l := range describe(t, s, 3) {
		got[l.Name] = l
	}
	for _, c := range all {
		if l := got[c.name()]; l.Err != nil || l.Length != c.meta.Length || l.CRC != c.crc() {
			t.Errorf("%d bytes: described as %+v", len(c.payload), l)
		}
	}
	if got[link.name()].Err == nil {
		t.Error("a symbolic link counts as a chunk")
	}
}
