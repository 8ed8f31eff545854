//go:build system

package catalog

import (
	"golang.org/x/sys/unix"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestUpgradeWithoutRoomForTheCopyIsRefusedAndChangesNothing(t *testing.T) {
	path, _ := bigCatalog(t)
	out := withMounts(t, "room", path)
	for _, want := range []string{"refused: true false true 0 ", "no space left", "a copy of the catalog is made beside it, and the change is written to its log. That needs ",
		"Nothing was changed. Free ", " MiB and start raid-controller again, or install the version that ran before", "with room: 1 <nil>"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// withMounts runs this program again as a child that may mount disks of its own, and
// returns what it prints.
func withMounts(t *testing.T, job, path string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childJob+"="+job, childPath+"="+path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS} // qemu-user clones no namespaces
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func TestDeletesGoOnOnAFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk", "catalog.db")
	out := withMounts(t, "full", path)
	for _, want := range []string{"filled while it runs: <nil>", "filled before it starts: <nil>"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}
