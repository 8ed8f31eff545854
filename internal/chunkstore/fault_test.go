package chunkstore_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/chunkstore/faultfs"
	"github.com/raidpi/raidpi/internal/raid"
)

// newFaulty opens a store on a file system that fails as it is told.
func newFaulty(t testing.TB, cfg chunkstore.Config) (*chunkstore.Store, *faultfs.FS) {
	t.Helper()
	f, err := faultfs.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	cfg.FS = f
	return openStore(t, cfg), f
}

// failing fails every call of one kind on paths with the given prefix.
func failing(op faultfs.Op, prefix string, err error) func(faultfs.Call) error {
	return func(c faultfs.Call) error {
		if c.Op == op && strings.HasPrefix(c.Path, prefix) {
			return fmt.Errorf("%s %s: %w", c.Op, c.Path, err)
		}
		return nil
	}
}

func TestFailedWriteVoidsTheNameAndTurnsTheDiskReadOnly(t *testing.T) {
	for _, tc := range []struct {
		op     faultfs.Op
		prefix string
		err    error
	}{
		{faultfs.Create, "tmp/", syscall.EIO},
		{faultfs.Create, "tmp/", syscall.EROFS},
		{faultfs.Write, "tmp/", syscall.EIO},
		{faultfs.Sync, "tmp/", syscall.EIO},
		{faultfs.Sync, "tmp/", syscall.ENOSPC}, // too late to be just a full disk
		{faultfs.Rename, "", syscall.EIO},
		{faultfs.SyncDir, "", syscall.EIO},
		{faultfs.SyncDir, ".", syscall.EIO}, // the parent of a new directory
		{faultfs.Mkdir, "", syscall.EIO},
	} {
		t.Run(fmt.Sprintf("%s %s%v", tc.op, tc.prefix, tc.err), func(t *testing.T) {
			s, f := newFaulty(t, chunkstore.Config{})
			before := newChunk(t, 1000, 1)
			write(t, s, before)
			f.OnCall(failing(tc.op, tc.prefix, tc.err))
			c := newChunk(t, 1000, 1)
			wantErr(t, s.Write(t.Context(), c.meta, c.payload), raid.ErrReadOnly)
			f.OnCall(nil)

			if !s.Stats().ReadOnly {
				t.Error("the store still takes writes")
			}
			_, err := read(t.Context(), s, c)
			wantErr(t, err, raid.ErrNotFound)
			if got := list(t, s, 10, 0, 10); len(got) != 1 || got[0] != before.name() {
				t.Errorf("listed %v", got)
			}
			mustRead(t, s, before)
			next := newChunk(t, 10, 1)
			wantErr(t, s.Write(t.Context(), next.meta, next.payload), raid.ErrReadOnly)
			wantErr(t, s.WriteLab(t.Context(), "abc", nil), raid.ErrReadOnly)
			wantErr(t, s.Delete(t.Context(), []raid.ChunkName{before.name()})[0], raid.ErrReadOnly)
		})
	}
}

func TestFullDiskLeavesTheStoreWritable(t *testing.T) {
	for _, tc := range []struct {
		op     faultfs.Op
		prefix string
		err    error
	}{
		{faultfs.Create, "tmp/", syscall.ENOSPC},
		{faultfs.Write, "tmp/", syscall.ENOSPC},
		{faultfs.Write, "tmp/", syscall.EDQUOT},
		{faultfs.Mkdir, "", syscall.ENOSPC},
		{faultfs.Rename, "", syscall.ENOSPC},
	} {
		t.Run(fmt.Sprintf("%s %v", tc.op, tc.err), func(t *testing.T) {
			s, f := newFaulty(t, chunkstore.Config{})
			f.OnCall(failing(tc.op, tc.prefix, tc.err))
			c := newChunk(t, 1000, 1)
			wantErr(t, s.Write(t.Context(), c.meta, c.payload), raid.ErrNoSpace)
			f.OnCall(nil)
			tmp, err := f.OpenFile("tmp", 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer tmp.Close()
			if left, _ := tmp.Readdirnames(-1); len(left) != 0 {
				t.Errorf("left behind in tmp/: %v", left)
			}
			write(t, s, c) // the name is still free
			mustRead(t, s, c)
		})
	}
}

func TestShortageOfDescriptorsIsNotTheDisksFault(t *testing.T) {
	s, f := newFaulty(t, chunkstore.Config{})
	f.OnCall(failing(faultfs.Create, "tmp/", syscall.EMFILE))
	c := newChunk(t, 1000, 1)
	wantErr(t, s.Write(t.Context(), c.meta, c.payload), raid.ErrBusy)
	f.OnCall(nil)
	write(t, s, c)
}

func TestUnreadableSectorIsACorruptChunk(t *testing.T) {
	s, f := newFaulty(t, chunkstore.Config{})
	c := newChunk(t, 200_000, 1)
	write(t, s, c)
	reads := 0
	f.OnCall(func(call faultfs.Call) error {
		if call.Op == faultfs.Read && strings.Contains(call.Path, string(c.name())) {
			if reads++; reads == 2 { // the trailer can be read, the payload can't
				return syscall.EIO
			}
		}
		return nil
	})
	_, err := read(t.Context(), s, c)
	wantErr(t, err, raid.ErrCorrupt)
	if n := s.Stats().Corrupt; n != 1 {
		t.Errorf("%d corrupt chunks counted, want 1", n)
	}
	f.OnCall(nil)
}

func TestDeleteIsAnsweredOnlyWhenItIsDurable(t *testing.T) {
	s, f := newFaulty(t, chunkstore.Config{})
	c, other := newChunk(t, 1000, 1), newChunk(t, 1000, 1)
	write(t, s, c)
	f.OnCall(failing(faultfs.SyncDir, string(c.name()[:2]), syscall.EIO))
	errs := s.Delete(t.Context(), []raid.ChunkName{c.name(), other.name()})
	f.OnCall(nil)
	wantErr(t, errs[0], raid.ErrReadOnly)
	if !s.Stats().ReadOnly {
		t.Error("the store still takes writes after a failed fsync")
	}
}

func TestDeleteOfAChunkThatIsBeingWrittenIsBusy(t *testing.T) {
	s, f := newFaulty(t, chunkstore.Config{})
	inFsync, goOn := make(chan struct{}), make(chan struct{})
	f.OnCall(func(c faultfs.Call) error {
		if c.Op == faultfs.Sync {
			close(inFsync)
			<-goOn
		}
		return nil
	})
	c := newChunk(t, 1000, 1)
	done := make(chan error)
	go func() { done <- s.Write(t.Context(), c.meta, c.payload) }()
	<-inFsync
	wantErr(t, s.Delete(t.Context(), []raid.ChunkName{c.name()})[0], raid.ErrBusy)
	_, err := read(t.Context(), s, c)
	wantErr(t, err, raid.ErrNotFound)
	f.OnCall(nil)
	close(goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), []raid.ChunkName{c.name()})[0]; err != nil {
		t.Fatal(err)
	}
}

// On a card with slow fsyncs, writers into one directory share them.
func TestWritersShareTheFsyncOfADirectory(t *testing.T) {
	s, f := newFaulty(t, chunkstore.Config{})
	var mu sync.Mutex
	syncs := map[string]int{}
	running := map[string]int{}
	f.OnCall(func(c faultfs.Call) error {
		if c.Op != faultfs.SyncDir {
			return nil
		}
		mu.Lock()
		syncs[c.Path]++
		if running[c.Path]++; running[c.Path] > 1 {
			t.Errorf("two fsyncs of directory %s at once", c.Path)
		}
		mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		mu.Lock()
		running[c.Path]--
		mu.Unlock()
		return nil
	})
	first := newChunk(t, 100, 1)
	const writers = 24
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			c := newChunk(t, 100, 1)
			c.meta.Key.Upload = first.meta.Key.Upload // so in one directory
			c.meta.Key.Stripe = int64(i)
			if err := s.Write(t.Context(), c.meta, c.payload); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	f.OnCall(nil)
	for dir, n := range syncs {
		if n > writers/3 {
			t.Errorf("%d fsyncs of directory %q for %d writes", n, dir, writers)
		}
	}
	if len(syncs) != 2 {
		t.Errorf("directories fsynced: %v", syncs)
	}
}

func TestCloseWaitsForWritersUnderWay(t *testing.T) {
	s, f := newFaulty(t, chunkstore.Config{})
	inFsync, goOn := make(chan struct{}), make(chan struct{})
	f.OnCall(func(c faultfs.Call) error {
		if c.Op == faultfs.Sync && strings.HasPrefix(c.Path, "tmp/1") {
			select {
			case <-inFsync:
			default:
				close(inFsync)
			}
			<-goOn
		}
		return nil
	})
	c := newChunk(t, 1000, 1)
	written, closed := make(chan error, 1), make(chan error, 1)
	go func() { written <- s.Write(t.Context(), c.meta, c.payload) }()
	<-inFsync
	go func() { closed <- s.Close() }()
	select {
	case <-closed:
		t.Fatal("closed while a chunk was being written")
	case <-time.After(50 * time.Millisecond):
	}
	close(goOn)
	if err := errors.Join(<-written, <-closed); err != nil {
		t.Fatal(err)
	}
}
