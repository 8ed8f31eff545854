// Package unit runs a daemon as systemd runs a unit, and hears what it notifies
// (sd_notify(3)). It is for tests.
package unit

import (
	"bytes"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds the wait for a notification.
const patience = 30 * time.Second

// Unit is a daemon under a service manager of ours. It is for one goroutine.
type Unit struct {
	Cmd    *exec.Cmd
	Log    Log      // its standard error
	Status string   // the latest STATUS
	Heard  []string // everything else

	t       *testing.T
	manager *net.UnixConn
}

// Start runs cmd, and ends it with the test.
func Start(t *testing.T, cmd *exec.Cmd) *Unit {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	u := &Unit{Cmd: cmd, t: t, manager: manager}
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+path)
	cmd.Stderr = &u.Log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		manager.Close()
	})
	return u
}

// Hear takes one message; false: none came in time.
func (u *Unit) Hear(limit time.Duration) bool {
	b := make([]byte, 8192)
	u.manager.SetReadDeadline(time.Now().Add(limit))
	n, err := u.manager.Read(b)
	if err != nil {
		return false
	}
	if line, ok := strings.CutPrefix(string(b[:n]), "STATUS="); ok {
		u.Status = line
	} else {
		u.Heard = append(u.Heard, string(b[:n]))
	}
	return true
}

// Count counts the messages that began with text.
func (u *Unit) Count(text string) (n int) {
	for _, h := range u.Heard {
		if strings.HasPrefix(h, text) {
			n++
		}
	}
	return n
}

// Await hears messages until ok.
func (u *Unit) Await(what string, ok func() bool) {
	u.t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			u.t.Fatalf("waited in vain for %s; heard %q, status %q, log:\n%s", what, u.Heard, u.Status, u.Log.String())
		}
		u.Hear(time.Second)
	}
}

// Ready waits until the daemon says that it is.
func (u *Unit) Ready() {
	u.t.Helper()
	u.Await("READY", func() bool { return u.Count("READY=1") > 0 })
}

// Ends waits for the end and returns the exit status.
func (u *Unit) Ends() int {
	u.t.Helper()
	_ = u.Cmd.Wait() // its status is the result
	for u.Hear(50 * time.Millisecond) {
	}
	return u.Cmd.ProcessState.ExitCode()
}

// Stop ends it as systemd does and returns its log.
func (u *Unit) Stop() string {
	u.t.Helper()
	_ = u.Cmd.Process.Signal(syscall.SIGTERM) // its status is looked at
	if err := u.Cmd.Wait(); err != nil {
		u.t.Errorf("after SIGTERM it ends with %v: %s", err, u.Log.String())
	}
	return u.Log.String()
}

// Log is a buffer that may be read while it is written.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns what was written.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
