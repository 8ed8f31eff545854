//go:build system

package zmtp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// libzmq is a process with one libzmq socket, see testdata/peer.py.
type libzmq struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
	port  string // when it binds
}

// findPython finds an interpreter that has pyzmq, Debian's python3-zmq for one.
var findPython = sync.OnceValue(func() string {
	for _, name := range []string{"python3", "/usr/bin/python3", "python"} {
		if path, err := exec.LookPath(name); err == nil && exec.Command(path, "-c", "import zmq").Run() == nil {
			return path
		}
	}
	return ""
})

func python(t *testing.T) string {
	t.Helper()
	if path := findPython(); path != "" {
		return path
	}
	t.Fatal("these tests talk to real libzmq: install pyzmq (apt install python3-zmq, or run test/setup, which does)")
	return ""
}

// startLibzmq runs a peer; with an empty addr it binds, else it connects there.
func startLibzmq(t *testing.T, kind, addr string, count int, sizes string, options ...string) *libzmq {
	t.Helper()
	how := "connect"
	if addr == "" {
		how = "bind"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	args := append([]string{"testdata/peer.py", kind, how, addr, strconv.Itoa(count), sizes}, options...)
	p := &libzmq{t: t, cmd: exec.CommandContext(ctx, python(t), args...)}
	var stderr bytes.Buffer
	p.cmd.Stderr = &stderr
	p.stdin, _ = p.cmd.StdinPipe()
	out, _ := p.cmd.StdoutPipe()
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.stdin.Close()
		cancel()
		_ = p.cmd.Wait()
		if t.Failed() && stderr.Len() > 0 {
			t.Logf("libzmq's side: %s", stderr.String())
		}
	})
	if addr == "" {
		p.port = p.line()
	}
	return p
}

func (p *libzmq) line() string {
	p.t.Helper()
	s, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatalf("libzmq's side ended early: %v", err)
	}
	return strings.TrimSpace(s)
}

// ok waits until the peer has sent, or received and found right, everything.
func (p *libzmq) ok() {
	p.t.Helper()
	p.stdin.Close()
	if s := p.line(); s != "OK" {
		p.t.Fatalf("libzmq's side says %q", s)
	}
}

// meetLibzmq starts a peer of the given kind and makes a connection to it,
// whichever side binds.
func meetLibzmq(t *testing.T, kind string, weBind bool, cfg Config, count int, sizes string, options ...string) (*Conn, *libzmq) {
	t.Helper()
	if !weBind {
		p := startLibzmq(t, kind, "", count, sizes, options...)
		return connect(t, "127.0.0.1:"+p.port, cfg), p
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := startLibzmq(t, kind, ln.Addr().String(), count, sizes, options...)
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c, err := Accept(t.Context(), nc, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, p
}

// heartbeat makes libzmq send a PING every 20 ms, whatever else it sends.
var heartbeat = []string{"HEARTBEAT_IVL=20", "HEARTBEAT_TIMEOUT=30000"}

func TestLibzmqTalksToUsBothWays(t *testing.T) {
	const sizes = "0,1,255,256,5000,70000,5242880"
	const count = 3 * 7
	for _, weBind := range []bool{true, false} {
		who := map[bool]string{true: "we bind", false: "libzmq binds"}[weBind]
		t.Run("PUSH to us/"+who, func(t *testing.T) {
			cfg := large()
			cfg.Type = Pull
			c, p := meetLibzmq(t, "PUSH", weBind, cfg, count, sizes)
			receiveNumbered(t, c, count, ints(sizes), "")
			p.ok()
		})
		t.Run("PULL from us/"+who, func(t *testing.T) {
			c, p := meetLibzmq(t, "PULL", weBind, Config{Type: Push}, count, sizes)
			sendNumbered(t, c, count, ints(sizes))
			p.ok()
		})
		t.Run("PUB to us/"+who, func(t *testing.T) {
			cfg := large()
			cfg.Type = Sub
			c, p := meetLibzmq(t, "PUB", weBind, cfg, count, sizes)
			if err := c.Send(t.Context(), []byte{1}); err != nil { // subscribe to everything
				t.Fatal(err)
			}
			if m, err := c.Receive(nil); err != nil || string(m.Frames[0]) != "probe" {
				t.Fatalf("waiting for the first message: %v", err)
			}
			fmt.Fprintln(p.stdin, "go")
			receiveNumbered(t, c, count, ints(sizes), "probe")
			p.ok()
		})
		t.Run("SUB from us/"+who, func(t *testing.T) {
			c, p := meetLibzmq(t, "SUB", weBind, Config{Type: Pub}, count, sizes)
			if m, err := c.Receive(nil); err != nil || !bytes.Equal(m.Frames[0], []byte{1}) {
				t.Fatalf("waiting for the subscription: %v", err)
			}
			sendNumbered(t, c, count, ints(sizes))
			p.ok()
		})
	}
}

func TestHeartbeatsUnderLoadCorruptNothing(t *testing.T) {
	const sizes = "10,300,3000,40000,10,10"
	const count = 20_000
	for _, weBind := range []bool{true, false} {
		who := map[bool]string{true: "we bind", false: "libzmq binds"}[weBind]
		t.Run("from libzmq/"+who, func(t *testing.T) {
			c, p := meetLibzmq(t, "PUSH", weBind, Config{Type: Pull}, count, sizes, heartbeat...)
			receiveNumbered(t, c, count, ints(sizes), "")
			p.ok()
		})
		t.Run("to libzmq/"+who, func(t *testing.T) {
			c, p := meetLibzmq(t, "PULL", weBind, Config{Type: Push}, count, sizes, heartbeat...)
			listen(t, c)
			sendNumbered(t, c, count, ints(sizes))
			p.ok()
		})
	}
}

func TestIdlePeersOfLibzmqStayConnected(t *testing.T) {
	t.Run("its PINGs, our PONGs", func(t *testing.T) {
		t.Parallel()
		c, _ := meetLibzmq(t, "PULL", true, Config{Type: Push}, 0, "0", "HEARTBEAT_IVL=50", "HEARTBEAT_TIMEOUT=1000")
		listen(t, c)
		select {
		case <-c.Done():
			t.Fatalf("libzmq heard no PONG: %v", c.Err())
		case <-time.After(2500 * time.Millisecond):
		}
	})
	t.Run("our PINGs, its PONGs", func(t *testing.T) {
		t.Parallel()
		c, p := meetLibzmq(t, "PULL", true, Config{Type: Push, PingEvery: 50 * time.Millisecond, PingTimeout: time.Second}, 0, "0")
		listen(t, c)
		select {
		case <-c.Done():
			t.Fatalf("no PONG came: %v", c.Err())
		case <-time.After(2500 * time.Millisecond):
		}
		if d := c.SilentFor(); d > time.Second {
			t.Errorf("silent for %v", d)
		}
		p.stdin.Close()
		<-c.Done()
	})
}

func TestLibzmqOfTheWrongTypeIsRefused(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	startLibzmq(t, "SUB", ln.Addr().String(), 0, "0")
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Accept(t.Context(), nc, Config{Type: Pull}); !errors.Is(err, ErrProtocol) {
		t.Fatalf("got %v", err)
	}
}

func TestLibzmqThatIsKilledIsNoticed(t *testing.T) {
	c, p := meetLibzmq(t, "PULL", true, Config{Type: Push}, 0, "0")
	listen(t, c)
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	if err := c.Send(t.Context(), []byte("x")); !errors.Is(err, raid.ErrPeerGone) {
		t.Fatalf("got %v", err)
	}
}
