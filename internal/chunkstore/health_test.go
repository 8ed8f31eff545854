package chunkstore_test

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/chunkstore/faultfs"
)

// Who asks how the disk is does not ask the disk.
func TestADiskThatHangsIsToldByWhoDoesNotWaitForIt(t *testing.T) {
	for _, op := range []faultfs.Op{faultfs.Open, faultfs.Read, faultfs.Sync, faultfs.Rename} {
		t.Run(string(op), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, f := newFaulty(t, chunkstore.Config{})
				before, c := newChunk(t, 100_000, 1), newChunk(t, 100_000, 1)
				write(t, s, before)
				time.Sleep(time.Minute)
				if stall := s.Stats().Stalled; stall != 0 {
					t.Errorf("an idle disk hangs for %v", stall)
				}
				goOn := make(chan struct{})
				f.OnCall(func(c faultfs.Call) error {
					if c.Op == op {
						<-goOn
					}
					return nil
				})
				done := make(chan error, 2)
				go func() { done <- s.Write(t.Context(), c.meta, c.payload) }()
				go func() { _, err := read(t.Context(), s, before); done <- err }()
				time.Sleep(3 * time.Second)
				if stall := s.Stats().Stalled; stall != 0 {
					t.Errorf("after 3 s it hangs for %v: cards do that", stall)
				}
				time.Sleep(9 * time.Second)
				if stall := s.Stats().Stalled; stall != 12*time.Second {
					t.Errorf("after 12 s it hangs for %v", stall)
				}
				close(goOn)
				if err := errors.Join(<-done, <-done); err != nil {
					t.Error(err)
				}
				if stall := s.Stats().Stalled; stall != 0 {
					t.Errorf("it answers again, and hangs for %v", stall)
				}
			})
		})
	}
}

// stuck is a directory whose file system does not even tell its free space, and whose
// disk can be tried.
type stuck struct {
	*chunkstore.Dir
	hangs   atomic.Bool
	goOn    chan struct{}
	touched atomic.Int64
}

func (s *stuck) wait() {
	if s.hangs.Load() {
		<-s.goOn
	}
}

func (s *stuck) Usage() (chunkstore.Usage, error) { s.wait(); return s.Dir.Usage() }
func (s *stuck) Touch() error                     { s.touched.Add(1); s.wait(); return nil }

func TestADiskThatNobodyUsesIsTriedByReadingAndSaysWhenItHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &stuck{Dir: openDir(t, t.TempDir()), goOn: make(chan struct{})}
		s := openStore(t, chunkstore.Config{FS: d})
		time.Sleep(10 * time.Minute)
		if n := d.touched.Load(); n < 8 || n > 10 {
			t.Errorf("tried %d times in ten minutes", n)
		}
		d.hangs.Store(true)
		began := time.Now()
		for range 90 {
			time.Sleep(time.Second)
			s.Stats()
		}
		if took := time.Since(began); took > 91*time.Second {
			t.Errorf("to ask 90 times how it is took %v longer", took-90*time.Second)
		}
		if s.Stats().Stalled < 20*time.Second {
			t.Errorf("it hangs for %v", s.Stats().Stalled)
		}
		close(d.goOn)
		time.Sleep(time.Second)
		if st := s.Stats(); st.Stalled != 0 || st.TotalBytes == 0 {
			t.Errorf("it answers again: %+v", st)
		}
	})
}

// The real one reads a file that is there from the start.
func TestTouchReadsTheMarkerAndWritesNothing(t *testing.T) {
	dir := t.TempDir()
	d, err := chunkstore.OpenDisk(chunkstore.DiskConfig{ChunkDir: filepath.Join(dir, "chunks"), StateDir: filepath.Join(dir, "state"), Random: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	touch, ok := d.FS.(interface{ Touch() error })
	if !ok {
		t.Fatal("a real disk can't be tried")
	}
	marker := filepath.Join(dir, "chunks", "raid-node.json")
	accessed := func() (at syscall.Timespec) {
		var st syscall.Stat_t
		if err := syscall.Stat(marker, &st); err != nil {
			t.Fatal(err)
		}
		return st.Atim
	}
	// One of some days ago would be renewed, and so written, also with relatime.
	if err := os.Chtimes(marker, time.Now().Add(-72*time.Hour), time.Now()); err != nil {
		t.Fatal(err)
	}
	before := accessed()
	if err := touch.Touch(); err != nil {
		t.Error(err)
	}
	if after := accessed(); after != before {
		t.Errorf("the marker's access time was %v and is %v", before, after)
	}
}
