package chunkstore_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/chunkstore/faultfs"
	"github.com/raidpi/raidpi/internal/raid"
)

// powerCut is one life that ends with the power going off before the n-th change
// or fsync, and what the next one finds.
type powerCut struct {
	t       *testing.T
	dir     string
	written []testChunk // acknowledged
	deleted []testChunk // acknowledged
	unsure  []testChunk // begun and not acknowledged
}

// live stores and deletes chunks until the power is off. It returns whether that
// happened.
func (p *powerCut) live(n int, loss faultfs.Loss) (off bool) {
	p.t.Helper()
	f, err := faultfs.New(p.dir)
	if err != nil {
		p.t.Fatal(err)
	}
	f.CutPowerBefore(n)
	if s, err := chunkstore.Open(chunkstore.Config{FS: f}); err == nil {
		p.work(s)
		s.Close()
	}
	off = f.Off()
	if err := f.Recover(loss); err != nil {
		p.t.Fatal(err)
	}
	return off
}

func (p *powerCut) work(s *chunkstore.Store) {
	ctx := p.t.Context()
	var chunks []testChunk
	for i, size := range []int{100, raid.BlockSize + 1, 0} {
		c := newChunk(p.t, size, 1)
		if i > 0 { // the second and third into the directory of the first
			c.meta.Key.Upload, c.meta.Key.Stripe = chunks[0].meta.Key.Upload, int64(i)
		}
		chunks = append(chunks, c)
		if err := s.Write(ctx, c.meta, c.payload); err != nil {
			p.unsure = append(p.unsure, c)
		} else {
			p.written = append(p.written, c)
		}
	}
	victim := chunks[1]
	err := s.Delete(ctx, []raid.ChunkName{victim.name()})[0]
	for i, c := range p.written {
		if c.name() != victim.name() {
			continue
		}
		p.written = append(p.written[:i], p.written[i+1:]...)
		if err == nil {
			p.deleted = append(p.deleted, c)
		} else {
			p.unsure = append(p.unsure, c)
		}
	}
}

// check opens what the power cut has left.
func (p *powerCut) check() {
	p.t.Helper()
	withStore(p.t, p.dir, func(s *chunkstore.Store) {
		listed := map[raid.ChunkName]bool{}
		for _, name := range list(p.t, s, 100, 0, 10) {
			listed[name] = true
		}
		for _, c := range p.written {
			if !listed[c.name()] {
				p.t.Errorf("acknowledged chunk of %d bytes is not listed", len(c.payload))
			}
			mustRead(p.t, s, c)
		}
		for _, c := range p.deleted {
			if _, err := read(p.t.Context(), s, c); !errors.Is(err, raid.ErrNotFound) || listed[c.name()] {
				p.t.Errorf("chunk whose deletion was acknowledged is back: %v", err)
			}
		}
		for _, c := range p.unsure {
			_, err := read(p.t.Context(), s, c)
			if listed[c.name()] && err != nil {
				p.t.Errorf("chunk of %d bytes is visible and not whole: %v", len(c.payload), err)
			}
			if !listed[c.name()] && !errors.Is(err, raid.ErrNotFound) {
				p.t.Errorf("chunk of %d bytes is not listed and reads %v", len(c.payload), err)
			}
		}
	})
}

// The power is cut before every single step of writing and deleting, again and again. The disk
// keeps nothing or a random part of what was under way.
func TestPowerCutAtAnyStepKeepsWhatWasAcknowledged(t *testing.T) {
	losses := map[string]func(n int) faultfs.Loss{
		"everything lost": func(int) faultfs.Loss { return faultfs.Everything() },
	}
	for seed := range 4 {
		losses[fmt.Sprintf("some lost, seed %d", seed)] = func(n int) faultfs.Loss {
			return faultfs.Some(uint64(seed*1000 + n))
		}
	}
	for name, loss := range losses {
		t.Run(name, func(t *testing.T) {
			p := &powerCut{t: t, dir: t.TempDir()}
			n, written, deleted, unsure := 1, 0, 0, 0
			for ; p.live(n, loss(n)); n++ {
				p.check()
				if t.Failed() {
					t.Fatalf("after a power cut before step %d", n)
				}
				if n%8 == 0 { // a disk has seen several cuts, and the test ends
					written, deleted, unsure = written+len(p.written), deleted+len(p.deleted), unsure+len(p.unsure)
					p = &powerCut{t: t, dir: t.TempDir()}
				}
			}
			p.check()
			written, deleted, unsure = written+len(p.written), deleted+len(p.deleted), unsure+len(p.unsure)
			if n < 15 || written == 0 || deleted == 0 || unsure == 0 {
				t.Fatalf("%d steps, %d chunks written, %d deleted, %d unsure: too little was tested", n, written, deleted, unsure)
			}
		})
	}
}

func TestPowerCutAtTheFirstStartKeepsTheMarker(t *testing.T) {
	for n := 1; ; n++ {
		dir, state := t.TempDir(), t.TempDir()
		var f *faultfs.FS
		open := func() (*chunkstore.Disk, error) {
			return chunkstore.OpenDisk(chunkstore.DiskConfig{ChunkDir: dir, StateDir: state, Random: zeros{},
				OpenDir: func(path string) (fsys chunkstore.FS, err error) {
					f, err = faultfs.New(path)
					if err == nil {
						f.CutPowerBefore(n)
					}
					return f, err
				}})
		}
		d, err := open()
		done := err == nil && d.Adopt(testArray) == nil
		if err := f.Recover(faultfs.Everything()); err != nil && done {
			t.Fatal(err)
		}
		again, err := chunkstore.OpenDisk(chunkstore.DiskConfig{ChunkDir: dir, StateDir: state, Random: zeros{}})
		if err != nil {
			t.Fatalf("power cut before step %d of the first start: the next start fails: %v", n, err)
		}
		if done && (again.Node() != d.Node() || again.Array() != testArray) {
			t.Fatalf("step %d: node %s of array %q came back as %s of %q", n, d.Node(), testArray, again.Node(), again.Array())
		}
		again.Close()
		if done {
			return
		}
	}
}

func TestPowerCutWhileTheOwnerChangesIsNoReasonToRefuseTheDisk(t *testing.T) {
	const other = "9000000000000000000000"
	for n := 1; ; n++ {
		dir, state := t.TempDir(), t.TempDir()
		var f *faultfs.FS
		d, err := chunkstore.OpenDisk(chunkstore.DiskConfig{ChunkDir: dir, StateDir: state, Random: rand.Reader,
			OpenDir: func(path string) (fsys chunkstore.FS, err error) {
				f, err = faultfs.New(path)
				return f, err
			}})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Adopt(testArray); err != nil {
			t.Fatal(err)
		}
		first := d.Node()
		if err := errors.Join(f.Mkdir("Ab", 0o750), f.Mkdir("Cd", 0o750), syncRoot(f)); err != nil {
			t.Fatal(err)
		}
		f.CutPowerBefore(n)
		second, _, err := d.NewNode()
		drawn := err == nil
		moved := drawn && d.Reassign(other) == nil
		if err := f.Recover(faultfs.Everything()); err != nil && moved {
			t.Fatal(err)
		}
		again, err := chunkstore.OpenDisk(chunkstore.DiskConfig{ChunkDir: dir, StateDir: state, Random: rand.Reader})
		if err != nil {
			t.Fatalf("power cut before step %d: the next start fails: %v", n, err)
		}
		if node := again.Node(); drawn && node != second || !drawn && node != first {
			t.Errorf("step %d: node %s, then %s came back as %s", n, first, second, node)
		}
		if array := again.Array(); moved && array != other || !moved && array != testArray {
			t.Errorf("step %d: moved %t, came back in array %q", n, moved, array)
		}
		for _, name := range []string{"Ab", "Cd"} {
			if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) == drawn {
				t.Errorf("step %d: new id %t, and chunks in %s: %v", n, drawn, name, err)
			}
		}
		again.Close()
		if moved {
			return
		}
	}
}

func syncRoot(f *faultfs.FS) error {
	root, err := f.OpenFile(".", os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(root.Sync(), root.Close())
}
