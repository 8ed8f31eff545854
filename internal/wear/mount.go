package wear

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/raidpi/raidpi/internal/raid"
)

// mount is a file system, as /proc/self/mountinfo (proc(5)) has it.
type mount struct {
	kind   string // such as "btrfs"
	source string // such as "/dev/mmcblk0p2"
}

// mountOf finds the file system that a folder is on. Of several at one place the last one
// hides those before.
func mountOf(machine fs.FS, dir string) (found mount, err error) {
	text, err := read(machine, "proc/self/mountinfo")
	if err != nil {
		return found, err
	}
	longest := -1
	for l := range strings.Lines(text) {
		at, m, ok := parseMount(l)
		if ok && isBelow(dir, at) && len(at) >= longest {
			longest, found = len(at), m
		}
	}
	if longest < 0 {
		return found, fmt.Errorf("no file system is mounted above %s", dir)
	}
	return found, nil
}

// parseMount reads a line: id, parent, number, root, place and options, further words, a
// hyphen, kind and source.
func parseMount(l string) (at string, m mount, ok bool) {
	front, back, ok := strings.Cut(l, " - ")
	if !ok {
		return "", m, false
	}
	before, after := strings.Fields(front), strings.Fields(back)
	if len(before) < 6 || len(after) < 2 {
		return "", m, false
	}
	return unescape(before[4]), mount{kind: after[0], source: unescape(after[1])}, true
}

// escapes are the characters that the kernel writes in octal.
var escapes = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

func unescape(s string) string { return escapes.Replace(s) }

// isBelow reports whether a path is at another or below it.
func isBelow(p, at string) bool {
	p, at = path.Clean(p), path.Clean(at)
	return p == at || at == "/" || strings.HasPrefix(p, at+"/")
}

// number finds the number of the disk that the mount is of.
func (m mount) number(machine fs.FS, number *string) error {
	name, ok := strings.CutPrefix(m.source, "/dev/")
	if !ok {
		return errNoDisk
	}
	if mapped, ok := strings.CutPrefix(name, "mapper/"); ok {
		var err error
		if name, err = mapping(machine, mapped); err != nil {
			return err
		}
	}
	n := word(machine, path.Join("sys/class/block", name, "dev"))
	if n == "" {
		return errNoDisk
	}
	*number = n
	return nil
}

// mapping is the kernel's name of a mapped disk, such as dm-0.
func mapping(machine fs.FS, mapped string) (string, error) {
	all, err := fs.ReadDir(machine, "sys/block")
	if err != nil {
		return "", err
	}
	for _, e := range all {
		if strings.HasPrefix(e.Name(), "dm-") && word(machine, "sys/block/"+e.Name()+"/dm/name") == mapped {
			return e.Name(), nil
		}
	}
	return "", errNoDisk
}

// serviceOf says whose writes are counted on a file system of which no disk is known. For control
// groups the kernel counts the writes of local file systems. It does not count what goes over a
// network or through a program of the user's. Nor does it count what ZFS writes later by itself.
func serviceOf(kind string) raid.WearSource {
	switch kind {
	case "overlay", "btrfs", "ext4", "xfs", "f2fs":
		return raid.WearOfService
	}
	return ""
}
