package chunkstore_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/chunkstore/faultfs"
	"github.com/raidpi/raidpi/internal/raid"
)

// atOnce is a turn that never waits.
func atOnce(ctx context.Context) (int, error) { return raid.BlockSize, ctx.Err() }

// rotten stores a chunk and changes one of its bytes on the disk.
func rotten(t *testing.T, s *chunkstore.Store, dir string, at int64) testChunk {
	t.Helper()
	c := newChunk(t, 300_000, 1)
	write(t, s, c)
	f, err := os.OpenFile(filepath.Join(dir, string(c.name()[:2]), string(c.name())), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{c.payload[at] ^ 1}, at); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEveryByteOfAChunkIsChecked(t *testing.T) {
	s, dir := newStore(t)
	for _, size := range []int{0, 1, 4000, raid.BlockSize, 300_000} {
		c := newChunk(t, size, 1)
		write(t, s, c)
		turns := 0
		n, err := s.CheckChunk(t.Context(), c.name(), func(ctx context.Context) (int, error) { turns++; return raid.BlockSize, nil })
		if err != nil || n != int64(size) || turns != max(1, (size+raid.BlockSize-1)/raid.BlockSize) {
			t.Errorf("%d bytes: %d checked in %d turns, %v", size, n, turns, err)
		}
	}
	for _, at := range []int64{0, raid.BlockSize, 299_999} {
		c := rotten(t, s, dir, at)
		_, err := s.CheckChunk(t.Context(), c.name(), atOnce)
		wantErr(t, err, raid.ErrCorrupt)
	}
	_, err := s.CheckChunk(t.Context(), newChunk(t, 1, 1).name(), atOnce)
	wantErr(t, err, raid.ErrNotFound)
	if bad, _ := s.CorruptNames("", 10); len(bad) != 3 || !slices.IsSorted(bad) {
		t.Errorf("corrupt are %v", bad)
	}
	first, more := s.CorruptNames("", 2)
	rest, none := s.CorruptNames(first[1], 2)
	if len(first) != 2 || !more || len(rest) != 1 || none {
		t.Errorf("in pages: %v, %v, then %v, %v", first, more, rest, none)
	}
}

func TestACheckEndsWithItsTurn(t *testing.T) {
	s, _ := newStore(t)
	c := newChunk(t, 300_000, 1)
	write(t, s, c)
	ctx, cancel := context.WithCancel(t.Context())
	turns := 0
	_, err := s.CheckChunk(ctx, c.name(), func(ctx context.Context) (int, error) {
		if turns++; turns == 2 {
			cancel()
		}
		return raid.BlockSize, ctx.Err()
	})
	wantErr(t, err, context.Canceled)
	if turns != 2 || s.Stats().Corrupt != 0 {
		t.Errorf("%d turns, %d corrupt", turns, s.Stats().Corrupt)
	}
}

func TestACheckIsNoRequest(t *testing.T) {
	s, _ := newStore(t)
	c := newChunk(t, 300_000, 1)
	write(t, s, c)
	before := s.QuietFor()
	if _, err := s.CheckChunk(t.Context(), c.name(), func(ctx context.Context) (int, error) {
		if s.QuietFor() < before {
			t.Error("the check itself counts as a request")
		}
		return raid.BlockSize, nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Names(t.Context(), "", 10); err != nil || s.QuietFor() < before {
		t.Errorf("to list names for it counts as a request, %v", err)
	}
	began := time.Now()
	mustRead(t, s, c)
	if q := s.QuietFor(); q > time.Since(began) {
		t.Errorf("quiet for %v after a read", q)
	}
}

func TestACorruptChunkThatIsDeletedGoesToTheTrash(t *testing.T) {
	s, dir := newStore(t)
	waitScanned(t, s)
	check := func(c testChunk) {
		t.Helper()
		_, err := s.CheckChunk(t.Context(), c.name(), atOnce)
		wantErr(t, err, raid.ErrCorrupt)
	}
	bad, gone, good := rotten(t, s, dir, 0), newChunk(t, 10, 1), newChunk(t, 10, 1)
	write(t, s, good)
	check(bad)
	s.KeepCorrupt(time.Hour)
	errs := s.Delete(t.Context(), []raid.ChunkName{good.name(), bad.name(), gone.name()})
	if errs[0] != nil || errs[1] != nil {
		t.Errorf("%v", errs)
	}
	wantErr(t, errs[2], raid.ErrNotFound)
	if st := s.Stats(); st.TrashChunks != 1 || st.Corrupt != 0 || st.Chunks != 0 {
		t.Errorf("%+v", st)
	}
	if in, _ := filepath.Glob(filepath.Join(dir, "trash", "*", string(bad.name()))); len(in) != 1 {
		t.Errorf("the corrupt chunk is not in the trash: %v", in)
	}
	wantErr(t, s.Write(t.Context(), bad.meta, bad.payload), raid.ErrInvalid) // its name is used up

	// Who asks for it now was under way while it was deleted. Nobody would delete it once more.
	wantErr(t, s.Verify(t.Context(), bad.name(), int64(len(bad.payload)), bad.crc()), raid.ErrNotFound)
	if st := s.Stats(); st.TrashChunks != 1 || st.Corrupt != 0 || st.Chunks != 0 {
		t.Errorf("after it was asked for: %+v", st)
	}

	s.KeepCorrupt(0)
	other := rotten(t, s, dir, 0)
	check(other)
	if errs := s.Delete(t.Context(), []raid.ChunkName{other.name()}); errs[0] != nil || s.Stats().TrashChunks != 1 {
		t.Errorf("without a trash: %v, %d chunks in it", errs, s.Stats().TrashChunks)
	}
}

// Whoever deletes a chunk takes it off the count. A check that is under way meanwhile, and
// finds its rot in the open file, must not put it there for ever.
func TestAChunkThatIsDeletedWhileItIsReadIsNotCountedAsCorrupt(t *testing.T) {
	for name, remove := range map[string]func(*testing.T, *chunkstore.Store, string, raid.ChunkName) error{
		"deleted": func(t *testing.T, s *chunkstore.Store, _ string, name raid.ChunkName) error {
			return s.Delete(t.Context(), []raid.ChunkName{name})[0]
		},
		"moved to the trash": func(t *testing.T, s *chunkstore.Store, _ string, name raid.ChunkName) error {
			return s.Trash(t.Context(), []raid.ChunkName{name}, time.Hour)[0]
		},
		"removed by a person": func(_ *testing.T, _ *chunkstore.Store, dir string, name raid.ChunkName) error {
			return os.Remove(filepath.Join(dir, string(name[:2]), string(name)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := newStore(t)
			waitScanned(t, s)
			c := rotten(t, s, dir, 299_999)
			turns := 0
			_, err := s.CheckChunk(t.Context(), c.name(), func(ctx context.Context) (int, error) {
				if turns++; turns == 2 {
					if err := remove(t, s, dir, c.name()); err != nil {
						t.Error(err)
					}
				}
				return raid.BlockSize, nil
			})
			wantErr(t, err, raid.ErrCorrupt)
			if n := s.Stats().Corrupt; turns < 2 || n != 0 {
				t.Errorf("after %d turns %d are corrupt", turns, n)
			}
		})
	}
}

// A corrupt chunk whose file is gone counts until somebody looks for it.
func TestACorruptChunkThatWasRemovedByAPersonIsNotCountedForEver(t *testing.T) {
	for name, look := range map[string]func(*testing.T, *chunkstore.Store, testChunk){
		"checked": func(t *testing.T, s *chunkstore.Store, c testChunk) {
			_, _ = s.CheckChunk(t.Context(), c.name(), atOnce)
		},
		"verified": func(t *testing.T, s *chunkstore.Store, c testChunk) {
			_ = s.Verify(t.Context(), c.name(), c.meta.Length, 0)
		},
		"deleted": func(t *testing.T, s *chunkstore.Store, c testChunk) {
			s.Delete(t.Context(), []raid.ChunkName{c.name()})
		},
		"trashed": func(t *testing.T, s *chunkstore.Store, c testChunk) {
			s.Trash(t.Context(), []raid.ChunkName{c.name()}, time.Hour)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, dir := newStore(t)
			waitScanned(t, s)
			c := rotten(t, s, dir, 0)
			_, err := s.CheckChunk(t.Context(), c.name(), atOnce)
			wantErr(t, err, raid.ErrCorrupt)
			if err := os.Remove(filepath.Join(dir, string(c.name()[:2]), string(c.name()))); err != nil {
				t.Fatal(err)
			}
			if look(t, s, c); s.Stats().Corrupt != 0 {
				t.Errorf("%d are corrupt", s.Stats().Corrupt)
			}
		})
	}
}

// waitScanned waits until the trailers were read.
func waitScanned(t *testing.T, s *chunkstore.Store) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !s.Stats().Scanned; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not scanned after 20 s")
		}
	}
}

func TestACorruptChunkIsDeletedFromAFullDisk(t *testing.T) {
	dir := t.TempDir()
	f, err := faultfs.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := openStore(t, chunkstore.Config{FS: f})
	waitScanned(t, s)
	c := rotten(t, s, dir, 0)
	_, err = s.CheckChunk(t.Context(), c.name(), atOnce)
	wantErr(t, err, raid.ErrCorrupt)
	s.KeepCorrupt(time.Hour)
	f.OnCall(failing(faultfs.Mkdir, "trash", syscall.ENOSPC))
	if errs := s.Delete(t.Context(), []raid.ChunkName{c.name()}); errs[0] != nil {
		t.Error(errs[0])
	}
	if st := s.Stats(); st.Chunks != 0 || st.ReadOnly {
		t.Errorf("%+v", st)
	}
}
