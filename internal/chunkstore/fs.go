package chunkstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	"golang.org/x/sys/unix"
)

// FS is the part of a file system that the store needs. Names are relative, with slashes. Errors
// are those of package os, so that errors.Is finds fs.ErrNotExist and syscall numbers in them.
type FS interface {
	// OpenFile opens files, and directories for File.Sync and File.Readdirnames.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	Mkdir(name string, perm fs.FileMode) error
	Rename(from, to string) error
	Remove(name string) error
	Usage() (Usage, error)
}

// File is an open file or directory of an FS. *os.File is one.
type File interface {
	io.ReaderAt
	io.WriteCloser
	Sync() error
	Stat() (fs.FileInfo, error)
	Readdirnames(n int) ([]string, error) // as os.File's
}

// Usage is the room on a file system, in bytes.
type Usage struct {
	Total    int64
	Free     int64 // for those who are not root
	ReadOnly bool  // it is mounted so, maybe by the kernel after an error
}

// Modes of what the store creates: chunks are nobody else's business.
const (
	fileMode = 0o640
	dirMode  = 0o750
)

// Dir is the FS of a real directory.
type Dir struct {
	root *os.Root
	lock *os.File // the directory itself, which the lock is on
}

// OpenDir opens the directory at path and locks it until Close (flock(2)), so
// that no two processes use it. It fails with ErrInUse while another has it.
func OpenDir(path string) (*Dir, error) {
	d, err := openRoot(path)
	if err != nil {
		return nil, err
	}
	// The lock is on the directory and not on the marker in it. A changed marker is replaced by a
	// rename, which would take the lock away with it.
	err = unix.Flock(int(d.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK):
		err = fmt.Errorf("lock %s: %w: another raid-node has it; stop that one first", path, ErrInUse)
	case err != nil:
		err = fmt.Errorf("lock chunk directory %s: %w", path, err)
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// openRoot is OpenDir without the lock.
func openRoot(path string) (*Dir, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	self, err := root.Open(".")
	if err != nil {
		root.Close()
		return nil, fmt.Errorf("open directory: %w", err)
	}
	return &Dir{root, self}, nil
}

// OpenFile opens a file or directory. Reading does not touch access times where
// that is allowed (one's own files), so that reading a disk does not write it.
func (d *Dir) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	switch fd, err := d.openAtOnce(name, flag, perm); {
	case err == nil:
		return os.NewFile(uintptr(fd), d.root.Name()+"/"+name), nil
	case !mayTryRoot(err):
		return nil, err
	}
	if flag == os.O_RDONLY {
		f, err := d.root.OpenFile(name, flag|unix.O_NOATIME, perm)
		if !errors.Is(err, syscall.EPERM) {
			return file(f, err)
		}
	}
	return file(d.root.OpenFile(name, flag, perm))
}

// file keeps a nil *os.File from becoming a File that is not nil.
func file(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Mkdir makes a directory.
func (d *Dir) Mkdir(name string, perm fs.FileMode) error { return d.root.Mkdir(name, perm) }

// Rename moves a file, replacing what has the new name. The new name's folder is none
// behind a symbolic link that leads out of the directory.
func (d *Dir) Rename(from, to string) error {
	root := int(d.lock.Fd())
	folder := root
	if dir := path.Dir(to); dir != "." {
		var err error
		switch folder, err = d.openAtOnce(dir, unix.O_PATH|unix.O_DIRECTORY, 0); {
		case mayTryRoot(err):
			return d.root.Rename(from, to)
		case err != nil:
			return err
		}
		defer unix.Close(folder)
	}
	if err := unix.Renameat(root, from, folder, path.Base(to)); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// Remove removes a file or an empty directory.
func (d *Dir) Remove(name string) error { return d.root.Remove(name) }

// Usage asks the file system, which answers from memory.
func (d *Dir) Usage() (Usage, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(d.lock.Fd()), &st); err != nil {
		return Usage{}, fmt.Errorf("ask for free space: %w", err)
	}
	size := int64(st.Bsize) // its type differs between architectures
	if st.Frsize > 0 {
		size = int64(st.Frsize)
	}
	readOnly := int64(st.Flags)&unix.ST_RDONLY != 0
	return Usage{Total: int64(st.Blocks) * size, Free: int64(st.Bavail) * size, ReadOnly: readOnly}, nil
}

// Touch reads a block of the marker from the disk itself, not from the kernel's memory.
func (d *Dir) Touch() error {
	f, err := d.OpenFile(markerFile, os.O_RDONLY, 0) // which leaves the access time alone
	if err != nil {
		return err
	}
	defer f.Close()
	// What the kernel remembers of it is clean: nothing is written for this.
	if osFile, ok := f.(*os.File); ok {
		if err := unix.Fadvise(int(osFile.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			return fmt.Errorf("read %s from the disk: %w", markerFile, err)
		}
	}
	if _, err := f.ReadAt(make([]byte, 1), 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %s from the disk: %w", markerFile, err)
	}
	return nil
}

// Close releases the directory and its lock.
func (d *Dir) Close() error { return errors.Join(d.lock.Close(), d.root.Close()) }

// full reports whether an error says that a file system has no room for more.
func full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// exhausted reports whether an error says that this process or machine is short
// of something else than disk space. It says nothing about the disk.
func exhausted(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ENOMEM)
}

// fileSize opens a file for its size, which also tells whether it is there.
func fileSize(fsys FS, name string) (int64, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}
