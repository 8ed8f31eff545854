package chunkstore_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/chunkstore/faultfs"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

// heard is a number as a controller from before there were MACs tells it.
func heard(n uint64) raid.Commit { return raid.Commit{Number: n} }

func proven(n uint64) raid.Commit { return raid.Commit{Number: n, MAC: raid.CommitMAC{byte(n), 1}} }

func TestHighestCommitIsKnownAtOnceAfterARestart(t *testing.T) {
	dir := t.TempDir()
	withStore(t, dir, func(s *chunkstore.Store) {
		write(t, s, newChunk(t, 100, 1))
		s.SawCommit(heard(99))
		s.SawCommit(heard(42))
	})
	withStore(t, dir, func(s *chunkstore.Store) {
		s.SawCommit(heard(120))
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
		kit.Eventually(t, "the scan is done", func() bool { return s.Stats().Scanned })
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
	kit.Eventually(t, "the scan is done", func() bool { return s.Stats().Scanned })
	s.SawCommit(heard(17)) // as in the trailers
	for range 20 {
		s.SawCommit(heard(16))
		s.SawCommit(heard(17))
		s.Stats()
		list(t, s, 10, 0, 10)
		time.Sleep(10 * time.Millisecond)
	}
	f.OnCall(nil)
}

// A number that a node has only heard, with no chunk written, is on its disk some seconds
// later: one write, and none for numbers that are no higher.
func TestAHeardCommitNumberIsDurableAfterSomeSeconds(t *testing.T) {
	dir := t.TempDir()
	f, err := faultfs.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := openStore(t, chunkstore.Config{FS: f})
		time.Sleep(time.Minute)
		var writes atomic.Int64
		f.OnCall(func(c faultfs.Call) error {
			if c.Op == faultfs.Rename {
				writes.Add(1)
			}
			return nil
		})
		for n := range uint64(20) { // a busy array, for two seconds
			s.SawCommit(proven(100 + n))
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		if n := writes.Load(); n != 1 {
			t.Errorf("%d writes within 4 s of the first of 20 numbers, want one", n)
		}
		for range 3600 {
			s.SawCommit(proven(119))
			time.Sleep(time.Second)
		}
		f.OnCall(nil)
		if n := writes.Load(); n != 1 {
			t.Errorf("%d writes after an idle hour", n)
		}
		f.CutPower()
		s.Close()
	})
	if err := f.Recover(faultfs.Everything()); err != nil {
		t.Fatal(err)
	}
	withStore(t, dir, func(s *chunkstore.Store) {
		if st := s.Stats(); st.FoundProven != proven(119) || st.FoundCommit != 119 {
			t.Errorf("after the power cut it knows %+v and %d, want 119", st.FoundProven, st.FoundCommit)
		}
	})
}

// Wherever the power is cut while a chunk is deleted: when the chunk is gone, the number
// that came with the delete is there.
func TestWhatADeleteToldIsDurableBeforeItsChunkIsGone(t *testing.T) {
	gone, kept := 0, 0
	for step := 1; ; step++ {
		dir := t.TempDir()
		c := newChunk(t, 100, 1)
		withStore(t, dir, func(s *chunkstore.Store) { write(t, s, c) })
		f, err := faultfs.New(dir)
		if err != nil {
			t.Fatal(err)
		}
		s := openStore(t, chunkstore.Config{FS: f})
		kit.Eventually(t, "the scan is done", func() bool { return s.Stats().Scanned })
		s.SawCommit(proven(200))
		f.CutPowerBefore(step)
		s.Delete(t.Context(), []raid.ChunkName{c.name()})
		over := !f.Off()
		f.CutPower()
		s.Close()
		if err := f.Recover(faultfs.Some(uint64(step))); err != nil {
			t.Fatal(err)
		}
		withStore(t, dir, func(s *chunkstore.Store) {
			_, err := read(t.Context(), s, c)
			if err == nil {
				kept++
			} else if gone++; s.Stats().FoundProven != proven(200) {
				t.Errorf("power cut before step %d: the chunk is gone, and the number is %+v", step, s.Stats().FoundProven)
			}
		})
		if over {
			break
		}
	}
	if gone == 0 || kept < 3 {
		t.Errorf("the chunk was gone after %d cuts and there after %d: too little was tested", gone, kept)
	}
}

// On a disk without room for the number a delete is what makes some: it is done, and the
// number is there when it is.
func TestADeleteMakesRoomForTheNumberOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	c := newChunk(t, 100, 1)
	withStore(t, dir, func(s *chunkstore.Store) { write(t, s, c) })
	f, err := faultfs.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := openStore(t, chunkstore.Config{FS: f})
	var freed atomic.Bool
	f.OnCall(func(call faultfs.Call) error {
		switch {
		case call.Op == faultfs.Remove && !strings.HasPrefix(call.Path, "tmp/"):
			freed.Store(true)
		case !freed.Load() && call.Op == faultfs.Write:
			return syscall.ENOSPC
		}
		return nil
	})
	s.SawCommit(proven(200))
	if err := s.Delete(t.Context(), []raid.ChunkName{c.name()})[0]; err != nil {
		t.Errorf("delete on a full disk: %v", err)
	}
	f.OnCall(nil)
	text, err := os.ReadFile(filepath.Join(dir, "raid-node.commit"))
	if err != nil || !strings.HasPrefix(string(text), "200 ") {
		t.Errorf("the file says %q after the delete: %v", text, err)
	}
}

// A byte that rots in one line takes nothing from the other.
func TestEachLineOfTheCommitFileStandsForItself(t *testing.T) {
	dir := t.TempDir()
	withStore(t, dir, func(s *chunkstore.Store) {
		s.SawCommit(proven(300))
		s.SawCommit(heard(400))
	})
	path := filepath.Join(dir, "raid-node.commit")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first := strings.Index(string(good), "\n") + 1
	for i := range good {
		rotten := append([]byte{}, good...)
		rotten[i] ^= 1
		if err := os.WriteFile(path, rotten, 0o640); err != nil {
			t.Fatal(err)
		}
		withStore(t, dir, func(s *chunkstore.Store) {
			st := s.Stats()
			if i >= first && (st.FoundCommit != 400 || st.FoundProven.HasProof()) {
				t.Errorf("byte %d flipped: %d, %+v", i, st.FoundCommit, st.FoundProven)
			}
			if i < first-1 && (st.FoundCommit != 300 || st.FoundProven != proven(300)) {
				t.Errorf("byte %d flipped: %d, %+v", i, st.FoundCommit, st.FoundProven)
			}
			// Nothing is saved now that would make the file good again.
		})
		if err := os.WriteFile(path, good, 0o640); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatAMoveToTheTrashToldIsDurableWithIt(t *testing.T) {
	dir := t.TempDir()
	c := newChunk(t, 100, 1)
	withStore(t, dir, func(s *chunkstore.Store) {
		write(t, s, c)
		s.SawCommit(proven(200))
		if err := s.Trash(t.Context(), []raid.ChunkName{c.name()}, time.Hour)[0]; err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(dir, "raid-node.commit"))
		if err != nil || !strings.HasPrefix(string(text), "200 ") {
			t.Errorf("the file says %q: %v", text, err)
		}
	})
}
