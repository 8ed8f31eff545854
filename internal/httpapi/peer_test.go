package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/peercred"
	"github.com/raidpi/raidpi/internal/raid"
)

// Who asks without a token and without a header that a proxy adds, by the user that
// the kernel names.
func TestSystemUsersOfThisMachineNeedATokenAndPeopleNone(t *testing.T) {
	const system = 33
	person := uint32(1000)
	if os.Geteuid() == 1000 {
		person = 1001 // another one
	}
	var uid atomic.Uint32
	var failure atomic.Value
	failure.Store("")
	ts := &tokens{}
	all := ways(t, func(c *Config) {
		c.Auth, c.Tokens = true, ts
		c.Peer = func(net.Conn) (uint32, error) {
			if text := failure.Load().(string); text != "" {
				return 0, errors.New(text)
			}
			return uid.Load(), nil
		}
	})
	token := "Authorization: Bearer " + ts.add(raid.ScopeAdmin)
	for _, c := range []struct {
		name           string
		uid            uint32
		fails, says    string
		status, tokens int // of what a program here may do, and of tokens through the Unix socket
	}{
		{"root", 0, "", "", 200, 200},
		{"the daemon's user", uint32(os.Geteuid()), "", "", 200, 200},
		{"a person", person, "", "", 200, 403},
		{"a person of systemd-homed", 60001, "", "", 200, 403},
		{"a system user", system, "", "system user (uid 33)", 401, 401},
		{"a dynamic user", 61200, "", "system user (uid 61200)", 401, 401},
		{"nobody", 65534, "", "PrivateUsers", 401, 401},
		{"a user of a container", 100033, "", "system user (uid 100033)", 401, 401},
		{"whom the kernel does not name", 0, "no such socket", "could not be found out (no such socket)", 401, 401},
	} {
		uid.Store(c.uid)
		failure.Store(c.fails)
		s := &server{T: t}
		for name, w := range all {
			w.client.CloseIdleConnections() // each connection is looked up once
			want := map[origin]int{elsewhere: 401, thisMachine: c.status, controlSocket: c.status}[w.from]
			for _, call := range [][2]string{{"GET", "/status"}, {"GET", "/files"}, {"DELETE", "/files/9"}} {
				r := s.through(w.client, w.url, call[0], call[1], nil)
				if r.StatusCode == 404 {
					r.StatusCode = 200 // it was looked for
				}
				if r.StatusCode != want || want == 401 && w.from != elsewhere && !strings.Contains(string(r.body), c.says) {
					t.Errorf("%s through %s: %s %s is %d, want %d: %s", c.name, name, call[0], call[1], r.StatusCode, want, r.body)
				}
			}
			if w.from == controlSocket {
				if r := s.through(w.client, w.url, "GET", "/access-tokens", nil); r.StatusCode != c.tokens {
					t.Errorf("%s: tokens are %d: %s", c.name, r.StatusCode, r.body)
				}
			}
			if r := s.through(w.client, w.url, "GET", "/access-tokens", nil, token); r.StatusCode != 200 {
				t.Errorf("%s through %s with a token: %d %s", c.name, name, r.StatusCode, r.body)
			}
			if r := s.through(w.client, w.url, "GET", "/livez", nil); r.StatusCode != 200 {
				t.Errorf("%s through %s: /livez is %d", c.name, name, r.StatusCode)
			}
		}
	}
}

// dialAs connects as another user does; root can be anybody.
func dialAs(t *testing.T, uid int, network, address string) net.Conn {
	t.Helper()
	done := make(chan any)
	go func() {
		runtime.LockOSThread() // and the thread ends with this goroutine
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			done <- errno
			return
		}
		if c, err := net.Dial(network, address); err != nil {
			done <- err
		} else {
			done <- c
		}
	}()
	got := <-done
	c, ok := got.(net.Conn)
	if !ok {
		t.Fatalf("connect as %d: %v", uid, got)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// The same with real users of this machine, over real sockets: nginx as www-data
// that adds no header.
func TestTheKernelNamesWhoAsks(t *testing.T) {
	p := servePort(t, portSetup{config: withAuth(&tokens{}), listener: func(*httpserver.ListenerConfig) {}})
	for dir := p.socket; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o777); err != nil { // as if somebody had opened it to all
			t.Fatal(err)
		}
	}
	users := map[int]int{os.Geteuid(): 200}
	if os.Geteuid() == 0 {
		users = map[int]int{0: 200, 1000: 200, 1001: 200, 33: 401, 1: 401, 999: 401, 61500: 401, 65534: 401}
	}
	if known := peercred.KnownPeople("/etc/login.defs"); !known.Has(1000) {
		delete(users, 1000)
		delete(users, 1001)
	}
	for uid, want := range users {
		for name, c := range map[string]net.Conn{
			"HTTP": dialAs(t, uid, "tcp", p.addr), "HTTPS": p.handshake(dialAs(t, uid, "tcp", p.addr)), "the Unix socket": dialAs(t, uid, "unix", p.socket),
		} {
			for range 2 {
				io.WriteString(c, "DELETE /files/9 HTTP/1.1\r\nHost: localhost\r\n\r\n")
				r := p.answer(c)
				if r.StatusCode == 404 {
					r.StatusCode = 200 // it was looked for
				}
				if r.StatusCode != want {
					t.Errorf("%d over %s: %d %s", uid, name, r.StatusCode, r.body)
				}
			}
		}
	}
}

// A proxy that closes at once what it passes on must not be taken for root, whom
// the kernel names for sockets of nobody.
func TestWhoHasClosedIsNotTakenForRoot(t *testing.T) {
	st := newStore()
	p := servePort(t, portSetup{config: withAuth(&tokens{}), store: st})
	id := p.put("f", []byte("x"))
	for range 20 {
		c := dialAs(t, os.Geteuid(), "tcp", p.addr)
		fmt.Fprintf(c, "DELETE /files/%s HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n", id)
		c.Close()
		if os.Geteuid() == 0 {
			c = dialAs(t, 33, "tcp", p.addr)
			fmt.Fprintf(c, "DELETE /files/%s HTTP/1.1\r\nHost: localhost\r\n\r\n", id)
			c.Close()
		}
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	if st.count() != 1 {
		t.Error("a file was deleted for somebody who may not")
	}
}

// One connection is looked up once, and what shows a token never.
func TestPeersAreLookedUpOncePerConnection(t *testing.T) {
	var asked atomic.Int32
	ts := &tokens{}
	p := servePort(t, portSetup{config: func(c *Config) {
		c.Auth, c.Tokens = true, ts
		c.Peer = func(nc net.Conn) (uint32, error) {
			asked.Add(1)
			if _, ok := nc.(*net.TCPConn); !ok {
				t.Errorf("asked about a %T", nc)
			}
			return peercred.Of(nc)
		}
	}})
	token := "Authorization: Bearer " + ts.add(raid.ScopeRead)
	for range 5 {
		p.do("GET", "/livez", nil)
		p.do("GET", "/status", nil, token)
		p.do("GET", "/status", nil, "X-Forwarded-Proto: https")
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("asked %d times for nothing", n)
	}
	for _, w := range []struct {
		client *http.Client
		url    string
	}{{p.client, p.url}, {p.https, p.secure}} {
		for range 5 {
			if r := p.through(w.client, w.url, "GET", "/status", nil); r.StatusCode != 200 {
				t.Errorf("%d %s", r.StatusCode, r.body)
			}
		}
	}
	if n := asked.Load(); n != 2 {
		t.Errorf("asked %d times about two connections", n)
	}
}
