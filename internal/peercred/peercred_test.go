package peercred

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// users are those that a process of the tests can be: root can be anybody.
func users() []uint32 {
	if os.Geteuid() == 0 {
		return []uint32{0, 1, 33, 999, 1000, 1001, 60001, 61500, 65534, 100032}
	}
	return []uint32{uint32(os.Geteuid())}
}

// dialAs connects as another user does, with a thread of its own.
func dialAs(t *testing.T, uid uint32, network, address string) net.Conn {
	t.Helper()
	type result struct {
		net.Conn
		error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // and the thread ends with this goroutine
		if _, _, errno := syscall.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); errno != 0 {
			done <- result{nil, errno}
			return
		}
		c, err := net.Dial(network, address)
		done <- result{c, err}
	}()
	r := <-done
	if r.error != nil {
		t.Fatalf("connect as %d: %v", uid, r.error)
	}
	t.Cleanup(func() { r.Conn.Close() })
	return r.Conn
}

// pair connects to a listener and returns both ends.
func pair(t *testing.T, uid uint32, ln net.Listener, address string) (client, server net.Conn) {
	t.Helper()
	client = dialAs(t, uid, ln.Addr().Network(), address)
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func port(ln net.Listener) string {
	_, p, _ := net.SplitHostPort(ln.Addr().String())
	return p
}

func TestTheUserAtTheOtherEndIsFound(t *testing.T) {
	four, both := listen(t, "tcp", "127.0.0.1:0"), listen(t, "tcp", ":0")
	socket := filepath.Join(t.TempDir(), "s")
	local := listen(t, "unix", socket)
	for dir := socket; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	ways := map[string]net.Listener{"127.0.0.1:" + port(four): four, "127.0.0.2:" + port(both): both, "[::ffff:127.0.0.1]:" + port(both): both, socket: local}
	if six, err := net.Listen("tcp", "[::1]:0"); err == nil { // a machine without IPv6 has none
		defer six.Close()
		ways["[::1]:"+port(six)] = six
	}
	for address, ln := range ways {
		for _, uid := range users() {
			_, server := pair(t, uid, ln, address)
			if got, err := Of(server); got != uid || err != nil {
				t.Errorf("%d at %s is taken for %d, %v", uid, address, got, err)
			}
			local, remote, err := ends(server)
			if err != nil {
				continue // the Unix socket
			}
			if got, err := inTables(remote, local); got != uid || err != nil {
				t.Errorf("%d at %s is %d in the tables, %v", uid, address, got, err)
			}
			if got, err := ofTCP(remote, local); got != uid || err != nil {
				t.Errorf("%d at %s is %d for sock_diag, %v", uid, address, got, err)
			}
		}
	}
}

// The kernel says 0, which is root, of a socket that no process has any more.
func TestClosedSocketIsNobodysAndNotRoots(t *testing.T) {
	ln := listen(t, "tcp", "127.0.0.1:0")
	for _, uid := range users() {
		client, server := pair(t, uid, ln, ln.Addr().String())
		client.Write([]byte("x"))
		client.(*net.TCPConn).CloseWrite() // and waits for an answer
		if got, err := Of(server); got != uid || err != nil {
			t.Errorf("%d that has closed its side is %d, %v", uid, got, err)
		}
		client.Close()
		local, remote, _ := ends(server)
		for name, ask := range map[string]func() (uint32, error){
			"sock_diag": func() (uint32, error) { return ofTCP(remote, local) }, "tables": func() (uint32, error) { return inTables(remote, local) },
			"Of": func() (uint32, error) { return Of(server) },
		} {
			if got, err := ask(); !errors.Is(err, errGone) {
				t.Errorf("%s: %d that has closed is %d, %v", name, uid, got, err)
			}
		}
		server.Close() // and now the client's is in TIME_WAIT, if anywhere
		if got, err := ofTCP(remote, local); !errors.Is(err, errGone) {
			t.Errorf("%d when all is closed: %d, %v", uid, got, err)
		}
	}
}

// A kernel whose module for sock_diag can't be loaded knows no socket at all, as it says.
func TestKernelThatFindsNoSocketAtAllIsNotBelieved(t *testing.T) {
	ln := listen(t, "tcp", "127.0.0.1:0")
	asked := 0
	tables := func(local, remote netip.AddrPort) (uint32, error) {
		asked++
		return inTables(local, remote)
	}
	none := func(netip.AddrPort, netip.AddrPort) (uint32, error) { return 0, errGone }
	for _, uid := range users() {
		client, server := pair(t, uid, ln, ln.Addr().String())
		local, remote, _ := ends(server)
		if got, err := find(local, remote, none, tables); got != uid || err != nil {
			t.Errorf("%d is taken for %d, %v", uid, got, err)
		}
		client.Close()
		if got, err := find(local, remote, none, tables); !errors.Is(err, errGone) {
			t.Errorf("%d that has closed is %d, %v", uid, got, err)
		}
		asked = 0
		if got, err := find(local, remote, ofTCP, tables); !errors.Is(err, errGone) || asked > 0 {
			t.Errorf("%d that has closed is %d, %v; the tables were asked %d times", uid, got, err, asked)
		}
	}
}

// What a program has sent before it resets its connection can still be read. Its port
// is free at once, and may be that of another user's program by the time it is asked for.
func TestPortOfAResetConnectionDoesNotLendItsNextUsersName(t *testing.T) {
	ln := listen(t, "tcp", "127.0.0.1:0")
	for range 20 {
		client, server := pairFrom(t, ln, "127.0.0.77:0")
		if client == nil {
			t.Fatal("no address to connect from")
		}
		client.Write([]byte("x"))
		client.(*net.TCPConn).SetLinger(0)
		client.Close()
		next, second := pairFrom(t, ln, client.LocalAddr().String())
		if next == nil {
			continue // somebody else has taken the port: try another
		}
		if got, err := Of(server); !errors.Is(err, errGone) {
			t.Errorf("one that has reset its connection is %d, %v", got, err)
		}
		if got, err := Of(second); got != uint32(os.Geteuid()) || err != nil {
			t.Errorf("the port's next user is %d, %v", got, err)
		}
		return
	}
	t.Error("no port could be taken twice")
}

// pairFrom is pair from an address, of this process's user; nil when that is taken.
func pairFrom(t *testing.T, ln net.Listener, from string) (client, server net.Conn) {
	t.Helper()
	client, err := (&net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(from))}).Dial("tcp", ln.Addr().String())
	if err != nil {
		return nil, nil
	}
	t.Cleanup(func() { client.Close() })
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

// A port that somebody listens on is no connection of his.
func TestListenerIsNoOtherEnd(t *testing.T) {
	ln := listen(t, "tcp", "127.0.0.1:0")
	here := ln.Addr().(*net.TCPAddr).AddrPort()
	there := netip.MustParseAddrPort("127.0.0.1:1")
	for name, ask := range map[string]func(a, b netip.AddrPort) (uint32, error){"sock_diag": ofTCP, "tables": inTables} {
		if got, err := ask(here, there); !errors.Is(err, errGone) {
			t.Errorf("%s: %d, %v", name, got, err)
		}
	}
}

type addressed struct {
	net.Conn
	local, remote net.Addr
}

func (a addressed) LocalAddr() net.Addr  { return a.local }
func (a addressed) RemoteAddr() net.Addr { return a.remote }

func TestOnlyLoopbackConnectionsHaveAnOtherEndHere(t *testing.T) {
	at := func(s string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(s)) }
	for _, c := range []addressed{
		{local: at("192.0.2.1:9000"), remote: at("192.0.2.2:5")}, {local: at("127.0.0.1:9000"), remote: at("10.0.0.1:5")},
		{local: at("10.0.0.1:9000"), remote: at("127.0.0.1:5")}, {local: at("127.0.0.1:9000"), remote: at("[::1]:5")}, {},
		{local: &net.UnixAddr{}, remote: at("127.0.0.1:5")},
	} {
		if uid, err := Of(c); err == nil {
			t.Errorf("%v: %d", c, uid)
		}
	}
}

func TestPeopleAreToldFromPrograms(t *testing.T) {
	for defs, c := range map[string]struct{ people, programs []uint32 }{
		"": {[]uint32{1000, 1001, 59999, 60000, 60001, 60513}, []uint32{0, 1, 33, 999, 60514, 61184, 65519, 65533, 65534, 65535, 65536, 100000, 524288, 1 << 31, ^uint32(0)}},
		"# UID_MIN 5\nUID_MIN\t\t\t 2000\nUID_MAX 3000 # x\nSYS_UID_MIN 100\n": {[]uint32{2000, 3000, 60001}, []uint32{1000, 1999, 3001, 100}},
		"UID_MIN 1\nUID_MAX 4294967295":                                        {[]uint32{500, 1000, 100000}, []uint32{0, 33, 499, 61184, 65534, 65535, ^uint32(0)}},
		"UID_MIN x\nUID_MAX -1\nUID_MIN":                                       {[]uint32{1000, 60000}, []uint32{999, 60514}},
	} {
		p := readPeople(strings.NewReader(defs))
		for _, uid := range c.people {
			if !p.Has(uid) {
				t.Errorf("%q: %d is no person", defs, uid)
			}
		}
		for _, uid := range c.programs {
			if p.Has(uid) {
				t.Errorf("%q: %d is a person", defs, uid)
			}
		}
	}
	if p := KnownPeople(filepath.Join(t.TempDir(), "none")); p != (People{1000, 60000}) {
		t.Errorf("without a file: %v", p)
	}
}

// Whatever the kernel sends, nobody is taken for another.
func FuzzDiagnosis(f *testing.F) {
	local, remote := netip.MustParseAddrPort("127.0.0.1:5"), netip.MustParseAddrPort("127.0.0.1:9000")
	f.Add([]byte{})
	f.Add(diagRequest(local, remote))
	f.Add(make([]byte, 300))
	f.Fuzz(func(t *testing.T, b []byte) {
		if uid, err := parseDiag(b, local, remote); err == nil && (len(b) < headerSize+answerSize || uid == 0 && b[headerSize+1] == unix.BPF_TCP_TIME_WAIT) {
			t.Errorf("%x is %d", b, uid)
		}
	})
}

func FuzzTable(f *testing.F) {
	f.Add("  sl  local\n   0: 0100007F:0005 0100007F:2328 01 00000000:00000000 00:00000000 00000000  1000        0 12 1\n")
	f.Add("   0: 0000000000000000FFFF00000100007F:0005 : 01")
	local, remote := netip.MustParseAddrPort("127.0.0.1:5"), netip.MustParseAddrPort("127.0.0.1:9000")
	f.Fuzz(func(t *testing.T, table string) {
		if uid, err := inTable(strings.NewReader(table), local, remote); err == nil && !strings.Contains(table, "2328") {
			t.Errorf("%q is %d", table, uid)
		}
	})
}

func BenchmarkOf(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	s, err := ln.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for b.Loop() {
		if _, err := Of(s); err != nil {
			b.Fatal(err)
		}
	}
}
