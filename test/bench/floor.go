package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// floor writes what an array at its best would have to write. It writes each object as some copies,
// at once, to different ones of four directories, each copy a file that is fsynced. It is the load
// that the peers' figures are compared with.
type floor struct {
	dir     string
	copies  int   // files for each object
	size    int64 // bytes of each file
	dirSync bool  // fsync the directory after each file too
}

// floorDirs is the number of directories, as many as the array has nodes.
const floorDirs = 4

// writePiece is the number of bytes that one write call gets.
const writePiece = 1 << 20

// run writes a round's objects and removes them afterwards. The outcome counts
// the bytes of the load's objects, not of their copies.
func (f floor) run(l load) (outcome, error) {
	if err := os.RemoveAll(f.dir); err != nil {
		return outcome{}, fmt.Errorf("floor: %w", err)
	}
	for d := range floorDirs {
		if err := os.MkdirAll(f.folder(d), 0o755); err != nil {
			return outcome{}, fmt.Errorf("floor: %w", err)
		}
	}
	data := newSand()
	before, err := ownCPU()
	if err != nil {
		return outcome{}, fmt.Errorf("floor: %w", err)
	}
	out, err := l.each(func(i int, _ []byte) error { return f.object(i, data) })
	if err != nil {
		return out, fmt.Errorf("floor: %w", err)
	}
	after, err := ownCPU()
	if err != nil {
		return out, fmt.Errorf("floor: %w", err)
	}
	out.cpu = after - before
	if err := os.RemoveAll(f.dir); err != nil {
		return out, fmt.Errorf("floor: %w", err)
	}
	return out, nil
}

// ownCPU is the time that this process has used, in the kernel too: what merely
// writing the bytes costs on this machine.
func ownCPU() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}

func (f floor) folder(d int) string { return filepath.Join(f.dir, fmt.Sprint(d%floorDirs)) }

// object writes all copies of one object at once.
func (f floor) object(i int, data []byte) error {
	errs := make([]error, f.copies)
	var wg sync.WaitGroup
	for c := range f.copies {
		wg.Go(func() { errs[c] = f.file(f.folder(i+c), fmt.Sprintf("%06d-%d", i, c), data) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (f floor) file(dir, name string, data []byte) error {
	file, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer file.Close()
	for left := f.size; left > 0; {
		n := min(left, writePiece)
		if _, err := file.Write(data[:n]); err != nil {
			return err
		}
		left -= n
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if !f.dirSync {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
