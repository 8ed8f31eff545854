package nspawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// diskSize is that of a host's disk. It takes no more room than what was written to it.
const diskSize = "4G"

// plugDisk gives the host a disk of its own, a copy of an image.
func (h *Host) plugDisk(ctx context.Context, of string) error {
	image := filepath.Join(h.dir, "disk.img")
	if err := run(ctx, "cp", "--sparse=always", "--reflink=auto", of, image); err != nil {
		return err
	}
	var err error
	if h.loop, err = attach(ctx, image); err != nil {
		return err
	}
	return h.mountDisk()
}

func attach(ctx context.Context, image string) (string, error) {
	out, err := output(ctx, "losetup", "--find", "--show", image)
	return strings.TrimSpace(out), err
}

// A file system that finds an error becomes read-only, as a Pi's does.
func (h *Host) mountDisk() error {
	if err := unix.Mount(h.loop, filepath.Join(h.dir, "disk"), "ext4", unix.MS_NOATIME, "errors=remount-ro"); err != nil {
		return fmt.Errorf("mount the disk of %s: %w", h.Name, err)
	}
	return nil
}

// detachLoops takes down the loop devices of images below a folder.
func detachLoops(ctx context.Context, dir string) error {
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, file := range files {
		image, failed := os.ReadFile(file)
		if failed != nil || !strings.HasPrefix(string(image), dir+"/") {
			continue // taken down since
		}
		name := strings.Split(file, "/")[3]
		err = errors.Join(err, run(ctx, "losetup", "--detach", "/dev/"+name))
	}
	return err
}

// AddDisk makes a block device with an empty ext4, for a host's Devices. It ends with
// the lab.
func (l *Lab) AddDisk(ctx context.Context, name, size, label string) (device string, err error) {
	image := filepath.Join(l.dir, name+".img")
	if err := run(ctx, "mkfs.ext4", "-q", "-L", label, image, size); err != nil {
		return "", err
	}
	return attach(ctx, image)
}

// The ioctl that makes an ext4 forget everything that was not synced: of its journal
// nothing more is written. linux/fs/ext4/ext4.h, which is not among the user API's.
const (
	ext4Shutdown           = 0x8004587d
	ext4ShutdownNoLogFlush = 2
)

// LosePower pulls the plug of the host with its disk: what it had not synced is lost.
// The disk is there again when this returns; the host is off.
func (h *Host) LosePower(ctx context.Context) error {
	// Frozen, so that nothing that happens after the loss is seen by anybody.
	if h.Leader() != 0 {
		if err := run(ctx, "ip", "-n", h.lab.id, "link", "set", h.port(), "down"); err != nil {
			return err
		}
		if err := h.Freeze(ctx); err != nil {
			return err
		}
	}
	disk := filepath.Join(h.dir, "disk")
	f, err := os.Open(disk)
	if err != nil {
		return err
	}
	err = unix.IoctlSetPointerInt(int(f.Fd()), ext4Shutdown, ext4ShutdownNoLogFlush)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("cut the power of the disk of %s: %w", h.Name, err)
	}
	if err := h.Plug(ctx); err != nil {
		return err
	}
	return h.remount()
}

func (h *Host) remount() error {
	if err := unix.Unmount(filepath.Join(h.dir, "disk"), 0); err != nil {
		return fmt.Errorf("unmount the disk of %s: %w", h.Name, err)
	}
	return h.mountDisk()
}

// FailDisk makes the disk's file system find an error: it is read-only from then on.
func (h *Host) FailDisk() error {
	return os.WriteFile(filepath.Join("/sys/fs/ext4", filepath.Base(h.loop), "trigger_fs_error"), []byte("1"), 0)
}

// RepairDisk makes a disk that failed good again. The host must be off.
func (h *Host) RepairDisk(ctx context.Context) error {
	if err := unix.Unmount(filepath.Join(h.dir, "disk"), 0); err != nil {
		return fmt.Errorf("unmount the disk of %s: %w", h.Name, err)
	}
	// Status 1 is: there were errors, and they are corrected.
	if out, err := output(ctx, "sh", "-c", `e2fsck -fy "$1" || [ $? = 1 ]`, "sh", h.loop); err != nil {
		return errors.Join(err, errors.New(out))
	}
	return h.mountDisk()
}

// FillDisk leaves so many bytes of the host's disk free.
func (h *Host) FillDisk(leave int64) error {
	disk := filepath.Join(h.dir, "disk")
	var st unix.Statfs_t
	if err := unix.Statfs(disk, &st); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(disk, "filler"))
	if err != nil {
		return err
	}
	size := int64(st.Bavail)*int64(st.Bsize) - leave
	if size > 0 {
		err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("fill the disk of %s: %w", h.Name, err)
	}
	return nil
}

// EmptyDisk takes back what FillDisk did.
func (h *Host) EmptyDisk() error { return os.Remove(filepath.Join(h.dir, "disk", "filler")) }

// DiskWrites counts the writes, and their bytes, that have reached the disk.
func (h *Host) DiskWrites() (writes, bytes int64, err error) {
	text, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(h.loop), "stat"))
	if err != nil {
		return 0, 0, err
	}
	f := strings.Fields(string(text)) // Documentation/block/stat.rst
	if len(f) < 7 {
		return 0, 0, fmt.Errorf("read the disk statistics of %s: %q", h.Name, text)
	}
	writes, err = strconv.ParseInt(f[4], 10, 64)
	sectors, failed := strconv.ParseInt(f[6], 10, 64)
	return writes, sectors * 512, errors.Join(err, failed)
}

// Sync writes the host's disk out, so that what comes after can be counted.
func (h *Host) Sync() error {
	f, err := os.Open(filepath.Join(h.dir, "disk"))
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}
