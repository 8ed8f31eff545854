//go:build system

package arm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// workspace makes a folder in parent for all that a run makes. Those of runs that were
// killed are removed before, with what is mounted in them: they are gigabytes.
func workspace(parent string) (dir string, unlock func(), err error) {
	// One at a time, so that nobody takes a folder for left behind that is not locked yet.
	oneByOne, err := lock(filepath.Join(parent, fmt.Sprintf("raidpi-arm.%d.lock", os.Getuid())), syscall.LOCK_EX)
	if err != nil {
		return "", nil, err
	}
	defer oneByOne()
	left, err := filepath.Glob(filepath.Join(parent, "raidpi-arm-*"))
	if err != nil {
		return "", nil, err
	}
	for _, dir := range left {
		// What is in use, or somebody else's, stays.
		if unlock, err := lock(filepath.Join(dir, "lock"), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			err = removeMounted(dir)
			unlock()
			if err != nil {
				fmt.Fprintln(os.Stderr, "A run that was killed has left something behind:", err)
			}
		}
	}
	if dir, err = os.MkdirTemp(parent, "raidpi-arm-"); err != nil {
		return "", nil, err
	}
	unlock, err = lock(filepath.Join(dir, "lock"), syscall.LOCK_EX)
	return dir, unlock, err
}

func removeMounted(dir string) error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var mounted []string
	for line := range strings.Lines(string(table)) {
		if at := strings.Fields(line)[4]; strings.HasPrefix(at, dir+"/") {
			mounted = append(mounted, at)
		}
	}
	for _, at := range slices.Backward(mounted) {
		err = errors.Join(err, syscall.Unmount(at, 0))
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// lock takes a file's lock. It ends with the process, however that ends.
func lock(path string, how int) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), how); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil // which gives the lock back
}

func TestWhatAKilledRunLeavesIsRemovedByTheNext(t *testing.T) {
	parent := t.TempDir()
	killed, end, err := workspace(parent)
	if err != nil {
		t.Fatal(err)
	}
	mounted := filepath.Join(killed, "test", "mounted")
	if err := os.MkdirAll(mounted, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("none", mounted, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	running, endLater, err := workspace(parent)
	if err != nil {
		t.Fatal(err)
	}
	defer endLater()
	if _, err := os.Stat(mounted); err != nil {
		t.Errorf("that of a run that goes on is gone: %v", err)
	}
	end() // as the end of its process does it
	_, endLast, err := workspace(parent)
	if err != nil {
		t.Fatal(err)
	}
	defer endLast()
	if _, err := os.Stat(killed); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("that of a killed run is still there: %v", err)
	}
	if _, err := os.Stat(running); err != nil {
		t.Errorf("that of a run that goes on is gone: %v", err)
	}
}
