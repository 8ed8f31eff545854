package chunkstore_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/raidpi/raidpi/internal/chunkstore"
)

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Without a line in fstab nobody knows what belongs there.
func TestChunkDirIsNotMadeWhereItsFolderIsMissing(t *testing.T) {
	m := newMachine(t)
	do(t, os.Remove(filepath.Dir(m.chunks)))
	m.absent("which does not exist", "If a disk belongs there, mount it; else run: sudo mkdir -p "+filepath.Dir(m.chunks))
	if _, err := m.try(true); !errors.Is(err, chunkstore.ErrNotMounted) {
		t.Errorf("as a new disk: %v", err)
	}
	if _, err := os.Stat(filepath.Dir(m.chunks)); err == nil {
		t.Error("it was made")
	}
}

func TestChunkDirOfAnotherUserIsToldInWords(t *testing.T) {
	m := newMachine(t)
	m.start(false)
	base := filepath.Dir(filepath.Dir(filepath.Dir(m.chunks)))
	do(t, errors.Join(os.Chmod(base, 0o755), os.Chmod(m.state, 0o755), os.Chmod(filepath.Join(m.state, "raid-node.json"), 0o644), os.Chmod(m.chunks, 0)))
	t.Cleanup(func() { do(t, os.Chmod(m.chunks, 0o750)) }) // so that it can be removed
	said := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if os.Getuid() == 0 {
			_ = syscall.Setfsuid(65534) // of this thread alone
		}
		_, err := m.try(false)
		said <- err
	}()
	err := <-said
	wantErr(t, err, syscall.EACCES)
	if errors.Is(err, chunkstore.ErrDisk) {
		t.Errorf("%v: a mount point of root's would never see its disk", err)
	}
	if want := fmt.Sprintf("sudo chown -R raid-node: %s ", m.chunks); !strings.Contains(err.Error(), want) {
		t.Errorf("%v does not say %q", err, want)
	}
}
