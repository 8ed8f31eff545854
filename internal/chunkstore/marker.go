package chunkstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/raidpi/raidpi/internal/raid"
)

// markerFile says whose a chunk directory is. The file of this name in the state
// directory says which disk the node has.
const (
	markerFile   = "raid-node.json"
	markerFormat = 1
)

// marker is the content of markerFile in a chunk directory.
type marker struct {
	Format int          `json:"format"`
	Array  raid.ArrayID `json:"array"` // empty: none yet
	Node   raid.NodeID  `json:"node"`
	Disk   raid.DiskID  `json:"disk"`
}

// readMarker fails with fs.ErrNotExist, and with ErrDisk for what is no marker.
func readMarker(fsys FS) (m marker, err error) {
	text, err := readSmall(fsys, markerFile)
	if err != nil {
		return m, err
	}
	return parseMarker(text)
}

func parseMarker(text string) (m marker, err error) {
	err = json.Unmarshal([]byte(text), &m)
	switch {
	case err != nil:
		return marker{}, fmt.Errorf("%w: its %s is unreadable (%w); put a copy of it back%s", ErrDisk, markerFile, err, orNewDisk)
	case m.Format > markerFormat:
		return marker{}, fmt.Errorf("%w: %w: its %s has format %d and this raid-node knows %d; upgrade it",
			ErrDisk, raid.ErrUnsupported, markerFile, m.Format, markerFormat)
	}
	_, errNode := raid.DecodeID(string(m.Node))
	_, errDisk := raid.DecodeID(string(m.Disk))
	if errNode != nil || errDisk != nil || m.Array != "" && !raid.ValidName(string(m.Array)) {
		return marker{}, fmt.Errorf("%w: its %s has no valid ids; put a copy of it back%s", ErrDisk, markerFile, orNewDisk)
	}
	return m, nil
}

func writeMarker(fsys FS, m marker) error {
	m.Format = markerFormat
	return writeJSON(fsys, markerFile, m)
}

// writeJSON replaces a small file durably.
func writeJSON(fsys FS, path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	tmp := path + ".new"
	f, err := fsys.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(append(b, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := fsys.Rename(tmp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return syncDir(fsys, ".")
}

// remembered is the content of markerFile in the state directory.
type remembered struct {
	Node raid.NodeID `json:"node"`
	Disk raid.DiskID `json:"disk"`
}

// readState reads what the state directory remembers; known is false at the
// first start ever.
func readState(state FS) (r remembered, known bool, err error) {
	text, err := readSmall(state, markerFile)
	if errors.Is(err, fs.ErrNotExist) {
		return r, false, nil
	}
	if err != nil {
		return r, false, err
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil || r.Node == "" || r.Disk == "" {
		return r, false, fmt.Errorf("%w: %s in the state directory is unreadable (%v); remove it to believe the one in the chunk directory",
			ErrDisk, markerFile, err)
	}
	return r, true, nil
}

// makeDir makes a directory and those above it.
func makeDir(path string) error {
	if err := os.MkdirAll(path, dirMode); err != nil {
		return fmt.Errorf("make directory %s: %w", path, err)
	}
	return nil
}

// syncAbove makes the directories on the way to path durable, as far as this process may read them.
// It has not made those that it may not read.
func syncAbove(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("find directory: %w", err)
	}
	for parent := filepath.Dir(path); parent != path; path, parent = parent, filepath.Dir(parent) {
		f, err := os.Open(parent)
		if errors.Is(err, fs.ErrPermission) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("fsync directory: %w", err)
		}
		err = f.Sync()
		f.Close()
		if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EROFS) {
			return nil // above a mount point lies what is not ours
		}
		if err != nil {
			return fmt.Errorf("fsync directory: %w", err)
		}
	}
	return nil
}
