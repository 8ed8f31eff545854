package chunkstore_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/chunkstore/faultfs"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

// nosync is a directory whose fsyncs cost nothing, for tests of numbers.
type nosync struct{ *chunkstore.Dir }

func (n nosync) OpenFile(name string, flag int, perm fs.FileMode) (chunkstore.File, error) {
	f, err := n.Dir.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return nosyncFile{f}, nil
}

type nosyncFile struct{ chunkstore.File }

func (nosyncFile) Sync() error { return nil }

func TestReserveIsNeverUsed(t *testing.T) {
	s, f := newFaulty(t, chunkstore.Config{Reserve: 1 << 20})
	f.SetUsage(&chunkstore.Usage{Total: 10 << 20, Free: 1<<20 + 300<<10})
	kit.Eventually(t, "free space is what lies beyond the reserve", func() bool { return s.Stats().FreeBytes == 300<<10 })

	c := newChunk(t, 200<<10, 1)
	write(t, s, c)
	if free := s.Stats().FreeBytes; free > 100<<10 {
		t.Errorf("%d bytes are free after a write of 200 KiB into 300 KiB, before the file system says so", free)
	}
	f.SetUsage(&chunkstore.Usage{Total: 10 << 20, Free: 1<<20 + 100<<10})
	next := newChunk(t, 200<<10, 1)
	wantErr(t, s.Write(t.Context(), next.meta, next.payload), raid.ErrNoSpace)
	wantErr(t, s.WriteLab(t.Context(), "abc", next.payload), raid.ErrNoSpace)
	if st := s.Stats(); st.ReadOnly || st.TotalBytes != 10<<20 {
		t.Errorf("a full disk is %+v", st)
	}
	// Less than the reserve is free, and deletes still work.
	f.SetUsage(&chunkstore.Usage{Total: 10 << 20, Free: 1000})
	if err := s.Delete(t.Context(), []raid.ChunkName{c.name()})[0]; err != nil {
		t.Fatal(err)
	}
	kit.Eventually(t, "free space is not negative", func() bool { return s.Stats().FreeBytes == 0 })
	f.SetUsage(&chunkstore.Usage{Total: 10 << 20, Free: 5 << 20})
	time.Sleep(30 * time.Millisecond)
	write(t, s, next)
}

func TestWritesUnderWayCountAgainstTheReserve(t *testing.T) {
	s, f := newFaulty(t, chunkstore.Config{})
	f.SetUsage(&chunkstore.Usage{Total: 10 << 20, Free: 1 << 20})
	kit.Eventually(t, "the new usage is seen", func() bool { return s.Stats().FreeBytes == 1<<20 })
	goOn := make(chan struct{})
	f.OnCall(func(c faultfs.Call) error {
		if c.Op == faultfs.Sync {
			<-goOn
		}
		return nil
	})
	const writers, fit = 16, 3
	errs := make(chan error, writers)
	for range writers {
		go func() {
			c := newChunk(t, 300<<10, 1)
			errs <- s.Write(t.Context(), c.meta, c.payload)
		}()
	}
	refused := 0
	for late := time.After(10 * time.Second); refused < writers-fit && !t.Failed(); {
		select {
		case err := <-errs:
			refused++
			if !errors.Is(err, raid.ErrNoSpace) {
				t.Error(err)
			}
		case <-late:
			t.Errorf("%d of %d writers were refused, want %d", refused, writers, writers-fit)
		}
	}
	close(goOn)
	for range writers - refused {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

// lying claims that there is room, so that write(2) is what fails.
type lying struct{ *chunkstore.Dir }

func (lying) Usage() (chunkstore.Usage, error) {
	return chunkstore.Usage{Total: 1 << 40, Free: 1 << 40}, nil
}

// The kernel makes a disk read-only after an error, or a person does. An idle node knows it
// without a write that fails, and knows too when that has ended.
func TestADiskThatIsMountedReadOnlyIsNoticedWithoutAWrite(t *testing.T) {
	s, f := newFaulty(t, chunkstore.Config{})
	for _, readOnly := range []bool{true, false} {
		f.SetUsage(&chunkstore.Usage{Total: 10 << 20, Free: 5 << 20, ReadOnly: readOnly})
		kit.Eventually(t, fmt.Sprint("mounted read-only: ", readOnly), func() bool { return s.Stats().ReadOnly == readOnly })
	}
}
