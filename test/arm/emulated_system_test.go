//go:build system

package arm

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

const mib = 1 << 20

// processor is one that programs are run on by qemu-user.
type processor struct {
	arch     string // of the packages that are for it
	emulator []string
}

var (
	firstPi = processor{"armhf", []string{"qemu-arm-static", "-cpu", "arm1176"}}
	pi3     = processor{"arm64", []string{"qemu-aarch64-static", "-cpu", "cortex-a53"}}
)

// programs takes the programs out of their packages. It puts scripts of their names in the folder
// that it returns: each is its program, in the emulator's hands.
func (p processor) programs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	packed := filepath.Join(dir, "packed")
	for name, deb := range packages(t, p.arch) {
		if out, err := exec.CommandContext(t.Context(), "dpkg-deb", "-x", deb, packed).CombinedOutput(); err != nil {
			t.Fatalf("unpack %s: %v: %s", deb, err, out)
		}
		script := fmt.Sprintf("#!/bin/sh\nexec %s %s \"$@\"\n", strings.Join(p.emulator, " "), filepath.Join(packed, "usr/bin", name))
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// installEmulators has the emulators there, as every test here needs them.
func installEmulators(t *testing.T) {
	t.Helper()
	prepare(t, "emulators", "arm64")
}

// prepare runs the script of that name and returns the lines that it prints.
func prepare(t *testing.T, what, arch string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "./prepare", what, arch)
	cmd.Stderr = os.Stderr // what takes minutes says so
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("prepare %s %s: %v", what, arch, err)
	}
	return strings.Fields(string(out))
}

func TestArrayRunsOnTheFirstPi(t *testing.T) { arrayRuns(t, firstPi, 5*mib) }

func TestArrayRunsOnArm64(t *testing.T) { arrayRuns(t, pi3, mib) }

// arrayRuns is the life of a small array, all of whose programs are emulated. Nodes join, a file is
// stored and fetched, and all ends when it is told to.
func arrayRuns(t *testing.T, p processor, size int64) {
	installEmulators(t)
	bin := p.programs(t)
	c, err := cluster.Start(t.Context(), cluster.Config{
		Dir: t.TempDir(), Bin: bin, Nodes: 2, Joined: true, Timeout: 2 * time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })

	dir, photo := t.TempDir(), cluster.Content{Seed: 9, Size: size}.Bytes()
	file, again := filepath.Join(dir, "photo.jpg"), filepath.Join(dir, "again.jpg")
	if err := os.WriteFile(file, photo, 0o644); err != nil {
		t.Fatal(err)
	}
	raidctl := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "raidctl"), append([]string{"--socket", c.Socket()}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("raidctl %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	id := raidctl("upload", file)
	raidctl("download", id, "-o", again)
	if got, err := os.ReadFile(again); err != nil || !bytes.Equal(got, photo) {
		t.Errorf("the copy has %d bytes, want the %d of the photo: %v", len(got), len(photo), err)
	}
	if out := raidctl("status"); !strings.Contains(out, "2 up") {
		t.Errorf("status:\n%s", out)
	}
	if err := c.Terminate(time.Minute); err != nil {
		t.Errorf("%v; the controller's log:\n%s", err, c.Controller.LogTail(20))
	}
}

// TestTheFirstPiRefusesCodeForLaterOnes shows that the test above would see a program
// that was built for an ARMv7.
func TestTheFirstPiRefusesCodeForLaterOnes(t *testing.T) {
	installEmulators(t)
	dir := t.TempDir()
	source, program := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() { println(\"ran\") }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(version string) (string, error) {
		build := exec.CommandContext(t.Context(), "go", "build", "-o", program, source)
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=arm", "GOARM="+version)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build for GOARM=%s: %v: %s", version, err, out)
		}
		line := append(firstPi.emulator[1:], program)
		out, err := exec.CommandContext(t.Context(), firstPi.emulator[0], line...).CombinedOutput()
		return string(out), err
	}
	if out, err := run("6"); err != nil || out != "ran\n" {
		t.Errorf("GOARM=6: %v: %s", err, out)
	}
	out, err := run("7")
	var ended *exec.ExitError
	if !errors.As(err, &ended) {
		t.Fatalf("code for an ARMv7 ran on an arm1176: %v, %s", err, out)
	}
	if status := ended.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGILL {
		t.Errorf("it ended with %v, want an illegal instruction: %s", ended, out)
	}
}
