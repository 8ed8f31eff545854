package chunkstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/chunkstore/faultfs"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

const day = 24 * time.Hour

// trash moves chunks to the trash for a day.
func trash(t testing.TB, s *chunkstore.Store, chunks ...testChunk) {
	t.Helper()
	for _, c := range chunks {
		if err := s.Trash(t.Context(), []raid.ChunkName{c.name()}, day)[0]; err != nil {
			t.Fatal(err)
		}
	}
}

// trashed is what Stats says of the trash.
func trashed(s *chunkstore.Store) int64 { return s.Stats().TrashChunks }

// trashFiles counts the files in the trash of a directory.
func trashFiles(t testing.TB, dir string) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "trash", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

func TestAChunkOfTheTrashComesBackWhenItIsAskedFor(t *testing.T) {
	s, _ := newStore(t)
	kit.Eventually(t, "the scan is done", func() bool { return s.Stats().Scanned })
	got, verified, other, kept := newChunk(t, 200_000, 1), newChunk(t, 0, 1), newChunk(t, 100, 1), newChunk(t, 10, 1)
	for _, c := range []testChunk{got, verified, other, kept} {
		write(t, s, c)
	}
	trash(t, s, got, verified, other)
	trash(t, s, got) // once more is as good
	if names := list(t, s, 10, 0, 10); len(names) != 1 || names[0] != kept.name() {
		t.Errorf("listed are %v", names)
	}
	if st := s.Stats(); st.Chunks != 1 || st.TrashChunks != 3 || st.TrashBytes < 200_100 {
		t.Errorf("%+v", st)
	}
	// Another chunk than the catalog's stays where it is.
	wantErr(t, s.Verify(t.Context(), other.name(), 100, other.crc()+1), raid.ErrNotFound)
	wantErr(t, s.Verify(t.Context(), other.name(), 99, other.crc()), raid.ErrNotFound)
	if _, err := s.Meta(t.Context(), other.name()); !errors.Is(err, raid.ErrNotFound) {
		t.Errorf("its trailer reads %v", err)
	}
	wantErr(t, s.Write(t.Context(), other.meta, other.payload), raid.ErrInvalid) // a Store that was under way

	mustRead(t, s, got)
	if err := s.Verify(t.Context(), verified.name(), 0, verified.crc()); err != nil {
		t.Errorf("verify: %v", err)
	}
	if st := s.Stats(); st.Chunks != 3 || st.TrashChunks != 1 {
		t.Errorf("after two came back: %+v", st)
	}
	if names := list(t, s, 10, 0, 10); len(names) != 3 {
		t.Errorf("listed are %v", names)
	}
	// What is back can go again, and what is deleted does not come back.
	trash(t, s, got)
	for _, c := range []testChunk{got, other, verified} {
		if err := s.Delete(t.Context(), []raid.ChunkName{c.name()})[0]; err != nil {
			t.Errorf("delete: %v", err)
		}
		wantErr(t, s.Verify(t.Context(), c.name(), int64(len(c.payload)), c.crc()), raid.ErrNotFound)
	}
	wantErr(t, s.Trash(t.Context(), []raid.ChunkName{got.name()}, day)[0], raid.ErrNotFound)
	if st := s.Stats(); st.Chunks != 1 || st.TrashChunks != 0 || st.TrashBytes != 0 {
		t.Errorf("at the end: %+v", st)
	}
}

func TestTheTrashIsEmptiedAfterItsTimeInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c, later := newChunk(t, 5000, 1), newChunk(t, 10, 1)
		withStore(t, dir, func(s *chunkstore.Store) {
			write(t, s, c)
			write(t, s, later)
			time.Sleep(3 * day) // before there is trash, no time counts
			trash(t, s, c)
			time.Sleep(12 * time.Hour)
		})
		time.Sleep(30 * day) // it is not in use
		withStore(t, dir, func(s *chunkstore.Store) {
			time.Sleep(time.Second)
			if trashed(s) != 1 || trashFiles(t, dir) != 1 {
				t.Errorf("after 12 hours of use: %d chunks in the trash", trashed(s))
			}
			trash(t, s, later)
			time.Sleep(11*time.Hour + 50*time.Minute)
			if trashed(s) != 2 {
				t.Errorf("shortly before its time: %d chunks in the trash", trashed(s))
			}
			time.Sleep(2 * time.Hour)
			if trashed(s) != 1 || trashFiles(t, dir) != 1 {
				t.Errorf("after its time: %d chunks in the trash, %d files", trashed(s), trashFiles(t, dir))
			}
			time.Sleep(12 * time.Hour)
			if left, err := os.ReadDir(filepath.Join(dir, "trash")); trashed(s) != 0 || len(left) != 0 || err != nil {
				t.Errorf("after all time: %d chunks in the trash; %v, %v", trashed(s), left, err)
			}
			wantErr(t, s.Verify(t.Context(), c.name(), 5000, c.crc()), raid.ErrNotFound)
		})
	})
}

// A Pi that is only ever unplugged makes headway all the same, and a rotten record of
// the time costs a day and no chunk.
func TestTheTrashOutlivesKillsAndARottenRecordOfItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		c := newChunk(t, 5000, 1)
		withStore(t, dir, func(s *chunkstore.Store) { write(t, s, c); trash(t, s, c) })
		kill := func(after time.Duration) {
			f, err := faultfs.New(dir)
			if err != nil {
				t.Fatal(err)
			}
			s, err := chunkstore.Open(chunkstore.Config{FS: f})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(after)
			f.OnCall(func(faultfs.Call) error { return faultfs.ErrPower }) // it writes nothing at its end
			s.Close()
			f.Close()
		}
		for range 12 { // each tells of an hour
			kill(time.Hour + 5*time.Minute)
			if trashFiles(t, dir) != 1 {
				t.Fatal("the chunk went too early")
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "raid-node.trash"), []byte("99999999 00000000\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 23 {
			kill(time.Hour + 5*time.Minute)
			if trashFiles(t, dir) != 1 {
				t.Fatal("the chunk went too early after its time was forgotten")
			}
		}
		for range 4 {
			kill(time.Hour + 5*time.Minute)
		}
		if trashFiles(t, dir) != 0 {
			t.Error("the chunk is still there")
		}
	})
}

func TestTheTrashMakesRoomForChunks(t *testing.T) {
	s, f := newFaulty(t, chunkstore.Config{Reserve: 1 << 20})
	var chunks []testChunk
	for range 4 {
		chunks = append(chunks, newChunk(t, 200<<10, 1))
		write(t, s, chunks[len(chunks)-1])
	}
	if err := s.Trash(t.Context(), []raid.ChunkName{chunks[0].name()}, time.Hour)[0]; err != nil {
		t.Fatal(err)
	}
	trash(t, s, chunks[1:3]...)
	full := int64(1<<20 + 1000)
	f.SetUsage(&chunkstore.Usage{Total: 10 << 20, Free: full})
	kit.Eventually(t, "the trash counts as free", func() bool { return s.Stats().FreeBytes == s.Stats().TrashBytes+1000 })
	write(t, s, newChunk(t, 150<<10, 1))
	if n := trashed(s); n != 2 {
		t.Errorf("%d chunks are left in the trash, want 2", n)
	}
	wantErr(t, s.Verify(t.Context(), chunks[0].name(), 200<<10, chunks[0].crc()), raid.ErrNotFound) // the first to go
	mustRead(t, s, chunks[1])
	mustRead(t, s, chunks[3])
	// What no trash can make room for leaves none behind, and is refused.
	f.SetUsage(&chunkstore.Usage{Total: 10 << 20, Free: 1000})
	time.Sleep(30 * time.Millisecond)
	next := newChunk(t, 300<<10, 1)
	wantErr(t, s.Write(t.Context(), next.meta, next.payload), raid.ErrNoSpace)
	mustRead(t, s, chunks[3])
}

func TestAnIdleStoreWithoutTrashWritesNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		f, err := faultfs.New(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		s, err := chunkstore.Open(chunkstore.Config{FS: f})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		c := newChunk(t, 10, 1)
		write(t, s, c)
		time.Sleep(time.Minute)
		var writes atomic.Int64
		f.OnCall(func(c faultfs.Call) error {
			if c.Op != faultfs.Open && c.Op != faultfs.Read {
				writes.Add(1)
			}
			return nil
		})
		time.Sleep(10 * day)
		if n := writes.Load(); n != 0 {
			t.Errorf("an idle store without trash did %d changes in ten days", n)
		}
		trash(t, s, c)
		writes.Store(0)
		time.Sleep(2 * time.Hour)
		if n := writes.Load(); n == 0 || n > 12*8 {
			t.Errorf("a store with trash did %d changes in two hours", n)
		}
	})
}

// Cuts at any step of a move leave the chunk in one place or the other.
func TestPowerCutAtAnyStepOfTheTrashLosesNoChunk(t *testing.T) {
	for name, loss := range map[string]func(n int) faultfs.Loss{
		"everything lost": func(int) faultfs.Loss { return faultfs.Everything() },
		"some lost":       func(n int) faultfs.Loss { return faultfs.Some(uint64(n)) },
	} {
		t.Run(name, func(t *testing.T) {
			for n, off := 1, true; off; n++ {
				dir := t.TempDir()
				moved, back, still := newChunk(t, 100, 1), newChunk(t, 200, 1), newChunk(t, 300, 1)
				withStore(t, dir, func(s *chunkstore.Store) {
					for _, c := range []testChunk{moved, back, still} {
						write(t, s, c)
					}
					trash(t, s, back, still)
				})
				acknowledged := false
				off = cutAt(t, dir, n, loss(n), func(s *chunkstore.Store) {
					acknowledged = s.Trash(t.Context(), []raid.ChunkName{moved.name()}, day)[0] == nil
					_ = s.Verify(t.Context(), back.name(), 200, back.crc())
				})
				withStore(t, dir, func(s *chunkstore.Store) {
					if acknowledged && slices.Contains(list(t, s, 10, 0, 10), moved.name()) {
						t.Errorf("step %d: a chunk whose move was acknowledged is listed", n)
					}
					for _, c := range []testChunk{moved, back, still} {
						mustRead(t, s, c)
					}
				})
				if t.Failed() {
					t.Fatalf("after a power cut before step %d", n)
				}
			}
		})
	}
}

// cutAt opens a store, does something, and cuts the power before the n-th change. It
// returns whether that happened.
func cutAt(t *testing.T, dir string, n int, loss faultfs.Loss, do func(*chunkstore.Store)) (off bool) {
	t.Helper()
	f, err := faultfs.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	f.CutPowerBefore(n)
	if s, err := chunkstore.Open(chunkstore.Config{FS: f}); err == nil {
		do(s)
		s.Close()
	}
	off = f.Off()
	if err := f.Recover(loss); err != nil {
		t.Fatal(err)
	}
	return off
}
