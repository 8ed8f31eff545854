package wear

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/raidpi/raidpi/internal/raid"
)

// maxFile bounds the part of a file of the kernel that is looked at, in bytes.
const maxFile = 256 << 10

// read reads a file of the kernel.
func read(machine fs.FS, name string) (string, error) {
	f, err := machine.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	return string(b), err
}

// word reads what one line of the kernel says; empty: there is none that can be read.
func word(machine fs.FS, name string) string {
	text, err := read(machine, name)
	if err != nil {
		return ""
	}
	text, _, _ = strings.Cut(text, "\n")
	return strings.TrimSpace(text)
}

// disk is the disk under a folder.
type disk struct {
	name   string // of the whole disk, in /sys/block; empty: none is known
	medium raid.Medium
	model  string
	serial string // which tells it from others of its kind; empty: not known
	source raid.WearSource
}

// errNoDisk is that a folder lies on no disk that the kernel names.
var errNoDisk = errors.New("the kernel names no disk")

// locate finds the disk of a folder, whose st_dev is given.
func locate(machine fs.FS, dir string, dev uint64) disk {
	number := fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev))
	mount, _ := mountOf(machine, dir)
	if unix.Major(dev) == 0 { // a file system that is on no disk, or on several
		switch mount.kind {
		case "tmpfs", "ramfs":
			return disk{medium: raid.MediumMemory}
		}
		if mount.number(machine, &number) != nil {
			return disk{source: serviceOf(mount.kind)}
		}
	}
	name, err := wholeDisk(machine, number)
	if err != nil {
		return disk{source: serviceOf(mount.kind)}
	}
	d := disk{name: below(machine, name), source: raid.WearOfDevice}
	d.describe(machine)
	return d
}

// wholeDisk is the name of the disk with that number, or of the disk that the partition
// with that number is on.
func wholeDisk(machine fs.FS, number string) (string, error) {
	link := "sys/dev/block/" + number
	target, err := fs.ReadLink(machine, link)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNoDisk, err)
	}
	if word(machine, link+"/partition") != "" {
		target = path.Dir(target)
	}
	name := path.Base(target)
	if name == "." || name == ".." || name == "/" {
		return "", errNoDisk
	}
	return name, nil
}

// deepest is the number of layers of mapped disks that are looked through.
const deepest = 4

// below is the disk under one that is mapped onto it, as by encryption. It is the same disk if it is
// on several, or on none.
func below(machine fs.FS, name string) string {
	for range deepest {
		under, err := fs.ReadDir(machine, "sys/block/"+name+"/slaves")
		if err != nil || len(under) != 1 {
			break
		}
		next, err := wholeDisk(machine, word(machine, "sys/block/"+name+"/slaves/"+under[0].Name()+"/dev"))
		if err != nil {
			break
		}
		name = next
	}
	return name
}

// describe finds out what a disk is made of.
func (d *disk) describe(machine fs.FS) {
	at := "sys/block/" + d.name + "/"
	first := func(names ...string) string {
		for _, name := range names {
			if s := word(machine, at+name); s != "" {
				return s
			}
		}
		return ""
	}
	is := func(prefix string) bool { return strings.HasPrefix(d.name, prefix) }
	switch {
	case is("mmcblk"):
		d.medium, d.model = raid.MediumSD, first("device/name")
		if first("device/type") == "MMC" {
			d.medium = raid.MediumEMMC
		}
	case is("nvme"):
		d.medium, d.model = raid.MediumNVMe, first("device/model")
	case is("ram"), is("zram"):
		*d = disk{name: d.name, medium: raid.MediumMemory}
		return
	default:
		d.medium, d.model = raid.MediumDisk, first("device/model")
	}
	d.model = clip(d.model)
	d.serial = clip(first("device/cid", "device/serial", "wwid", "device/wwid", "serial"))
}

// longest bounds a text of the kernel that is kept, in bytes.
const longest = 64

func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), longest)], "") }

// written reads how many bytes were written since the machine's start.
func (d *disk) written(machine fs.FS) (bytes uint64, err error) {
	switch d.source {
	case raid.WearOfDevice:
		text, err := read(machine, "sys/block/"+d.name+"/stat")
		if err != nil {
			return 0, err
		}
		return sectorsWritten(text)
	case raid.WearOfService:
		text, err := read(machine, "proc/self/cgroup")
		if err != nil {
			return 0, err
		}
		if text, err = read(machine, path.Join("sys/fs/cgroup", ownGroup(text), "io.stat")); err != nil {
			return 0, err
		}
		return groupWritten(text)
	}
	return 0, errNoDisk
}

const (
	sector       = 512 // bytes, whatever the disk's own are
	sectorsField = 6   // of Documentation/block/stat.rst, from 0
	// round is at how many bytes the counter of a 32-bit kernel begins anew.
	round = sector << 32
)

// sectorsWritten reads /sys/block/DISK/stat.
func sectorsWritten(text string) (bytes uint64, err error) {
	fields := strings.Fields(text)
	if len(fields) <= sectorsField {
		return 0, fmt.Errorf("%d numbers of a disk are too few", len(fields))
	}
	n, err := strconv.ParseUint(fields[sectorsField], 10, 64)
	if err != nil || n > most/sector {
		return 0, fmt.Errorf("%.40q is no number of sectors", fields[sectorsField])
	}
	return n * sector, nil
}

// ownGroup reads /proc/self/cgroup: the path of the process in the unified hierarchy.
func ownGroup(text string) string {
	for l := range strings.Lines(text) {
		if group, ok := strings.CutPrefix(strings.TrimSpace(l), "0::"); ok {
			return group
		}
	}
	return ""
}

// groupWritten reads io.stat of a control group. A disk that is mapped onto another one
// counts there as both do, so the number is that of the disk with most.
func groupWritten(text string) (bytes uint64, err error) {
	for l := range strings.Lines(text) {
		for _, f := range strings.Fields(l) {
			number, ok := strings.CutPrefix(f, "wbytes=")
			if !ok {
				continue
			}
			n, err := strconv.ParseUint(number, 10, 64)
			if err != nil || n > most {
				return 0, fmt.Errorf("%.40q is no number of bytes", number)
			}
			bytes = max(bytes, n)
		}
	}
	return bytes, nil
}

// since returns the number of bytes written between two looks.
func since(before, now uint64) uint64 {
	if now >= before {
		return now - before
	}
	// At a terabyte an hour a look sees less than that.
	if went := now + round - before; before < round && went < round>>8 {
		return went
	}
	return now // the disk was taken off and put back, and counts anew
}
