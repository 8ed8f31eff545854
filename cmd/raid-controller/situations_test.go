package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// managed is a raid-controller under a service manager of ours.
type managed struct {
	t       *testing.T
	manager *net.UnixConn
	cmd     *exec.Cmd
	log     lockedBuffer
	status  string   // the latest STATUS
	heard   []string // everything else
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func manage(t *testing.T, args []string, env ...string) *managed {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	m := &managed{t: t, manager: manager, cmd: exec.CommandContext(t.Context(), binary, args...)}
	m.cmd.Env = append(append(append(os.Environ(), settings(t)...), "NOTIFY_SOCKET="+path), env...)
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

// hear takes one message; false: none came in time.
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

// count is how many messages began with text.
func (m *managed) count(text string) (n int) {
	for _, h := range m.heard {
		if strings.HasPrefix(h, text) {
			n++
		}
	}
	return n
}

func (m *managed) await(what string, ok func() bool) {
	m.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(end) {
			m.t.Fatalf("waited in vain for %s; heard %q, status %q, log:\n%s", what, m.heard, m.status, m.log.String())
		}
		m.hear(time.Second)
	}
}

func (m *managed) ready() {
	m.t.Helper()
	m.await("READY", func() bool { return m.count("READY=1") > 0 })
}

// ends waits for the end and returns the exit status.
func (m *managed) ends() int {
	m.t.Helper()
	_ = m.cmd.Wait() // its status is the result
	for m.hear(50 * time.Millisecond) {
	}
	return m.cmd.ProcessState.ExitCode()
}

func TestControllerGivesSignsOfLife(t *testing.T) {
	m := manage(t, nil, "WATCHDOG_USEC=600000")
	m.ready()
	begun, before := time.Now(), m.count("WATCHDOG=1")
	m.await("ten signs of life", func() bool { return m.count("WATCHDOG=1") >= before+10 })
	if took := time.Since(begun); took < time.Second || took > 10*time.Second {
		t.Errorf("ten signs of life in %v", took)
	}
	if m.status != "0/0 nodes up" {
		t.Errorf("status %q", m.status)
	}
}

func TestControllerIsReadyOnceItAnswers(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().String()
	free.Close()
	m := manage(t, nil, "RAID_CONTROLLER_HTTP_LISTEN="+at)
	m.ready()
	resp, err := http.Get("http://" + at + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%d %s %v", resp.StatusCode, body, err)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestReloadIsRefusedWithThePlaceOfTheMistake(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "c.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	m := manage(t, []string{"--config", conf})
	m.ready()
	reload := func() {
		t.Helper()
		before := m.count("READY=1")
		if err := m.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		m.await("the reload's end", func() bool { return m.count("READY=1") > before })
	}
	write("[http]\nlisen = \":1\"\n")
	reload()
	if want := "Configuration refused: " + conf + ":2:1: http.lisen: unknown key; did you mean listen?; the old one stays | "; !strings.HasPrefix(m.status, want) {
		t.Errorf("status %q, want %q", m.status, want)
	}
	if !strings.Contains(m.log.String(), "<3>") || !strings.Contains(m.log.String(), conf+":2:1") {
		t.Errorf("log %s", m.log.String())
	}
	write("log_level = \"debug\"\n[http]\nmax_requests = 5\n")
	reload()
	if !strings.Contains(m.status, "http.max_requests (sudo systemctl restart raid-controller)") {
		t.Errorf("status %q", m.status)
	}
	write("")
	reload()
	if strings.Contains(m.status, "restart") || m.count("RELOADING=1\nMONOTONIC_USEC=") != 3 {
		t.Errorf("status %q, heard %q", m.status, m.heard)
	}
}

// What went wrong is in the status and the last line of the log: systemctl status
// shows both.
func TestWhyAControllerDoesNotRunIsSaid(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	conf := filepath.Join(t.TempDir(), "c.toml")
	corrupt := t.TempDir()
	if err := os.WriteFile(conf, []byte("[http]\nlisen = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(corrupt, "catalog.db"), bytes.Repeat([]byte("no database"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	for name, c := range map[string]struct {
		args   []string
		env    string
		status int
		says   []string
	}{
		"port taken":  {nil, "RAID_CONTROLLER_HTTP_LISTEN=" + taken.Addr().String(), 1, []string{"address already in use", "sudo ss -ltnp 'sport = :" + port + "'"}},
		"no address":  {nil, "RAID_CONTROLLER_HTTP_LISTEN=192.0.2.1:0", 1, []string{"[http] listen", "does not have that address"}},
		"no folder":   {nil, "RAID_CONTROLLER_STATE_DIR=/proc/raid", 1, []string{"/proc/raid"}},
		"corrupt":     {nil, "RAID_CONTROLLER_STATE_DIR=" + corrupt, 78, []string{"damaged", "/usr/share/doc/raid-controller/catalog.md"}},
		"unknown key": {[]string{"--config", conf}, "", 78, []string{"c.toml:2:1: http.lisen: unknown key"}},
		"log level":   {nil, "LOG_LEVEL=loud", 78, []string{`LOG_LEVEL: "loud" is no log level`}},
	} {
		t.Run(name, func(t *testing.T) {
			m := manage(t, c.args, c.env)
			if got := m.ends(); got != c.status || m.count("READY") > 0 {
				t.Errorf("status %d, want %d; heard %q", got, c.status, m.heard)
			}
			lines := strings.Split(strings.TrimSpace(m.log.String()), "\n")
			last := strings.ReplaceAll(lines[len(lines)-1], `\"`, `"`)
			for _, want := range c.says {
				if !strings.Contains(m.status, want) || !strings.Contains(last, want) {
					t.Errorf("%q is missing in the status %q or the last line %q", want, m.status, last)
				}
			}
			if !strings.HasPrefix(last, "<3>") {
				t.Errorf("the last line is no error: %q", last)
			}
		})
	}
}

// disk is a small disk of its own; without the right to mount one it is a full one
// that is only looked at from afar.
func disk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=80m"); err != nil {
		t.Fatalf("mount a tmpfs (these tests run as root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// stopped runs a controller until it is ready, and stops it.
func stopped(t *testing.T, dir string) {
	t.Helper()
	m := manage(t, nil, "RAID_CONTROLLER_STATE_DIR="+dir)
	m.ready()
	if err := m.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := m.ends(); got != 0 {
		t.Fatalf("status %d: %s", got, m.log.String())
	}
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
		m.ready()
		_ = m.cmd.Process.Signal(syscall.SIGTERM)
		if got := m.ends(); got != 0 {
			t.Fatalf("status %d: %s", got, m.log.String())
		}
		if n := m.count("STOPPING=1"); n != 1 {
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
	if got := m.ends(); got != 1 || !strings.Contains(m.status, "the disk of "+dir+" is full: see df -h") {
		t.Errorf("status %d, %q", got, m.status)
	}
}

func TestControllerSaysThatItsDiskIsReadOnly(t *testing.T) {
	dir := disk(t)
	stopped(t, dir)
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	m := manage(t, nil, "RAID_CONTROLLER_STATE_DIR="+dir)
	if got := m.ends(); got != 1 || strings.Count(m.status, " is read-only") != 1 || !strings.Contains(m.status, "fsck") {
		t.Errorf("status %d, %q", got, m.status)
	}
}

func TestControllerSaysWhoMayNotUseItsFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("these tests run as root")
	}
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
