package catalog

import (
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/raidpi/raidpi/internal/raid"
)

// floor is the free space that any transaction needs, in bytes: more than the log and the
// database grow by in one group of writes. A disk that fills up during a COMMIT
// would leave its outcome unknown and end the process; being refused before
// costs nothing.
const floor = 8 << 20

// space returns the bytes that are free to this process on path's disk.
func space(path string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(path), &st); err != nil {
		return 0, fmt.Errorf("look for free space at %s: %w", filepath.Dir(path), err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

// roomFor tells how many bytes are free for ops, of which some were kept for a full
// disk if there is one that helps it, such as a delete.
func (w *writer) roomFor(ops []*op) (int64, error) {
	free, err := space(w.path)
	if err == nil && free < floor && slices.ContainsFunc(ops, func(o *op) bool { return o.frees }) && w.spare.give(free, lastBytes) {
		return space(w.path)
	}
	return free, err
}

// room tells why a write may not begin, or returns nil. grows is true for
// uploads, which leave the reserve alone, and what deletes need.
func (w *writer) room(free int64, grows bool) error {
	need := int64(floor)
	if grows {
		need += max(w.reserve, w.spare.owed())
	}
	if free >= need {
		return nil
	}
	return fmt.Errorf("%w: %d MiB are free on the disk of %s and %d MiB are kept in reserve; free some",
		raid.ErrNoSpace, free>>20, w.path, need>>20)
}
