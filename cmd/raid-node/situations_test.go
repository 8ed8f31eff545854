package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/raidpi/raidpi/internal/service/unit"
)

// manage runs it as systemd does.
func manage(t *testing.T, dir string, env ...string) *unit.Unit {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env = append(append(os.Environ(), settings(dir)...), env...)
	return unit.Start(t, cmd)
}

// The controller is away all the time.
func TestNodeGivesSignsOfLifeWithoutItsController(t *testing.T) {
	dir := t.TempDir()
	// One that takes connections and says nothing, as a hung machine does.
	hung, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hung.Close()
	_, port, _ := net.SplitHostPort(hung.Addr().String())
	for name, env := range map[string][]string{
		"nobody there": {"WATCHDOG_USEC=600000"},
		"hung":         {"WATCHDOG_USEC=9000000", "RAID_NODE_CONTROLLER_HOST=127.0.0.1", "RAID_NODE_CONTROLLER_REQUEST_PORT=" + port},
	} {
		t.Run(name, func(t *testing.T) {
			m := manage(t, filepath.Join(dir, strings.Fields(name)[0]), env...)
			m.Ready()
			m.Await("signs of life", func() bool { return m.Count("WATCHDOG=1") >= 4 })
			if strings.Contains(m.Status, "hangs") {
				t.Errorf("status %q", m.Status)
			}
			m.Stop()
		})
	}
}

// Asking the parts whether they move costs no card: what can't be read there is not
// complained of over and over.
func TestSignsOfLifeOfAnIdleNodeNeedNoDisk(t *testing.T) {
	dir := t.TempDir()
	m := manage(t, dir)
	m.Ready()
	m.Stop()
	state := filepath.Join(dir, "state")
	if err := os.WriteFile(filepath.Join(state, "controller.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	m = manage(t, dir, "WATCHDOG_USEC=600000")
	m.Ready()
	m.Await("signs of life", func() bool { return m.Count("WATCHDOG=1") >= 10 })
	if n := strings.Count(m.Stop(), "The controller is looked for where the configuration says"); n > 3 {
		t.Errorf("said %d times", n)
	}
}

func TestNodeIsReadyWhenItsSocketListens(t *testing.T) {
	dir := t.TempDir()
	m := manage(t, dir)
	m.Ready()
	c, err := net.Dial("unix", filepath.Join(dir, "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	m.Stop()
}

func TestHangupEndsNoNode(t *testing.T) {
	m := manage(t, t.TempDir())
	m.Ready()
	if err := m.Cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	m.Await("the reload's end", func() bool { return m.Count("READY=1") == 2 })
	m.Stop()
}
