package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/raidpi/raidpi/internal/node"
)

// terminal opens a pseudo terminal: what a person types, and what a program reads.
func terminal(t *testing.T) (keys, tty *os.File) {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	if err := unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return keys, tty
}

// losing is a daemon with which 20 files would be lost. It tells what it was asked.
func losing(t *testing.T, socket string) func() []string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var asked []string
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		asked = append(asked, string(body))
		mu.Unlock()
		if string(body) == `{"force":true,"lose":20}` {
			fmt.Fprint(w, `{"message": "This node has left"}`)
			return
		}
		w.WriteHeader(http.StatusConflict)
		fmt.Fprintf(w, `{"message": "20 files would be LOST", "exit": %d, "lose": 20}`, node.ExitSetRight)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(asked)
	}
}

func TestWhoForcesANodeToLeaveTypesHowManyFilesAreLost(t *testing.T) {
	const question = "type how many files that are: "
	for _, c := range []struct {
		args, typed string // "": nobody is at a terminal
		exit        int
		asked       []string
	}{
		{"--force", "20\n", 0, []string{`{"force":true}`, `{"force":true,"lose":20}`}},
		{"--force", "19\n", node.ExitSetRight, []string{`{"force":true}`}},
		{"--force", "\n", node.ExitSetRight, []string{`{"force":true}`}},
		{"", "20\n", node.ExitSetRight, []string{`{"force":false}`}},
		{"--force", "", node.ExitSetRight, []string{`{"force":true}`}},
		{"--force --lose 20", "", 0, []string{`{"force":true,"lose":20}`}},
		{"--force --lose 7", "20\n", node.ExitSetRight, []string{`{"force":true,"lose":7}`}},
	} {
		dir := t.TempDir()
		asked := losing(t, filepath.Join(dir, "control.sock"))
		cmd := exec.CommandContext(t.Context(), binary, append([]string{"leave"}, strings.Fields(c.args)...)...)
		cmd.Env = append(os.Environ(), settings(dir)...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if c.typed != "" {
			keys, tty := terminal(t)
			cmd.Stdin = tty
			if _, err := keys.WriteString(c.typed); err != nil { // the terminal keeps it
				t.Fatal(err)
			}
		}
		_ = cmd.Run() // the status tells
		if got := cmd.ProcessState.ExitCode(); got != c.exit || !slices.Equal(asked(), c.asked) {
			t.Errorf("%q, %q typed: status %d, asked %q\n%s", c.args, c.typed, got, asked(), &out)
		}
		if strings.Contains(out.String(), question) != (c.args == "--force" && c.typed != "") {
			t.Errorf("%q, %q typed: it says %s", c.args, c.typed, &out)
		}
	}
}
