package chunkstore

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrNotMounted says that the disk of a chunk directory is not there, as far as can be seen. Errors
// wrap it. It may be plugged in, so starting again may help.
var ErrNotMounted = errors.New("disk not mounted")

// howTo names the page that tells a person how a chunk directory comes onto a disk.
const howTo = "see /usr/share/doc/raid-node/chunk-disk.md"

// fstab and mounts tell what should be mounted and what is: fstab(5) and
// proc_pid_mountinfo(5). Without them there is less advice.
const (
	fstab  = "/etc/fstab"
	mounts = "/proc/self/mountinfo"
)

// refuseUnmounted fails if fstab has a disk for the chunk directory that is not mounted. The
// directory that shows instead lies on the card, which is no place for chunks.
func (o *diskOpener) refuseUnmounted() error {
	at := plannedMount(o.fstab(), o.ChunkDir)
	if at == "" {
		return nil
	}
	var above, here unix.Stat_t
	if unix.Stat(filepath.Dir(at), &above) != nil {
		return nil // what follows tells
	}
	// A folder that lies on the disk of the one above it is no mount point. Nor is one that systemd
	// has bound to itself, for ReadWritePaths=.
	if err := unix.Stat(at, &here); err != nil && !errors.Is(err, fs.ErrNotExist) || err == nil && here.Dev != above.Dev {
		return nil
	}
	return fmt.Errorf("%w: %s has a disk for %s, and none is mounted there. Nothing was written. Plug it in, and run: sudo mount %s && sudo systemctl restart raid-node; "+
		"what is mounted shows: findmnt (%s)", ErrNotMounted, o.fstab(), at, shellWord(at), howTo)
}

func (o *diskOpener) fstab() string {
	if o.Fstab != "" {
		return o.Fstab
	}
	return fstab
}

// plannedMount is the innermost mount point in fstab that path is at or below,
// without the root, or "".
func plannedMount(fstab, path string) (at string) {
	eachLine(fstab, func(fields []string) {
		if len(fields) < 4 || strings.HasPrefix(fields[0], "#") || slices.ContainsFunc(strings.Split(fields[3], ","), func(o string) bool {
			return o == "bind" || o == "rbind"
		}) {
			return
		}
		if p := filepath.Clean(unescape(fields[1])); below(path, p) && len(p) > max(1, len(at)) {
			at = p
		}
	})
	return at
}

// readOnlyFor tells why nothing can be written at path. Its mount is read only for this process
// alone (a sandbox) or for all (the disk).
func readOnlyFor(path string) (sandbox, disk bool) {
	at := ""
	eachLine(mounts, func(f []string) {
		sep := slices.Index(f, "-")
		if len(f) < 6 || sep < 0 || len(f) < sep+4 {
			return
		}
		if p := unescape(f[4]); below(path, p) && len(p) >= len(at) {
			mount := slices.Contains(strings.Split(f[5], ","), "ro")
			disk = slices.Contains(strings.Split(f[sep+3], ","), "ro")
			at, sandbox = p, mount && !disk
		}
	})
	return sandbox, disk
}

func below(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// eachLine calls do with the words of each line of a file that can be read.
func eachLine(path string, do func(fields []string)) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		do(strings.Fields(lines.Text()))
	}
}

// unescape reads the \040 that stands for a space in both files.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// inWords adds to what the system says of a directory what can be done.
func inWords(dir string, err error) error {
	switch {
	case err == nil, errors.Is(err, ErrDisk), errors.Is(err, ErrInUse), errors.Is(err, ErrNotMounted):
		return err
	case errors.Is(err, unix.EROFS):
		return readOnlyInWords(dir, err)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		// Not ErrDisk: a mount point whose disk is away may be root's alone.
		return fmt.Errorf("%w: the user that raid-node runs as may not use it: if its disk is not mounted (see: findmnt), mount it; else run: "+
			"sudo chown -R raid-node: %s (and a service can't see into /home: use another place, %s)", err, shellWord(dir), howTo)
	case errors.Is(err, unix.EIO), errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV), errors.Is(err, unix.EUCLEAN), errors.Is(err, unix.ESHUTDOWN):
		return fmt.Errorf("%w: the disk gives errors; see journalctl -k, check its cable and its power, and its file system with fsck", err)
	case full(err):
		return fmt.Errorf("%w: the disk is full; see: df -h %s", err, shellWord(dir))
	}
	return err
}

func readOnlyInWords(dir string, err error) error {
	if sandbox, _ := readOnlyFor(dir); sandbox {
		return fmt.Errorf("%w: %w: it is read-only for this service, though not the disk. Run sudo systemctl edit raid-node, write [Service] and below it "+
			"ReadWritePaths=%s, then sudo systemctl restart raid-node (%s)", ErrDisk, err, dir, howTo)
	}
	return fmt.Errorf("%w: the disk is mounted read-only; Linux does that after disk errors: see journalctl -k and findmnt -T %s, "+
		"check it with fsck, and mount it anew", err, shellWord(dir))
}

// shellWord writes a path so that a shell takes it for one word.
func shellWord(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("/._-+,:@", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
