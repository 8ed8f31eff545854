//go:build system

package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/kit"
)

// labTools are a Python with pyzmq and Protobuf, and the code that protoc makes
// of the assignment's two messages.
type labTools struct{ python, modules string }

func findLabTools(t *testing.T) labTools {
	t.Helper()
	lt := labTools{modules: t.TempDir()}
	for _, p := range []string{"/usr/bin/python3", "python3"} {
		if exec.CommandContext(t.Context(), p, "-c", "import zmq, google.protobuf").Run() == nil {
			lt.python = p
			break
		}
	}
	if lt.python == "" {
		t.Fatal("these tests talk to real libzmq: install pyzmq and Protobuf (apt install python3-zmq python3-protobuf, or run test/setup, which does)")
	}
	protoc := exec.CommandContext(t.Context(), "protoc", "-I", "testdata", "--python_out="+lt.modules, "messages.proto")
	if out, err := protoc.CombinedOutput(); err != nil {
		t.Fatalf("make Python code of the assignment's messages: %v\n%s", err, out)
	}
	return lt
}

// labPeer is a Python process that was written from the assignment.
type labPeer struct {
	t      *testing.T
	cmd    *exec.Cmd
	folder string
	exited chan struct{}
	status error // once exited

	mu    sync.Mutex
	lines []string
}

// start runs a script and reads its lines.
func (lt labTools) start(t *testing.T, script string, args ...string) *labPeer {
	t.Helper()
	p := &labPeer{t: t, cmd: exec.Command(lt.python, append([]string{"testdata/" + script}, args...)...), exited: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "PYTHONPATH="+lt.modules, "PYTHONDONTWRITEBYTECODE=1")
	var stderr bytes.Buffer
	p.cmd.Stderr = &stderr
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, s.Text())
			p.mu.Unlock()
		}
		p.status = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() && stderr.Len() > 0 {
			t.Logf("%s: %s", script, stderr.String())
		}
	})
	return p
}

// node runs lab_node.py against a Hub.
func (lt labTools) node(t *testing.T, th *testHub, folder string, options ...string) *labPeer {
	t.Helper()
	args := append([]string{folder, port(t, th.store), port(t, th.response), port(t, th.request)}, options...)
	p := lt.start(t, "lab_node.py", args...)
	p.folder = folder
	p.await("ready", 1)
	return p
}

func port(t testing.TB, addr string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// count is the number of lines that begin so.
func (p *labPeer) count(prefix string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lines {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
}

// await waits for n lines that begin so.
func (p *labPeer) await(prefix string, n int) {
	p.t.Helper()
	kit.Eventually(p.t, fmt.Sprintf("%d lines %q", n, prefix), func() bool { return p.count(prefix) >= n })
}

func (p *labPeer) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

func (p *labPeer) kill() {
	p.signal(syscall.SIGKILL)
	<-p.exited
}

// wait waits for the process to end by itself, successfully.
func (p *labPeer) wait(d time.Duration) {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(d):
		p.t.Fatalf("the lab peer did not end; it said %q", p.lines)
	}
	if p.status != nil {
		p.t.Fatalf("the lab peer ended with %v; it said %q", p.status, p.lines)
	}
}
