//go:build system

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// disk is a small disk of its own.
func disk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=80m"); err != nil {
		t.Fatalf("mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "fills-it"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 4096)
	for {
		if _, err := f.Write(block); err != nil {
			return
		}
	}
}

func TestControllerStartsOnAFullDisk(t *testing.T) {
	dir := disk(t)
	stopped(t, dir)
	fill(t, dir)
	for range 2 {
		m := manage(t, nil, "RAID_CONTROLLER_STATE_DIR="+dir)
		m.Ready()
		_ = m.Cmd.Process.Signal(syscall.SIGTERM)
		if got := m.Ends(); got != 0 {
			t.Fatalf("status %d: %s", got, m.Log.String())
		}
		if n := m.Count("STOPPING=1"); n != 1 {
			t.Errorf("STOPPING %d times", n)
		}
	}
	if err := os.Remove(filepath.Join(dir, "fills-it")); err != nil {
		t.Fatal(err)
	}
	stopped(t, dir)
	if _, err := os.Stat(filepath.Join(dir, "spare-room")); err != nil {
		t.Errorf("no room is kept for the next time: %v", err)
	}
}

// One that never had room to spare is told apart from one whose disk gives errors.
func TestControllerSaysThatItsDiskIsFull(t *testing.T) {
	dir := disk(t)
	stopped(t, dir)
	if err := os.Remove(filepath.Join(dir, "spare-room")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	fill(t, dir)
	m := manage(t, nil, "RAID_CONTROLLER_STATE_DIR="+dir)
	if got := m.Ends(); got != 1 || !strings.Contains(m.Status, "the disk of "+dir+" is full: see df -h") {
		t.Errorf("status %d, %q", got, m.Status)
	}
}

func TestControllerSaysThatItsDiskIsReadOnly(t *testing.T) {
	dir := disk(t)
	stopped(t, dir)
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	m := manage(t, nil, "RAID_CONTROLLER_STATE_DIR="+dir)
	if got := m.Ends(); got != 1 || strings.Count(m.Status, " is read-only") != 1 || !strings.Contains(m.Status, "fsck") {
		t.Errorf("status %d, %q", got, m.Status)
	}
}

func TestControllerSaysWhoMayNotUseItsFolder(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	// A copy, since others may not enter the folder of the binary.
	at := filepath.Join(os.TempDir(), "raid-controller-"+strconv.Itoa(os.Getpid()))
	text, err := os.ReadFile(binary)
	if err == nil {
		err = os.WriteFile(at, text, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(at)
	cmd := exec.CommandContext(ctx, at)
	cmd.Dir = "/"
	cmd.Env = append(append(os.Environ(), settings(t)...), "RAID_CONTROLLER_STATE_DIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, _ := cmd.CombinedOutput() // its status is looked at below
	if got := cmd.ProcessState.ExitCode(); got != 1 || !strings.Contains(string(out), "sudo install -d -o raid-controller -g raid-controller -m 700 "+dir) || strings.Contains(string(out), "chown") {
		t.Errorf("status %d: %s", got, out)
	}
}

// It has other ports, so that only the catalog's lock is in its way.
func TestSecondControllerChangesNothingInTheFolderOfTheFirst(t *testing.T) {
	dir := disk(t)
	first := manage(t, nil, "RAID_CONTROLLER_STATE_DIR="+dir)
	first.Ready()
	fill(t, dir) // now a start would take the room that the first one keeps
	before := beside(t, dir)
	m := manage(t, nil, "RAID_CONTROLLER_STATE_DIR="+dir)
	if got := m.Ends(); got != 1 || !strings.Contains(m.Status, "another raid-controller is using it") {
		t.Errorf("status %d, %q", got, m.Status)
	}
	if after := beside(t, dir); !slices.Equal(after, before) {
		t.Errorf("the folder was\n%q and is\n%q", before, after)
	}
	if err := first.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := first.Ends(); got != 0 {
		t.Errorf("the first one ends with %d", got)
	}
}
