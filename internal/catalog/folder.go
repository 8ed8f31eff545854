package catalog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/raidpi/raidpi/internal/raid"
)

// claim makes the folder and the database file where they are missing and locks
// the file beside it against a second controller. Between these held is called: from
// then on nobody else uses the folder.
func claim(path string, held func() error) (*os.File, error) {
	dir := filepath.Dir(path)
	if err := makeFolders(dir); errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		// Not chown: the one above it may be everybody's.
		return nil, advised{fmt.Errorf("%w: raid-controller may not use or make %s: sudo install -d -o raid-controller -g raid-controller -m 700 %s",
			err, dir, shellWord(dir))}
	} else if err != nil {
		return nil, unwritable(dir, err)
	}
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unwritable(dir, err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: another raid-controller is using it; stop that one first", raid.ErrBusy)
		}
		return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	if held != nil {
		if err := held(); err != nil {
			_ = lock.Close()
			return nil, err
		}
	}
	// SQLite gives its other files the mode of this one.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return lock, nil
	}
	if err == nil {
		if err = f.Close(); err == nil {
			err = syncFolder(dir)
		}
	}
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return lock, nil
}

// makeFolders makes dir and its missing parents, durably.
func makeFolders(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	parent := filepath.Dir(dir)
	if err := makeFolders(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return syncFolder(parent)
}

// elsewhere is the section of the manual about a folder that is not the default one.
const elsewhere = "Another place for the catalog"

// unwritable says what to do about a folder that nothing can be written to.
func unwritable(dir string, err error) error {
	switch {
	case errors.Is(err, unix.EROFS):
		return advised{fmt.Errorf("%w: %s is read-only for raid-controller. How the disk is shows: findmnt -T %s. If it is ro there, Linux has made it so after disk errors: "+
			"see journalctl -k, check it with fsck, and mount it anew. If it is rw, the service must be allowed to write there: %s in /usr/share/doc/raid-controller/configuration.md", err, dir, shellWord(dir), elsewhere)}
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return advised{fmt.Errorf("%w: raid-controller may not write in %s; let it own what is there: sudo chown -R raid-controller: %s",
			err, dir, shellWord(dir))}
	}
	return err
}

// fsync is os.File.Sync but for tests, which look at which folders are flushed, and
// when.
var fsync = (*os.File).Sync

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := fsync(d); err != nil {
		return fmt.Errorf("make %s durable: %w", dir, err)
	}
	return nil
}
