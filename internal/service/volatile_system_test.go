//go:build linux && system

package service

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAFolderThatForgetsIsTold(t *testing.T) {
	dir := t.TempDir()
	mount := func(at, kind, options string) {
		t.Helper()
		if err := unix.Mount(kind, at, kind, 0, options); err != nil {
			t.Fatalf("mount %s: %v", kind, err)
		}
		t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	}
	memory, over := filepath.Join(dir, "memory"), filepath.Join(dir, "over")
	for _, d := range []string{memory, over} {
		if out, err := exec.Command("mkdir", d).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	mount(memory, "tmpfs", "size=1m")
	for _, d := range []string{"lower", "upper", "work"} {
		if out, err := exec.Command("mkdir", filepath.Join(memory, d)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	// As raspi-config does: what is written goes to memory.
	mount(over, "overlay", "lowerdir="+memory+"/lower,upperdir="+memory+"/upper,workdir="+memory+"/work")
	for at, want := range map[string]string{
		memory:                        "in memory",
		filepath.Join(memory, "a/b"):  "in memory", // yet to be made
		over:                          "raspi-config nonint disable_overlayfs",
		filepath.Join(over, "chunks"): "overlay",
	} {
		if got := Volatile("chunk_dir", at); !strings.Contains(got, want) || !strings.Contains(got, "chunk_dir") {
			t.Errorf("%s: %q, want %q", at, got, want)
		}
	}
	for _, kind := range []int64{unix.EXT4_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.XFS_SUPER_MAGIC} {
		if got := volatileText("state_dir", "/x", kind); got != "" {
			t.Errorf("of a disk it is said: %s", got)
		}
	}
}
