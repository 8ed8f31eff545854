package sim

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// snapshot holds the content of a catalog's disk at one moment, and the files that there were.
type snapshot struct {
	files map[string][]byte
	known []*file
}

// snapshot must be called while nothing moves.
func (w *world) snapshot() *snapshot {
	d := w.boss.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &snapshot{files: map[string][]byte{}, known: slices.Clone(w.model.files)}
	for path, f := range d.files {
		b := bytes.Clone(f.durable)
		for _, c := range f.pending {
			b = c.apply(b)
		}
		s.files[path] = b
	}
	return s
}

// putBack makes a snapshot what is on the disk.
func (d *catalogDisk) putBack(s *snapshot) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for path := range d.files {
		if err := errOf(os.Remove(path)); err != nil {
			return err
		}
	}
	d.files = map[string]*catalogFile{}
	for path, b := range s.files {
		d.files[path] = &catalogFile{durable: bytes.Clone(b), synced: true}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			return err
		}
	}
	return errOf(os.Remove(filepath.Join(d.dir, "catalog.db-shm")))
}

// rollBack gives the controller a catalog from before, as one who restores a backup does. It checks
// that this does no harm. Nothing of a file that the catalog does not know is removed. None of
// these is said not to exist, and nothing is stored.
func (w *world) rollBack(s *snapshot) {
	newer := slices.DeleteFunc(slices.Clone(w.model.files), func(f *file) bool {
		return f.id == 0 || f.doomed || slices.Contains(s.known, f)
	})
	before := w.namesOnDisks()
	if len(newer) == 0 {
		return
	}
	w.note("the controller's catalog is an older one")
	_ = w.boss.end()
	w.must(w.boss.disk.recover(killed, w.rng))
	w.must(w.boss.disk.putBack(s))
	w.boss.start()
	for range 30 {
		time.Sleep(3 * time.Second)
		w.settle()
		w.nurse()
	}
	after := w.namesOnDisks()
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if !after[name] {
			w.model.fault("with an older catalog chunk %s was removed", name)
		}
	}
	for _, f := range newer {
		if a := w.clients[0].ask("GET", pathOf(f.id), nil); a.status == 404 || a.status == 200 && !bytes.Equal(a.body, f.content) {
			w.model.fault("with an older catalog GET of %s (file %d), which it does not know, answers %d", f.name, f.id, a.status)
		}
	}
	if a := w.clients[0].ask("POST", "/files?filename=afterwards", []byte("x")); a.status == 201 {
		w.model.fault("with an older catalog a file is stored")
	}
}

func (w *world) namesOnDisks() map[raid.ChunkName]bool {
	all := map[raid.ChunkName]bool{}
	for _, p := range w.alive() {
		found, err := p.chunksOf()
		w.must(err)
		for name := range found {
			all[name] = true
		}
	}
	return all
}
