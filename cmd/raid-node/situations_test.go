package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// managed is a raid-node under a service manager of ours.
type managed struct {
	t       *testing.T
	manager *net.UnixConn
	cmd     *exec.Cmd
	log     bytes.Buffer // to be read when it has ended
	status  string       // the latest STATUS
	heard   []string     // everything else
}

func manage(t *testing.T, dir string, env ...string) *managed {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	m := &managed{t: t, manager: manager, cmd: exec.CommandContext(t.Context(), binary)}
	m.cmd.Env = append(append(append(os.Environ(), settings(dir)...), "NOTIFY_SOCKET="+path), env...)
	m.cmd.Stderr = &m.log
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.cmd.Process.Kill() // it may have ended
		_ = m.cmd.Wait()
		manager.Close()
	})
	return m
}

func (m *managed) hear(limit time.Duration) bool {
	b := make([]byte, 8192)
	m.manager.SetReadDeadline(time.Now().Add(limit))
	n, err := m.manager.Read(b)
	if err != nil {
		return false
	}
	if line, ok := strings.CutPrefix(string(b[:n]), "STATUS="); ok {
		m.status = line
	} else {
		m.heard = append(m.heard, string(b[:n]))
	}
	return true
}

func (m *managed) count(message string) (n int) {
	for _, h := range m.heard {
		if h == message {
			n++
		}
	}
	return n
}

func (m *managed) await(what string, ok func() bool) {
	m.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(end) {
			m.t.Fatalf("waited in vain for %s; heard %q, status %q", what, m.heard, m.status)
		}
		m.hear(time.Second)
	}
}

func (m *managed) ready() {
	m.t.Helper()
	m.await("READY", func() bool { return m.count("READY=1") > 0 })
}

// stop ends it as systemd does and returns its log.
func (m *managed) stop() string {
	m.t.Helper()
	_ = m.cmd.Process.Signal(syscall.SIGTERM) // its status is looked at
	if err := m.cmd.Wait(); err != nil {
		m.t.Errorf("after SIGTERM it ends with %v: %s", err, &m.log)
	}
	return m.log.String()
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
			m.ready()
			m.await("signs of life", func() bool { return m.count("WATCHDOG=1") >= 4 })
			if strings.Contains(m.status, "hangs") {
				t.Errorf("status %q", m.status)
			}
			m.stop()
		})
	}
}

// Asking the parts whether they move costs no card: what can't be read there is not
// complained of over and over.
func TestSignsOfLifeOfAnIdleNodeNeedNoDisk(t *testing.T) {
	dir := t.TempDir()
	m := manage(t, dir)
	m.ready()
	m.stop()
	state := filepath.Join(dir, "state")
	if err := os.WriteFile(filepath.Join(state, "controller.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	m = manage(t, dir, "WATCHDOG_USEC=600000")
	m.ready()
	m.await("signs of life", func() bool { return m.count("WATCHDOG=1") >= 10 })
	if n := strings.Count(m.stop(), "The controller is looked for where the configuration says"); n > 3 {
		t.Errorf("said %d times", n)
	}
}

func TestNodeIsReadyWhenItsSocketListens(t *testing.T) {
	dir := t.TempDir()
	m := manage(t, dir)
	m.ready()
	c, err := net.Dial("unix", filepath.Join(dir, "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	m.stop()
}

func TestHangupEndsNoNode(t *testing.T) {
	m := manage(t, t.TempDir())
	m.ready()
	if err := m.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	m.await("the reload's end", func() bool { return m.count("READY=1") == 2 })
	m.stop()
}

// disk is a small disk, to which a node has its chunks.
func disk(t *testing.T) (dir, chunks string) {
	t.Helper()
	dir = t.TempDir()
	chunks = filepath.Join(dir, "chunks")
	if err := os.Mkdir(chunks, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", chunks, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatalf("mount a tmpfs (these tests run as root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(chunks, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	m := manage(t, dir)
	m.ready()
	m.stop()
	return dir, chunks
}

// Its chunks may be the last good copies, so they are served.
func TestNodeOnAReadOnlyDiskServesAndSaysSo(t *testing.T) {
	dir, chunks := disk(t)
	if err := syscall.Mount("", chunks, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	m := manage(t, dir)
	m.ready()
	m.await("a status", func() bool { return strings.HasPrefix(m.status, "Disk is read only") })
	if log := m.stop(); !strings.Contains(log, "<3>") || !strings.Contains(log, "read-only file system") {
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
	m.ready()
	m.await("a status", func() bool { return strings.HasPrefix(m.status, "Disk is full") })
	if log := m.stop(); !strings.Contains(log, "Disk is full") {
		t.Errorf("log %s", log)
	}
}
