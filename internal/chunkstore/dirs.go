package chunkstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/raidpi/raidpi/internal/raid"
)

const (
	tmpDir = "tmp"
	labDir = "lab"
)

// dirs knows the directories of a store. It creates them as they are needed.
type dirs struct {
	fs     FS
	root   *dir
	chunks atomic.Int64 // native chunks in the directories that were counted

	mu     sync.Mutex
	byPath map[string]*dir
}

func newDirs(fsys FS) *dirs {
	ds := &dirs{fs: fsys, byPath: map[string]*dir{}}
	ds.root = ds.newDir(".", nil)
	ds.root.exists = true
	return ds
}

// newDir knows nothing of an earlier life, so the first flush does an fsync.
func (ds *dirs) newDir(path string, parent *dir) *dir {
	return &dir{path: path, parent: parent, total: &ds.chunks, madeAt: 1, changes: 1}
}

// load learns which directories an earlier life has made.
func (ds *dirs) load() error {
	for _, parent := range []*dir{ds.root, ds.get(labDir)} {
		names, err := readNames(ds.fs, parent.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		parent.exists = true
		for _, name := range names {
			if isFanout(name) {
				ds.get(join(parent.path, name)).exists = true
			}
		}
	}
	return nil
}

// get returns a directory, which need not exist yet.
func (ds *dirs) get(path string) *dir {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	return ds.getLocked(path)
}

func (ds *dirs) getLocked(path string) *dir {
	if d := ds.byPath[path]; d != nil {
		return d
	}
	parent := ds.root
	if len(path) > len(labDir) {
		parent = ds.getLocked(labDir)
	}
	d := ds.newDir(path, parent)
	ds.byPath[path] = d
	return d
}

// of returns the directory of a chunk.
func (ds *dirs) of(name raid.ChunkName) *dir { return ds.get(string(name[:2])) }

// next is the first existing directory of native chunks whose path is not before the
// given one; nil: none is.
func (ds *dirs) next(path string) *dir {
	for {
		d := ds.known(path)
		if d == nil || d.made() { // which waits for changes in that directory, so ds is not locked
			return d
		}
		path = d.path + "0"
	}
}

// known is next among those that may not exist.
func (ds *dirs) known(path string) *dir {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	for i := range len(alphabet) {
		if path != "" && alphabet[i] < path[0] {
			continue
		}
		for j := range len(alphabet) {
			p := alphabet[i:i+1] + alphabet[j:j+1]
			if d := ds.byPath[p]; d != nil && p >= path {
				return d
			}
		}
	}
	return nil
}

// fanout lists the existing directories of native chunks in the order of names.
func (ds *dirs) fanout() []*dir {
	ds.mu.Lock()
	var all []*dir
	for path, d := range ds.byPath {
		if isFanout(path) {
			all = append(all, d)
		}
	}
	ds.mu.Unlock()
	all = slices.DeleteFunc(all, func(d *dir) bool { return !d.made() })
	slices.SortFunc(all, func(a, b *dir) int {
		if a.path < b.path {
			return -1
		}
		return 1
	})
	return all
}

// dir is one directory, and knows what of it is durable.
//
// Every change in it (an entry that came or went) gets a number. An fsync makes durable all changes
// that came before it began. A writer that needs one of those waits for it instead of doing
// another. So at most one fsync of a directory runs and at most one is waited for, however many
// writers rename into it. Each writer's latency is at most two fsyncs.
type dir struct {
	path   string
	parent *dir // nil for the root

	mu      sync.Mutex
	exists  bool
	madeAt  uint64        // the parent's change that made this directory
	changes uint64        // the last change
	durable uint64        // the last change that survives a power cut
	running chan struct{} // closed when the fsync under way is over
	failed  error         // of an fsync: nothing here can be trusted any more

	counted bool // its chunks are in total
	total   *atomic.Int64
}

func (d *dir) made() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.exists
}

// changed is the number of the last change.
func (d *dir) changed() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changes
}

// create makes the directory and those above it, unless they exist.
func (d *dir) create(fsys FS) error {
	if d.made() {
		return nil
	}
	if err := d.parent.create(fsys); err != nil {
		return err
	}
	// The parent's lock orders the change with the parent's fsyncs.
	d.parent.mu.Lock()
	defer d.parent.mu.Unlock()
	if d.made() {
		return nil
	}
	err := fsys.Mkdir(d.path, dirMode)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make directory %s: %w", d.path, err)
	}
	d.parent.changes++
	d.mu.Lock()
	defer d.mu.Unlock()
	d.exists, d.madeAt, d.counted = true, d.parent.changes, err == nil
	return nil
}

// unsettled reports whether the directory itself might not survive a power cut,
// and which change of its parent would have to.
func (d *dir) unsettled() (number uint64, needed bool) {
	if d.parent == nil {
		return 0, false
	}
	d.mu.Lock()
	number = d.madeAt
	d.mu.Unlock()
	d.parent.mu.Lock()
	defer d.parent.mu.Unlock()
	return number, d.parent.durable < number
}

// change runs do, which adds n chunks to the directory, and numbers the change.
func (d *dir) change(n int64, do func() error) (number uint64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := do(); err != nil {
		return d.changes, err
	}
	d.changes++
	if d.counted {
		d.total.Add(n)
	}
	return d.changes, nil
}

// flush returns when the directory's change with that number, and the directory
// itself, survive a power cut. Once an fsync of the directory has failed, all
// later ones fail too.
func (d *dir) flush(fsys FS, number uint64) error {
	for {
		d.mu.Lock()
		if d.failed != nil || d.durable >= number {
			madeAt, failed := d.madeAt, d.failed
			d.mu.Unlock()
			if failed != nil || d.parent == nil {
				return failed
			}
			return d.parent.flush(fsys, madeAt)
		}
		if running := d.running; running != nil {
			d.mu.Unlock()
			<-running
			continue
		}
		done := make(chan struct{})
		d.running = done
		covers := d.changes
		d.mu.Unlock()

		err := syncDir(fsys, d.path)

		d.mu.Lock()
		d.running = nil
		if err == nil {
			d.durable = covers
		} else {
			d.failed = err
		}
		d.mu.Unlock()
		close(done)
	}
}

func syncDir(fsys FS, path string) error {
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("open directory %s to fsync it: %w", path, err)
	}
	err = f.Sync()
	f.Close()
	if err != nil {
		return fmt.Errorf("fsync directory %s: %w", path, err)
	}
	return nil
}

// count finds out how many chunks the directory has. Writers and deleters of
// this directory wait for it.
func (d *dir) count(fsys FS) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.counted || !d.exists {
		return nil
	}
	var n int64
	if err := eachChunk(fsys, d.path, func(raid.ChunkName) error { n++; return nil }); err != nil {
		return err
	}
	d.counted = true
	d.total.Add(n)
	return nil
}
