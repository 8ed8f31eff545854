package faultfs

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// inode is a file or directory: what it is, and what of it is durable.
type inode struct {
	live, durable []byte // a file's bytes; durable is nil before the first fsync

	entries map[string]*inode // a directory's, durable
	pending []change          // since its last fsync, in order
	synced  int               // the changes that came before those
}

// change is one that a directory has seen since its last fsync.
type change struct {
	name string
	ino  *inode // nil: removed
	move *move  // that it is one half of, or nil
}

// move is a rename. A journal keeps it as a whole or not at all, as long as neither
// directory was fsynced since.
type move struct{ decided, kept bool }

func newDir() *inode { return &inode{entries: map[string]*inode{}} }

func (i *inode) isDir() bool { return i.entries != nil }

func (i *inode) put(name string, ino *inode) {
	i.pending = append(i.pending, change{name: name, ino: ino})
}

func (i *inode) putMoved(name string, ino *inode, m *move) {
	i.pending = append(i.pending, change{name, ino, m})
}

// now returns what a directory holds.
func (i *inode) now() map[string]*inode { return apply(i.entries, i.pending) }

func apply(entries map[string]*inode, changes []change) map[string]*inode {
	out := maps.Clone(entries)
	for _, c := range changes {
		if c.ino == nil {
			delete(out, c.name)
		} else {
			out[c.name] = c.ino
		}
	}
	return out
}

// find walks from the root. It returns nil for what is not there.
func (i *inode) find(name string) *inode {
	if name == "." {
		return i
	}
	for part := range strings.SplitSeq(name, "/") {
		if i == nil || !i.isDir() {
			return nil
		}
		i = i.now()[part]
	}
	return i
}

// snapshot returns what makes durable what the inode is now.
func (i *inode) snapshot() (commit func()) {
	if i.isDir() {
		upTo := i.synced + len(i.pending)
		return func() {
			n := upTo - i.synced
			if n <= 0 {
				return // another fsync was faster
			}
			i.entries = apply(i.entries, i.pending[:n])
			i.pending = i.pending[n:]
			i.synced = upTo
		}
	}
	b := slices.Clone(i.live)
	return func() { i.durable = append([]byte{}, b...) }
}

// load reads a directory, all of which counts as durable.
func load(dir string) (*inode, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	d := newDir()
	for _, e := range list {
		p := filepath.Join(dir, e.Name())
		if e.IsDir() {
			if d.entries[e.Name()], err = load(p); err != nil {
				return nil, err
			}
			continue
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return nil, err
		}
		d.entries[e.Name()] = &inode{live: b, durable: append([]byte{}, b...)}
	}
	return d, nil
}

// Loss decides what a power cut takes of what was not fsynced.
type Loss struct {
	// Random decides for each change of a directory whether it is lost. For each file it decides
	// how much of it is there. nil: all is lost.
	Random *rand.Rand
}

// Everything that was not fsynced is lost.
func Everything() Loss { return Loss{} }

// Some of what was not fsynced is lost, in no order.
func Some(seed uint64) Loss { return Loss{rand.New(rand.NewPCG(seed, 0))} }

// entries are those that a directory is found with.
func (l Loss) entries(d *inode) map[string]*inode {
	var kept []change
	for _, c := range d.pending {
		if l.Random != nil && l.keeps(c) {
			kept = append(kept, c)
		}
	}
	return apply(d.entries, kept)
}

func (l Loss) keeps(c change) bool {
	kept := l.Random.IntN(2) == 0
	if c.move == nil {
		return kept
	}
	if !c.move.decided {
		c.move.decided, c.move.kept = true, kept
	}
	return c.move.kept
}

// bytes are those that a file is found with.
func (l Loss) bytes(f *inode) []byte {
	if l.Random == nil || bytes.Equal(f.live, f.durable) {
		return f.durable
	}
	// The length may be that of the write while the blocks never arrived.
	b := make([]byte, max(len(f.live), len(f.durable)))
	copy(b, f.live[:l.Random.IntN(len(f.live)+1)])
	copy(b, f.durable)
	return b[:max(len(f.durable), l.Random.IntN(len(b)+1))]
}

// Rot has a file hold other bytes, durably, as a disk does that rots.
func (f *FS) Rot(name string, b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	ino := f.root.find(name)
	if ino == nil || ino.isDir() {
		return fmt.Errorf("rot %s: %w", name, fs.ErrNotExist)
	}
	ino.live, ino.durable = slices.Clone(b), append([]byte{}, b...)
	return os.WriteFile(filepath.Join(f.path, name), b, 0o640)
}

// Recover closes the directory and leaves it as a power cut may. The FS can't be
// used any more; New and chunkstore.OpenDir open what is left.
func (f *FS) Recover(loss Loss) error {
	f.CutPower()
	if err := f.Close(); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	list, err := os.ReadDir(f.path)
	if err != nil {
		return fmt.Errorf("recover %s: %w", f.path, err)
	}
	for _, e := range list {
		if err := os.RemoveAll(filepath.Join(f.path, e.Name())); err != nil {
			return fmt.Errorf("recover %s: %w", f.path, err)
		}
	}
	if err := loss.restore(f.path, f.root); err != nil {
		return fmt.Errorf("recover %s: %w", f.path, err)
	}
	return nil
}

func (l Loss) restore(dir string, d *inode) error {
	entries := l.entries(d)
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		p, ino := filepath.Join(dir, name), entries[name]
		if !ino.isDir() {
			if err := os.WriteFile(p, l.bytes(ino), 0o640); err != nil {
				return err
			}
			continue
		}
		if err := os.Mkdir(p, 0o750); err != nil {
			return err
		}
		if err := l.restore(p, ino); err != nil {
			return err
		}
	}
	return nil
}
