package service

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Volatile says, for a person, that what is written to a folder may be gone when the machine starts
// anew. The folder lies in memory, or on an overlay, as raspi-config makes one over a read-only
// card. key is the folder's name in the configuration. "" is none of these, or not known. One call
// to the system, and none to the disk.
func Volatile(key, dir string) string {
	for {
		var st unix.Statfs_t
		err := unix.Statfs(dir, &st)
		if above := filepath.Dir(dir); err != nil && above != dir {
			dir = above // it is yet to be made there
			continue
		}
		if err != nil {
			return ""
		}
		return volatileText(key, dir, int64(st.Type))
	}
}

// volatileText is Volatile by the number of a file system (statfs(2)).
func volatileText(key, dir string, kind int64) string {
	const forgets = "all that is stored there is lost with the next restart of this machine"
	switch uint32(kind) {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC:
		return fmt.Sprintf("%s, %s, lies in memory (tmpfs): %s. Set %s to a folder on a disk", key, dir, forgets, key)
	case unix.OVERLAYFS_SUPER_MAGIC:
		return fmt.Sprintf("%s, %s, lies on an overlay file system: if raspi-config's overlay is on, %s. "+
			"Turn it off (sudo raspi-config nonint disable_overlayfs, then restart), or set %s to a folder on a disk", key, dir, forgets, key)
	}
	return ""
}
