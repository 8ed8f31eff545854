//go:build system

package main

import (
	"errors"
	"github.com/raidpi/raidpi/internal/service"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// disk is a small disk, to which a node has its chunks.
func disk(t *testing.T) (dir, chunks string) {
	t.Helper()
	dir = t.TempDir()
	chunks = filepath.Join(dir, "chunks")
	if err := os.Mkdir(chunks, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", chunks, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatalf("mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(chunks, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	m := manage(t, dir)
	m.Ready()
	m.Stop()
	return dir, chunks
}

// Its chunks may be the last good copies, so they are served.
func TestNodeOnAReadOnlyDiskServesAndSaysSo(t *testing.T) {
	dir, chunks := disk(t)
	if err := syscall.Mount("", chunks, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	m := manage(t, dir)
	m.Ready()
	m.Await("a status", func() bool { return strings.HasPrefix(m.Status, "Disk is read only") })
	if log := m.Stop(); !strings.Contains(log, "<3>") || !strings.Contains(log, "read-only file system") {
		t.Errorf("log %s", log)
	}
}

func TestNodeOnAFullDiskServesAndSaysSo(t *testing.T) {
	dir, chunks := disk(t)
	f, err := os.Create(filepath.Join(chunks, "fills-it"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); ; {
		if _, err := f.Write(block); err != nil {
			break
		}
	}
	m := manage(t, dir)
	m.Ready()
	m.Await("a status", func() bool { return strings.HasPrefix(m.Status, "Disk is full") })
	if log := m.Stop(); !strings.Contains(log, "Disk is full") {
		t.Errorf("log %s", log)
	}
}

// It may be plugged in late: the service manager should try again.
func TestNodeWhoseDiskInFstabIsNotMountedEndsAsOneThatMayBeStartedAgain(t *testing.T) {
	dir := t.TempDir()
	etc := filepath.Join(dir, "etc")
	if err := errors.Join(os.Mkdir(etc, 0o755), os.Mkdir(filepath.Join(dir, "chunks"), 0o755),
		os.WriteFile(filepath.Join(etc, "fstab"), []byte("LABEL=chunks "+filepath.Join(dir, "chunks")+" ext4 defaults,noatime,nofail 0 2\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	// Mounts of its own, with another /etc.
	cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-c", `mount --bind "$1" /etc && exec "$2"`, "sh", etc, binary)
	cmd.Env = append(os.Environ(), settings(dir)...)
	out, _ := cmd.CombinedOutput() // its status is looked at
	if status := cmd.ProcessState.ExitCode(); status != service.ExitFailed || !strings.Contains(string(out), "disk not mounted: /etc/fstab has a disk for") {
		t.Errorf("status %d\n%s", status, out)
	}
	if names, err := os.ReadDir(filepath.Join(dir, "chunks")); err != nil || len(names) > 0 {
		t.Errorf("%v lies in the disk's place, %v", names, err)
	}
}
