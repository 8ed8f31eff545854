package service

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/kit"
)

// managed is a daemon in this process under a service manager of ours.
type managed struct {
	t       *testing.T
	manager *net.UnixConn
	log     kit.Log

	mu   sync.Mutex
	conf fakeConfig
	err  error

	stop       func()        // as SIGTERM does
	begin, end chan struct{} // of Serve: when it becomes ready, and when it ends
	failure    error         // of Serve
	status     chan int
	logger     chan *slog.Logger
}

func manage(t *testing.T, conf fakeConfig, env ...string) *managed {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	m := &managed{
		t: t, manager: conn, conf: conf, begin: make(chan struct{}), end: make(chan struct{}),
		status: make(chan int, 1), logger: make(chan *slog.Logger, 1),
	}
	d := Daemon[fakeConfig]{
		Program: "raid-test",
		Load: func(string, []string) (fakeConfig, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.conf, m.err
		},
		Level: func(c fakeConfig) string { return c[levelKey] },
		Serve: func(ctx context.Context, c fakeConfig, log *slog.Logger, n *Notifier) error {
			m.logger <- log
			<-m.begin
			n.Status("all well")
			n.Ready()
			<-m.end
			return m.failure
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	m.stop = cancel
	go func() { m.status <- d.Run(ctx, nil, append(env, "NOTIFY_SOCKET="+path), io.Discard, &m.log) }()
	return m
}

// next is the next message of the daemon.
func (m *managed) next() string {
	m.t.Helper()
	b := make([]byte, 8192)
	m.manager.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := m.manager.Read(b)
	if err != nil {
		m.t.Fatal(err, m.log.String())
	}
	return string(b[:n])
}

func (m *managed) hears(want ...string) {
	m.t.Helper()
	for _, w := range want {
		if got := m.next(); got != w {
			m.t.Fatalf("heard %q, want %q", got, w)
		}
	}
}

// reload sends SIGHUP with a new configuration, or one that is refused.
func (m *managed) reload(conf fakeConfig, err error) {
	m.t.Helper()
	m.mu.Lock()
	m.conf, m.err = conf, err
	m.mu.Unlock()
	hangUp(m.t)
	got := m.next()
	if lines := strings.Split(got, "\n"); lines[0] != "RELOADING=1" || !strings.HasPrefix(lines[1], "MONOTONIC_USEC=") {
		m.t.Fatalf("heard %q", got)
	}
}

func hangUp(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

func (m *managed) finish() {
	m.t.Helper()
	close(m.end)
	if got := <-m.status; got != ExitOK {
		m.t.Errorf("status %d", got)
	}
}

func TestReloadTakesOverTheLogLevelAndSaysWhatWaits(t *testing.T) {
	m := manage(t, fakeConfig{"listen": "1", "auth": "a", levelKey: "info"})
	log := <-m.logger
	close(m.begin)
	m.hears("STATUS=all well", "READY=1")

	m.reload(fakeConfig{"listen": "1", "auth": "a", levelKey: "debug"}, nil)
	m.hears("READY=1")
	if !log.Enabled(t.Context(), slog.LevelDebug) {
		t.Error("the log level was not taken over")
	}
	m.reload(fakeConfig{"listen": "2", "auth": "b", levelKey: "info"}, nil)
	m.hears("STATUS=Changed, and not in use before a restart: auth, listen (sudo systemctl restart raid-test) | all well", "READY=1")
	if log.Enabled(t.Context(), slog.LevelDebug) {
		t.Error("the log level was not taken back")
	}
	if got := m.log.String(); !strings.Contains(got, "sudo systemctl restart raid-test") || !strings.Contains(got, "auth, listen") {
		t.Errorf("log %s", got)
	}
	m.reload(fakeConfig{"listen": "1", "auth": "a", levelKey: "info"}, nil) // as it was
	m.hears("STATUS=all well", "READY=1")
	m.finish()
}

func TestReloadOfABadConfigurationChangesNothing(t *testing.T) {
	m := manage(t, fakeConfig{levelKey: "info"})
	log := <-m.logger
	close(m.begin)
	m.hears("STATUS=all well", "READY=1")
	m.reload(nil, errors.New("c.toml:3:1: unknown key\nc.toml:4:1: another"))
	m.hears("STATUS=Configuration refused: c.toml:3:1: unknown key c.toml:4:1: another; the old one stays | all well", "READY=1")
	m.reload(fakeConfig{levelKey: "loud"}, nil)
	if got := m.next(); !strings.Contains(got, `log_level: "loud" is no log level`) {
		t.Errorf("status %q", got)
	}
	m.hears("READY=1")
	if got := m.log.String(); strings.Count(got, "<3>") != 3 || !strings.Contains(got, "c.toml:4:1: another") {
		t.Errorf("log %s", got)
	}
	if log.Enabled(t.Context(), slog.LevelDebug) || !log.Enabled(t.Context(), slog.LevelInfo) {
		t.Error("the log level changed")
	}
	m.finish()
}

// systemd would take READY=1 for the end of the start.
func TestHangupBeforeReadyWaits(t *testing.T) {
	m := manage(t, fakeConfig{levelKey: "info"})
	<-m.logger
	hangUp(t)
	hangUp(t)
	m.manager.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	if n, err := m.manager.Read(make([]byte, 100)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	close(m.begin)
	m.hears("STATUS=all well", "READY=1")
	if got := m.next(); !strings.HasPrefix(got, "RELOADING=1\n") {
		t.Errorf("heard %q", got)
	}
	m.hears("READY=1")
	m.finish()
}

// systemd would take READY=1 for a daemon that goes on.
func TestHangupWhileADaemonStopsIsNotAnswered(t *testing.T) {
	m := manage(t, fakeConfig{levelKey: "info"})
	<-m.logger
	close(m.begin)
	m.hears("STATUS=all well", "READY=1")
	m.mu.Lock() // the configuration is on a slow disk
	hangUp(t)
	if got := m.next(); !strings.HasPrefix(got, "RELOADING=1\n") {
		t.Errorf("heard %q", got)
	}
	m.stop()
	m.hears("STOPPING=1")
	m.mu.Unlock()
	for range 3 {
		hangUp(t)
		m.silent(100 * time.Millisecond)
	}
	m.finish()
	m.silent(100 * time.Millisecond)
}

// silent checks that the daemon says nothing for a while.
func (m *managed) silent(limit time.Duration) {
	m.t.Helper()
	b := make([]byte, 8192)
	m.manager.SetReadDeadline(time.Now().Add(limit))
	if n, err := m.manager.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		m.t.Errorf("heard %q, %v", b[:n], err)
	}
}

// A daemon that drains for longer than the watchdog's time is not a dead one.
func TestDaemonThatDrainsGivesSignsOfLifeUntilItHasEnded(t *testing.T) {
	t.Setenv("WATCHDOG_USEC", "300000")
	m := manage(t, fakeConfig{levelKey: "info"})
	<-m.logger
	close(m.begin)
	m.hears("STATUS=all well", "READY=1")
	m.stop()
	m.hears("STOPPING=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1")
	close(m.end)
	if got := <-m.status; got != ExitOK {
		t.Errorf("status %d", got)
	}
	m.manager.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	for b := make([]byte, 8192); ; { // those that were sent before
		if _, err := m.manager.Read(b); err != nil {
			break
		}
	}
	m.silent(300 * time.Millisecond)
}

func TestTheEnvironmentsLogLevelStaysOverAReload(t *testing.T) {
	m := manage(t, fakeConfig{levelKey: "info"}, "LOG_LEVEL=warn")
	log := <-m.logger
	close(m.begin)
	m.hears("STATUS=all well", "READY=1")
	m.reload(fakeConfig{levelKey: "debug"}, nil)
	m.hears("READY=1")
	if log.Enabled(t.Context(), slog.LevelInfo) || !strings.Contains(m.log.String(), "LOG_LEVEL wins over it") {
		t.Errorf("log %s", m.log.String())
	}
	m.finish()
}

// systemctl status shows the last line of a unit that has ended.
func TestWhyADaemonEndedStaysInItsStatus(t *testing.T) {
	m := manage(t, fakeConfig{levelKey: "info"})
	<-m.logger
	close(m.begin)
	m.hears("STATUS=all well", "READY=1")
	m.failure = errors.New("listen on :9000: address already in use")
	close(m.end)
	m.hears("STATUS=Ended: listen on :9000: address already in use")
	if got := <-m.status; got != ExitFailed {
		t.Errorf("status %d", got)
	}
	lines := slices.Collect(strings.Lines(m.log.String()))
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "<3>") || !strings.Contains(last, "address already in use") {
		t.Errorf("last line %q", last)
	}
}

func TestARefusedConfigurationIsInTheStatus(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	d := Daemon[fakeConfig]{
		Program: "raid-test",
		Load:    func(string, []string) (fakeConfig, error) { return nil, errors.New("c.toml:3:1: unknown key") },
	}
	var log bytes.Buffer
	if got := d.Run(t.Context(), nil, []string{"NOTIFY_SOCKET=" + path}, io.Discard, &log); got != ExitConfig {
		t.Errorf("status %d", got)
	}
	m := &managed{t: t, manager: conn}
	m.hears("STATUS=The configuration is refused: c.toml:3:1: unknown key. Set it right, then: sudo systemctl restart raid-test")
	if !strings.HasPrefix(log.String(), "<3>") || !strings.Contains(log.String(), "c.toml:3:1: unknown key") {
		t.Errorf("log %s", &log)
	}
}
