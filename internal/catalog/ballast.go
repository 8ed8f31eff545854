package catalog

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// A catalog on a full disk could not even be opened. SQLite needs a log for the
// number of the run, and an index for that. And with less than floor free nothing
// could be deleted. So some room is kept in a file that is removed when it is needed.
const (
	// logBytes is the length of the log before it is moved into the database.
	logBytes = checkpointPages * 4096
	// ballastBytes is room for the log, for floor, which must be left beside it, and
	// for what the database grows by while chunks wait for their removal.
	ballastBytes = 32 << 20
	// lastBytes of it are for opening alone. Others may fill the disk again after the
	// rest was given up, and a controller that does not start reads nothing either.
	lastBytes = 4 << 20
	// scarce is with how little free space at a start room is given up, and ample
	// with how much beyond the reserve the file is made: with that much left after it
	// that it neither stops uploads nor has to go soon.
	scarce = floor + logBytes
	ample  = 2 * ballastBytes
)

// ballast is that file. Only one goroutine uses it at a time: that of open, then the
// writer's.
type ballast struct {
	path    string // "": no room is kept
	reserve int64
	log     *slog.Logger
	held    int64 // bytes in the file
}

// keep makes the file where there is room for it, or gives it up so that the catalog
// can be opened. It is called with the catalog's lock held: the room is that of the
// controller that runs. What goes wrong is for those who open the catalog to tell.
func (s *ballast) keep() {
	if s.path == "" {
		return
	}
	free, err := space(s.path)
	if err != nil {
		return
	}
	st, err := os.Stat(s.path)
	if err == nil { // a copy may have the size and no blocks
		s.held = min(st.Size(), st.Sys().(*syscall.Stat_t).Blocks*512)
	}
	switch {
	case err == nil && free < scarce:
		if !s.give(free, lastBytes) && free < lastBytes {
			s.give(free, 0)
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
	case s.held < ballastBytes && free > ample+s.reserve:
		if err := s.make(); err != nil {
			s.log.Debug("No room is kept for a full disk", "reason", err)
		}
	}
}

// make makes the file, whose room is its own. One that is too small, since the power
// went while it was made, is made anew.
func (s *ballast) make() error {
	if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.held = 0
	f, err := os.OpenFile(s.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(unix.Fallocate(int(f.Fd()), 0, 0, ballastBytes), f.Close()); err != nil {
		_ = os.Remove(s.path)
		return err
	}
	s.held = ballastBytes
	return nil
}

// give gives up all but so many bytes of the room, and reports whether it had more.
func (s *ballast) give(free, left int64) bool {
	if s.held <= left {
		return false
	}
	err := os.Truncate(s.path, left)
	if left == 0 {
		err = os.Remove(s.path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("The disk of state_dir is full, and the room that is kept for that can't be given up", "error", err)
		return false
	}
	s.held = left
	s.log.Warn("The disk of state_dir is full: files can be read and deleted, not stored. See df -h, and free some", "free_bytes", free, "state_dir", filepath.Dir(s.path))
	return true
}

// owed is the room that uploads have to leave free because it is not in the file: they do not
// take what deletes need.
func (s *ballast) owed() int64 {
	if s.path == "" {
		return 0
	}
	return max(0, ballastBytes-s.held)
}
