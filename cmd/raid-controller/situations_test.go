package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/service/unit"
)

// manage runs it as systemd does.
func manage(t *testing.T, args []string, env ...string) *unit.Unit {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = append(append(os.Environ(), settings(t)...), env...)
	return unit.Start(t, cmd)
}

// noNodesYet is the status line of a controller that is alone.
const noNodesYet = "0/0 nodes up; degraded: no node has joined yet, so nothing can be stored: sudo raidctl token create prints what to paste on each Pi"

func TestControllerGivesSignsOfLife(t *testing.T) {
	m := manage(t, nil, "WATCHDOG_USEC=600000")
	m.Ready()
	begun, before := time.Now(), m.Count("WATCHDOG=1")
	m.Await("ten signs of life", func() bool { return m.Count("WATCHDOG=1") >= before+10 })
	if took := time.Since(begun); took < time.Second || took > 10*time.Second {
		t.Errorf("ten signs of life in %v", took)
	}
	if m.Status != noNodesYet {
		t.Errorf("status %q", m.Status)
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
	m.Ready()
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
	m.Ready()
	reload := func() {
		t.Helper()
		before := m.Count("READY=1")
		if err := m.Cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		m.Await("the reload's end", func() bool { return m.Count("READY=1") > before })
	}
	write("[http]\nlisen = \":1\"\n")
	reload()
	if want := "Configuration refused: " + conf + ":2:1: http.lisen: unknown key; did you mean listen?; the old one stays | "; !strings.HasPrefix(m.Status, want) {
		t.Errorf("status %q, want %q", m.Status, want)
	}
	// What it logs comes by another way than what it notifies, and may come later.
	m.Await("the line in the log", func() bool {
		return strings.Contains(m.Log.String(), "<3>") && strings.Contains(m.Log.String(), conf+":2:1")
	})
	write("log_level = \"debug\"\n[http]\nmax_requests = 5\n")
	reload()
	if !strings.Contains(m.Status, "http.max_requests (sudo systemctl restart raid-controller)") {
		t.Errorf("status %q", m.Status)
	}
	write("")
	reload()
	if strings.Contains(m.Status, "restart") || m.Count("RELOADING=1\nMONOTONIC_USEC=") != 3 {
		t.Errorf("status %q, heard %q", m.Status, m.Heard)
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
			if got := m.Ends(); got != c.status || m.Count("READY") > 0 {
				t.Errorf("status %d, want %d; heard %q", got, c.status, m.Heard)
			}
			lines := strings.Split(strings.TrimSpace(m.Log.String()), "\n")
			last := strings.ReplaceAll(lines[len(lines)-1], `\"`, `"`)
			for _, want := range c.says {
				if !strings.Contains(m.Status, want) || !strings.Contains(last, want) {
					t.Errorf("%q is missing in the status %q or the last line %q", want, m.Status, last)
				}
			}
			if !strings.HasPrefix(last, "<3>") {
				t.Errorf("the last line is no error: %q", last)
			}
		})
	}
}

// stopped runs a controller until it is ready, and stops it.
func stopped(t *testing.T, dir string) {
	t.Helper()
	m := manage(t, nil, "RAID_CONTROLLER_STATE_DIR="+dir)
	m.Ready()
	if err := m.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := m.Ends(); got != 0 {
		t.Fatalf("status %d: %s", got, m.Log.String())
	}
}
