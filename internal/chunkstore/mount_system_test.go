//go:build system

package chunkstore_test

import (
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/raid"
)

// The tests of mounts run this program again with mounts of its own: nobody else
// sees them, and they end with it.
const mountChild = "RAIDPI_CHUNKSTORE_MOUNTS"

// withMounts runs the rest of a test in such a process. It returns false in the
// one that has started it.
func withMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv(mountChild) != "" {
		do(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), mountChild+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS} // qemu-user clones no namespaces
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// usb is a machine whose chunk directory is on a disk that is mounted at.
type usb struct {
	*machine
	at, disk, fstab string
}

func newUSB(t *testing.T) *usb {
	m := newMachine(t)
	dir := t.TempDir()
	u := &usb{m, filepath.Dir(m.chunks), filepath.Join(dir, "disk"), filepath.Join(dir, "fstab")}
	do(t, os.Mkdir(u.disk, 0o755))
	do(t, unix.Mount("tmpfs", u.disk, "tmpfs", 0, "size=4m"))
	t.Cleanup(func() { _ = unix.Unmount(u.at, unix.MNT_DETACH); _ = unix.Unmount(u.disk, unix.MNT_DETACH) })
	do(t, os.WriteFile(u.fstab, []byte("# disks\nUUID=1 / ext4 defaults 0 1\n\n"+strings.ReplaceAll(u.at, " ", `\040`)+" x\n"+
		"UUID=2 "+u.at+"/ ext4 defaults,nofail 0 2\n/elsewhere "+u.chunks+" none bind 0 0\nnone none swap sw 0 0\n"), 0o644))
	return u
}

func (u *usb) open(newDisk bool) (*chunkstore.Disk, error) {
	return chunkstore.OpenDisk(chunkstore.DiskConfig{ChunkDir: u.chunks, StateDir: u.state, NewDisk: newDisk, Random: rand.Reader, Fstab: u.fstab})
}

func (u *usb) plug() { u.t.Helper(); do(u.t, unix.Mount(u.disk, u.at, "", unix.MS_BIND, "")) }

func (u *usb) unplug() { u.t.Helper(); do(u.t, unix.Unmount(u.at, 0)) }

// says checks that the disk can't be opened, for what reason, and with words that
// help.
func (u *usb) says(newDisk bool, why error, words ...string) {
	u.t.Helper()
	d, err := u.open(newDisk)
	if err == nil {
		d.Close()
	}
	wantErr(u.t, err, why)
	for _, w := range append(words, u.chunks) {
		if !strings.Contains(err.Error(), w) {
			u.t.Errorf("error %q does not mention %q", err, w)
		}
	}
}

// The first rule: what belongs on the USB disk never comes to lie on the card.
func TestUnmountedDiskIsWaitedForAndNothingIsMadeInItsPlace(t *testing.T) {
	if !withMounts(t) {
		return
	}
	u := newUSB(t)
	waits := func(when string) {
		t.Helper()
		for _, newDisk := range []bool{false, true} {
			u.says(newDisk, chunkstore.ErrNotMounted, "sudo mount "+u.at+" && sudo systemctl restart raid-node", "findmnt", "/usr/share/doc/raid-node/chunk-disk.md")
		}
		if names, err := os.ReadDir(u.at); err != nil || len(names) > 0 {
			t.Errorf("%s: %v is in its place, %v", when, names, err)
		}
	}
	waits("at the first start ever")
	u.plug()
	d, err := u.open(false)
	do(t, err)
	node := d.Node()
	d.Close()
	u.unplug()
	waits("when it was used before")
	do(t, unix.Mount(u.at, u.at, "", unix.MS_BIND, "")) // as ReadWritePaths= does it
	waits("in a sandbox")
	u.unplug()
	if _, err := u.open(false); errors.Is(err, chunkstore.ErrDisk) {
		t.Errorf("%v: a service manager would not try again", err)
	}
	do(t, os.Remove(u.at))
	for _, newDisk := range []bool{false, true} {
		u.says(newDisk, chunkstore.ErrNotMounted, "sudo mount "+u.at)
	}
	if _, err := os.Stat(u.at); err == nil {
		t.Error("the mount point was made")
	}
	do(t, os.Mkdir(u.at, 0o755))
	u.plug()
	if d, err = u.open(false); err != nil || d.Node() != node {
		t.Fatalf("the disk is back: %v", err)
	}
	d.Close()
}

func TestSandboxThatForbidsTheDiskIsToldFromAReadOnlyDisk(t *testing.T) {
	if !withMounts(t) {
		return
	}
	u := newUSB(t)
	u.plug()
	do(t, unix.Mount("", u.at, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	sandboxed := []string{"read-only for this service", "sudo systemctl edit raid-node", "[Service]", "ReadWritePaths=" + u.chunks, "/usr/share/doc/raid-node/chunk-disk.md"}
	do(t, os.Mkdir(filepath.Join(u.disk, "chunks"), 0o755)) // as the guide says
	u.says(false, chunkstore.ErrDisk, sandboxed...)         // at the first start ever
	do(t, unix.Mount("", u.at, "", unix.MS_BIND|unix.MS_REMOUNT, ""))
	d, err := u.open(false)
	do(t, err)
	d.Close()
	do(t, unix.Mount("", u.at, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	u.says(false, chunkstore.ErrDisk, sandboxed...)
}

// After errors Linux mounts a disk read only: what is on it can still be read.
func TestReadOnlyDiskIsReadFromAndTakesNoChunk(t *testing.T) {
	if !withMounts(t) {
		return
	}
	u := newUSB(t)
	u.plug()
	do(t, os.Mkdir(u.chunks, 0o755))
	readOnly := func(flag uintptr) { t.Helper(); do(t, unix.Mount("", u.disk, "", unix.MS_REMOUNT|flag, "")) }
	readOnly(unix.MS_RDONLY)
	u.says(false, syscall.EROFS, "the disk is mounted read-only", "findmnt -T "+u.chunks, "fsck")
	readOnly(0)
	d, err := u.open(false)
	do(t, err)
	s, err := chunkstore.Open(chunkstore.Config{FS: d.FS, Array: func() raid.ArrayID { return testArray }})
	do(t, err)
	c := newChunk(t, 1000, 1)
	write(t, s, c)
	do(t, errors.Join(s.Close(), d.Close()))

	readOnly(unix.MS_RDONLY)
	d, err = u.open(false)
	do(t, err)
	defer d.Close()
	s, err = chunkstore.Open(chunkstore.Config{FS: d.FS, Array: func() raid.ArrayID { return testArray }})
	do(t, err)
	defer s.Close()
	if !s.Stats().ReadOnly {
		t.Error("it looks as if it took writes")
	}
	mustRead(t, s, c)
}

// The state directory has owners and mounts of its own.
func TestStateDirThatMayNotBeUsedIsTheOneThatIsNamed(t *testing.T) {
	if !withMounts(t) {
		return
	}
	m := newMachine(t)
	do(t, os.MkdirAll(m.state, 0o755))
	do(t, unix.Mount(m.state, m.state, "", unix.MS_BIND, ""))
	do(t, unix.Mount("", m.state, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	t.Cleanup(func() { _ = unix.Unmount(m.state, unix.MNT_DETACH) })
	_, err := m.try(false)
	wantErr(t, err, chunkstore.ErrDisk)
	if want := "ReadWritePaths=" + m.state + ","; !strings.Contains(err.Error(), want) {
		t.Errorf("%v does not say %q", err, want)
	}
}

func TestAMountThatTurnsReadOnlyIsTold(t *testing.T) {
	if !withMounts(t) {
		return
	}
	at := t.TempDir()
	do(t, unix.Mount("disk", at, "tmpfs", 0, "size=1m"))
	d, err := chunkstore.OpenDir(at)
	do(t, err)
	for _, readOnly := range []bool{false, true} {
		if readOnly {
			do(t, unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		}
		if u, err := d.Usage(); err != nil || u.ReadOnly != readOnly {
			t.Errorf("mounted read-only: %t, and it says %+v, %v", readOnly, u, err)
		}
	}
	do(t, d.Close())
	do(t, unix.Unmount(at, 0))
}
