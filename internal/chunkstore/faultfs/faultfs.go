package faultfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"

	"github.com/raidpi/raidpi/internal/chunkstore"
)

// Op names a call of the file system.
type Op string

// The operations.
const (
	Open    Op = "open" // of what exists
	Create  Op = "create"
	Read    Op = "read"
	Write   Op = "write"
	Sync    Op = "fsync"
	SyncDir Op = "fsync directory"
	Mkdir   Op = "mkdir"
	Rename  Op = "rename" // Path is the new name
	Remove  Op = "remove"
)

// Call is one call of the file system.
type Call struct {
	Op   Op
	Path string
}

// ErrPower fails every call after the power was cut.
var ErrPower = errors.New("the power is off")

// FS is a file system that fails and forgets. It is safe for concurrent use.
type FS struct {
	path string
	real *chunkstore.Dir

	mu      sync.Mutex
	onCall  func(Call) error
	usage   *chunkstore.Usage
	off     bool
	closed  bool
	changes int // calls that change something or make it durable
	cutAt   int // the change that the power is cut before; 0: none
	root    *inode
}

// New opens and locks a directory. What is in it counts as durable.
func New(dir string) (*FS, error) {
	real, err := chunkstore.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	f := &FS{path: dir, real: real}
	if f.root, err = load(dir); err != nil {
		real.Close()
		return nil, fmt.Errorf("read %s: %w", dir, err)
	}
	return f, nil
}

// OnCall has do asked before every call. Its error is the call's; a write that
// fails so has written half of its bytes.
func (f *FS) OnCall(do func(Call) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onCall = do
}

// SetUsage fixes what Usage answers; nil: the truth.
func (f *FS) SetUsage(u *chunkstore.Usage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.usage = u
}

// CutPower cuts the power.
func (f *FS) CutPower() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.off = true
}

// CutPowerBefore cuts the power before the n-th change or fsync from now, n >= 1.
func (f *FS) CutPowerBefore(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cutAt = f.changes + n
}

// Off reports whether the power is off.
func (f *FS) Off() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.off
}

// Close releases the directory. It may be called again.
func (f *FS) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	return f.real.Close()
}

// begin asks whether a call may go on.
func (f *FS) begin(op Op, name string) error {
	f.mu.Lock()
	if op != Open && op != Read {
		f.changes++
		if f.changes == f.cutAt {
			f.off = true
		}
	}
	off, onCall := f.off, f.onCall
	f.mu.Unlock()
	if off {
		return ErrPower
	}
	if onCall != nil {
		return onCall(Call{op, name})
	}
	return nil
}

// OpenFile opens a file or directory.
func (f *FS) OpenFile(name string, flag int, perm fs.FileMode) (chunkstore.File, error) {
	op := Open
	if flag&os.O_CREATE != 0 {
		op = Create
	}
	if err := f.begin(op, name); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	real, err := f.real.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	ino := f.root.find(name)
	if ino == nil {
		ino = &inode{}
		f.root.find(path.Dir(name)).put(path.Base(name), ino)
	}
	if flag&os.O_TRUNC != 0 {
		ino.live = nil
	}
	return &file{File: real, fs: f, name: name, ino: ino}, nil
}

// Mkdir makes a directory.
func (f *FS) Mkdir(name string, perm fs.FileMode) error {
	if err := f.begin(Mkdir, name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.real.Mkdir(name, perm); err != nil {
		return err
	}
	f.root.find(path.Dir(name)).put(path.Base(name), newDir())
	return nil
}

// Rename moves a file.
func (f *FS) Rename(from, to string) error {
	if err := f.begin(Rename, to); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.real.Rename(from, to); err != nil {
		return err
	}
	ino := f.root.find(from)
	m := &move{}
	f.root.find(path.Dir(from)).putMoved(path.Base(from), nil, m)
	f.root.find(path.Dir(to)).putMoved(path.Base(to), ino, m)
	return nil
}

// Remove removes a file or an empty directory.
func (f *FS) Remove(name string) error {
	if err := f.begin(Remove, name); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.real.Remove(name); err != nil {
		return err
	}
	f.root.find(path.Dir(name)).put(path.Base(name), nil)
	return nil
}

// Usage is the truth or what SetUsage said.
func (f *FS) Usage() (chunkstore.Usage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.off:
		return chunkstore.Usage{}, ErrPower
	case f.usage != nil:
		return *f.usage, nil
	}
	return f.real.Usage()
}

// file is an open file or directory.
type file struct {
	chunkstore.File
	fs   *FS
	name string
	ino  *inode
}

// ReadAt reads from the real file.
func (f *file) ReadAt(b []byte, offset int64) (int, error) {
	if err := f.fs.begin(Read, f.name); err != nil {
		return 0, err
	}
	return f.File.ReadAt(b, offset)
}

// Readdirnames reads from the real directory.
func (f *file) Readdirnames(n int) ([]string, error) {
	if err := f.fs.begin(Read, f.name); err != nil {
		return nil, err
	}
	return f.File.Readdirnames(n)
}

// Write writes, or writes half and fails.
func (f *file) Write(b []byte) (int, error) {
	failed := f.fs.begin(Write, f.name)
	if errors.Is(failed, ErrPower) {
		return 0, failed
	}
	if failed != nil {
		b = b[:len(b)/2]
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	n, err := f.File.Write(b)
	f.ino.live = append(f.ino.live, b[:n]...)
	return n, errors.Join(failed, err)
}

// Sync makes durable what the file or directory is now, unless it fails.
func (f *file) Sync() error {
	op := Sync
	if f.ino.isDir() {
		op = SyncDir
	}
	// The fsync sees the content at its beginning.
	f.fs.mu.Lock()
	commit := f.ino.snapshot()
	f.fs.mu.Unlock()
	if err := f.fs.begin(op, f.name); err != nil {
		return err
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.fs.off {
		return ErrPower
	}
	commit()
	return nil
}
