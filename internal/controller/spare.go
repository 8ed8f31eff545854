package controller

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A catalog on a full disk could not even be opened: SQLite needs a log for the
// number of the run, and an index for that. So some room is kept in a file that is
// removed when it is needed: then files can be read, and deleted to make more.
const (
	spareFile  = "spare-room"
	spareBytes = 8 << 20
	// scarce is with how little free space the file goes, and ample with how much it
	// comes back.
	scarce = 4 << 20
	ample  = 64 << 20
)

// giveRoom sees to it that a catalog can be opened on a full disk. What goes wrong is
// for those who open it to tell. It is called with the catalog's lock held: the room
// is that of the controller that runs.
func giveRoom(cfg *Config) error {
	path := filepath.Join(cfg.StateDir, spareFile)
	var st unix.Statfs_t
	if unix.Statfs(cfg.StateDir, &st) != nil {
		return nil // not there yet, or not to be used
	}
	free := int64(st.Bavail) * int64(st.Bsize)
	file, err := os.Stat(path)
	if err == nil && file.Size() < spareBytes { // the power went while it was made
		err = os.Remove(path)
		if err == nil {
			err = fs.ErrNotExist
		}
	}
	switch there := err == nil; {
	case there && free < scarce:
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("make room on a full disk: %w", err)
		}
		cfg.Log.Warn("The disk of state_dir is full: files can be read and deleted, not stored. See df -h, and free some", "free_bytes", free, "state_dir", cfg.StateDir)
	case !there && errors.Is(err, fs.ErrNotExist) && free > ample:
		if err := reserveFile(path); err != nil {
			cfg.Log.Debug("No room is kept for a full disk", "reason", err)
		}
	}
	return nil
}

// reserveFile makes a file whose room is its own.
func reserveFile(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, spareBytes), f.Close())
	if err != nil {
		_ = os.Remove(path)
	}
	return err
}
