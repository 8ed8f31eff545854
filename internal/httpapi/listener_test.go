package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

func TestOnePortSpeaksHTTPAndHTTPS(t *testing.T) {
	p := servePort(t, portSetup{})
	data := testData(3_000_000)
	for name, c := range map[string]*http.Client{"http": p.client, "https": p.https, "node": p.node} {
		url := p.secure
		if name == "http" {
			url = p.url
		}
		for range 2 { // the second on the same connection
			r := p.through(c, url, "POST", "/files?filename=f", bytes.NewReader(data))
			if r.StatusCode != 201 || r.Proto != "HTTP/1.1" || (r.TLS != nil) != (name != "http") {
				t.Fatalf("%s: %d %s %s", name, r.StatusCode, r.Proto, r.body)
			}
			if r = p.through(c, url, "GET", r.Header.Get("Location"), nil); !bytes.Equal(r.body, data) {
				t.Errorf("%s: %d, %d bytes", name, r.StatusCode, len(r.body))
			}
		}
	}
}

func TestHTTP2IsNotSpoken(t *testing.T) {
	p := servePort(t, portSetup{})
	c := tls.Client(p.dial(), &tls.Config{RootCAs: p.trust, ServerName: "127.0.0.1", NextProtos: []string{"h2", "http/1.1"}})
	io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if r := p.answer(c); r.StatusCode != 200 || c.ConnectionState().NegotiatedProtocol != "http/1.1" {
		t.Errorf("%d over %q", r.StatusCode, c.ConnectionState().NegotiatedProtocol)
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.trust}, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	if r := p.through(&http.Client{Transport: tr}, p.secure, "GET", "/livez", nil); r.ProtoMajor != 1 {
		t.Errorf("%s", r.Proto)
	}
}

// Most clients read only when all is written, over TLS too.
func TestRefusedClientReadsItsAnswerOverTLS(t *testing.T) {
	st := newStore()
	st.uploadErr = fmt.Errorf("%w: no node has room", raid.ErrArrayFull)
	p := servePort(t, portSetup{store: st})
	c := p.handshake(p.dial())
	io.WriteString(c, "POST /files?filename=f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 52428800\r\n\r\n")
	if _, err := c.Write(make([]byte, 50<<20)); err != nil {
		t.Fatal(err)
	}
	p.wantError(p.answer(c), http.StatusInsufficientStorage)
}

func TestReaderThatStandsStillIsCutOverTLS(t *testing.T) {
	const size = 24 << 20 // more than sockets buffer
	st := newStore()
	st.files[1] = stored{File: raid.File{ID: 1, Filename: "f", ContentType: "a/b", Size: size}, data: make([]byte, size)}
	p := servePort(t, portSetup{store: st, config: func(c *Config) { c.Stall = 300 * time.Millisecond }})
	c := p.handshake(p.dial())
	io.WriteString(c, "GET /files/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
	eventually(t, "the answer is given up", func() bool {
		st.mu.Lock()
		defer st.mu.Unlock()
		return st.opened == 1 && st.open == 0
	})
	if b, _ := io.ReadAll(c); len(b) >= size {
		t.Error("all was sent")
	}
}

// from is a listener whose connections seem to come from somewhere else.
type from struct {
	net.Listener
	addr net.Addr
}

type fromConn struct {
	net.Conn
	addr net.Addr
}

func (c fromConn) RemoteAddr() net.Addr { return c.addr }
func (c fromConn) CloseWrite() error    { return c.Conn.(*net.TCPConn).CloseWrite() }

func (f from) Accept() (net.Conn, error) {
	c, err := f.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return fromConn{c, f.addr}, nil
}

func seemsFrom(ip string) func(net.Listener) net.Listener {
	host, zone, _ := strings.Cut(ip, "%")
	return func(ln net.Listener) net.Listener {
		return from{ln, &net.TCPAddr{IP: net.ParseIP(host), Zone: zone, Port: 5}}
	}
}

func onlyLoopback(c *ListenerConfig) {
	c.Plaintext = func(a net.Addr) bool { return addressOf(a).IsLoopback() }
}

func TestStrangersWithoutTLSAreTurnedAwayWithWords(t *testing.T) {
	for ip, want := range map[string]int{"127.0.0.1": 201, "192.168.1.7": 403, "fe80::1%eth0": 403} {
		p := servePort(t, portSetup{wrap: seemsFrom(ip), listener: onlyLoopback})
		post := func(c *http.Client, url string) reply { // more than one read takes
			return p.through(c, url, "POST", "/files?filename=f", strings.NewReader(strings.Repeat("x", 100_000)))
		}
		r := post(p.client, p.url)
		if r.StatusCode != want {
			t.Errorf("from %s: %d %s", ip, r.StatusCode, r.body)
		}
		if want == 403 {
			if text := p.wantError(r, 403); !strings.Contains(text, "from "+ip+": write https://") || !strings.Contains(text, `plaintext = "any"`) {
				t.Error(text)
			}
			if p.store.count() != 0 || r.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%d files, %v", p.store.count(), r.Header)
			}
		}
		if r := post(p.https, p.secure); r.StatusCode != 201 {
			t.Errorf("https from %s: %d %s", ip, r.StatusCode, r.body)
		}
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited 10 s in vain for: %s", what)
		}
	}
}

// closedByPeer counts the connections that the other end has closed.
func closedByPeer(conns []net.Conn) (n int) {
	for _, c := range conns {
		c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); err != nil && !errors.Is(err, syscall.EAGAIN) && !strings.Contains(err.Error(), "timeout") {
			n++
		}
	}
	return n
}

func TestFloodFromOneAddressLeavesOthersAlone(t *testing.T) {
	const each = 10
	hello := map[string]string{"silent": "", "in the middle of a handshake": "\x16\x03\x01\x00\xf0", "in the middle of a header": "GET / HTTP/1.1\r\nHo"}
	for name, said := range hello {
		p := servePort(t, portSetup{
			listener: func(c *ListenerConfig) { c.MaxPerAddress, c.MaxPending = each, 3*each },
			config:   func(c *Config) { c.MaxConns = 5 * each },
		})
		var flood []net.Conn
		for range 10 * each {
			c := p.dialFrom("127.0.0.2")
			_, _ = io.WriteString(c, said)
			flood = append(flood, c)
		}
		eventually(t, name+" ones beyond the limit to be closed", func() bool { return closedByPeer(flood) == 9*each })
		for _, from := range []string{"127.0.0.1", "127.0.0.3"} {
			start := time.Now()
			c := p.handshake(p.dialFrom(from))
			io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
			if r := p.answer(c); r.StatusCode != 200 || time.Since(start) > 5*time.Second {
				t.Errorf("%s, %s: %d after %v", name, from, r.StatusCode, time.Since(start))
			}
		}
		if n := strings.Count(p.logged.String(), "level=WARN"); n != 1 || !strings.Contains(p.logged.String(), "too many of them") {
			t.Errorf("%s: %d lines are logged:\n%s", name, n, p.logged)
		}
		// The flooder's places are free again when it lets go of them.
		for _, c := range flood {
			c.Close()
		}
		eventually(t, "places to be given back", func() bool {
			c := p.dialFrom("127.0.0.2")
			io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
			_, err := http.ReadResponse(bufio.NewReader(c), nil)
			return err == nil
		})
	}
}

// A proxy on this machine, or many programs, have one address.
func TestThisMachineMayHaveManyConnections(t *testing.T) {
	p := servePort(t, portSetup{listener: func(c *ListenerConfig) { c.MaxPerAddress = 3 }})
	for range 10 {
		c := p.dialFrom("127.0.0.1")
		io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if r := p.answer(c); r.StatusCode != 200 {
			t.Fatalf("%d", r.StatusCode)
		}
	}
}

// Strangers with many addresses push each other out, and nobody who speaks.
func TestSilentOnesOfManyAddressesOnlyPushEachOtherOut(t *testing.T) {
	for name, said := range map[string]string{"silent": "", "in a handshake": "\x16\x03"} {
		p := servePort(t, portSetup{listener: func(c *ListenerConfig) { c.MaxPending = 20 }, config: func(c *Config) { c.MaxConns = 20 }})
		var flood []net.Conn
		for i := range 100 {
			c := p.dialFrom(fmt.Sprintf("127.0.1.%d", i+1))
			_, _ = io.WriteString(c, said)
			flood = append(flood, c)
		}
		for range 5 {
			c := p.handshake(p.dial())
			io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
			if r := p.answer(c); r.StatusCode != 200 {
				t.Errorf("%s: %d", name, r.StatusCode)
			}
			c.Close()
		}
		eventually(t, "the oldest to be closed", func() bool { return closedByPeer(flood[:60]) == 60 })
	}
}

func TestAddressesAreCountedAsTheyAreGivenOut(t *testing.T) {
	same := [][2]string{{"192.0.2.1", "::ffff:192.0.2.1"}, {"2001:db8::1", "2001:db8::ffff:1:2:3"}}
	for _, pair := range same {
		if a, b := addressOf(tcp(pair[0])), addressOf(tcp(pair[1])); a != b || !a.IsValid() {
			t.Errorf("%v and %v", a, b)
		}
	}
	if a, b := addressOf(tcp("2001:db8:0:1::1")), addressOf(tcp("2001:db8:0:2::1")); a == b {
		t.Errorf("%v is %v", a, b)
	}
	for _, a := range []net.Addr{nil, &net.UnixAddr{Name: "@", Net: "unix"}, &net.TCPAddr{}} {
		if got := addressOf(a); got.IsValid() && !got.IsUnspecified() {
			t.Errorf("%v: %v", a, got)
		}
	}
}

func tcp(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 5} }

// Each stage has its ten seconds, however busy the other end seems.
func TestSlowBeginningsEnd(t *testing.T) {
	own, _ := pair()
	for name, c := range map[string]struct {
		say   string
		every time.Duration // one byte, 0: all at once
		ends  time.Duration
	}{
		"silence":                {"", 0, firstTimeout},
		"a handshake that stops": {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 0, headerTimeout},
		"a trickling handshake":  {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("\x00", 100), time.Second, headerTimeout},
		"a trickling header":     {"GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 100), time.Second, headerTimeout},
		"a first byte at last":   {"G", firstTimeout - time.Second, firstTimeout - time.Second + headerTimeout},
	} {
		synctest.Test(t, func(t *testing.T) {
			st := newStore()
			log := slog.New(slog.DiscardHandler)
			api := New(Config{Files: st, Index: st, Log: log})
			under := &pipes{make(chan net.Conn), make(chan struct{})}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- api.Serve(ctx, NewListener(under, ListenerConfig{TLS: portTLS(own), Log: log})) }()
			client, srv := net.Pipe()
			under.conns <- srv
			start := time.Now()
			var saying sync.WaitGroup
			saying.Go(func() {
				for i := range len(c.say) {
					time.Sleep(c.every)
					if _, err := client.Write([]byte{c.say[i]}); err != nil {
						return
					}
				}
			})
			_, _ = io.Copy(io.Discard, client)
			if took := time.Since(start); took < c.ends || took > c.ends+2*time.Second {
				t.Errorf("%s ends after %v, want %v", name, took, c.ends)
			}
			client.Close()
			saying.Wait()
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// A connection that nobody reads from is cut without a farewell, for which TLS
// would wait.
func TestCuttingWaitsForNobody(t *testing.T) {
	own, trust := pair()
	a, b := net.Pipe()
	defer b.Close()
	s := tls.Server(a, portTLS(own))
	c := tls.Client(b, &tls.Config{RootCAs: trust, ServerName: "127.0.0.1"})
	go s.Handshake()
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	cut(s)
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v", took)
	}
}

func TestFailedHandshakesAreNotLoggedAloud(t *testing.T) {
	p := servePort(t, portSetup{})
	for range 20 {
		c := p.dial()
		io.WriteString(c, "\x16\x03\x01\x00\x05hello")
		_, _ = io.Copy(io.Discard, c)
	}
	eventually(t, "handshake errors in the log", func() bool { return strings.Count(p.logged.String(), "TLS handshake error") == 20 })
	if strings.Contains(p.logged.String(), "level=WARN") {
		t.Errorf("%s", p.logged)
	}
}

func TestListenerEndsWithAllItsConnections(t *testing.T) {
	for name, said := range map[string]string{"silent": "", "TLS": "\x16", "HTTP": "GET", "refused": "GET"} {
		own, _ := pair()
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l := NewListener(ln, ListenerConfig{TLS: portTLS(own), Plaintext: func(net.Addr) bool { return name != "refused" }, Log: slog.New(slog.DiscardHandler)})
		var conns []net.Conn
		for range 20 { // nobody accepts them
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			io.WriteString(c, said)
			conns = append(conns, c)
		}
		eventually(t, "all to be taken in", func() bool {
			l.limiter.mu.Lock()
			defer l.limiter.mu.Unlock()
			return l.limiter.waiting == 20
		})
		start := time.Now()
		if err := l.Close(); err != nil || time.Since(start) > partingTime/2 {
			t.Errorf("%s: %v after %v", name, err, time.Since(start))
		}
		if n := len(l.limiter.open) + l.limiter.waiting; n != 0 {
			t.Errorf("%s: %d are left", name, n)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: Accept: %v", name, err)
		}
		if err := l.Close(); err != nil {
			t.Errorf("%s: closed again: %v", name, err)
		}
		eventually(t, "all to be closed", func() bool { return closedByPeer(conns) == 20 })
	}
}

// short is a listener that runs out of something now and then.
type short struct {
	net.Listener
	errs chan error
}

func (s short) Accept() (net.Conn, error) {
	select {
	case err := <-s.errs:
		return nil, err
	default:
		return s.Listener.Accept()
	}
}

func TestListenerOutlivesAShortage(t *testing.T) {
	s := short{errs: make(chan error, 100)}
	for range 3 {
		s.errs <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	p := servePort(t, portSetup{wrap: func(ln net.Listener) net.Listener { s.Listener = ln; return s }})
	if r := p.do("GET", "/livez", nil); r.StatusCode != 200 {
		t.Errorf("%d", r.StatusCode)
	}
	for _, err := range []error{net.ErrClosed, syscall.EBADF, syscall.EINVAL} {
		ln, other := net.Listen("tcp", "127.0.0.1:0")
		if other != nil {
			t.Fatal(other)
		}
		s := short{ln, make(chan error, 1)}
		s.errs <- &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
		l := NewListener(s, ListenerConfig{Log: slog.New(slog.DiscardHandler)})
		st := newStore()
		if got := New(Config{Files: st, Index: st, Log: slog.New(slog.DiscardHandler)}).Serve(t.Context(), l); !errors.Is(got, err) {
			t.Errorf("a listener that fails for good with %v: %v", err, got)
		}
	}
}

// What accept(2) reports of one connection, or makes up, must not end the daemon.
func TestNoErrorOfOneConnectionEndsTheListener(t *testing.T) {
	for _, err := range []error{syscall.ENOBUFS, syscall.ENOMEM, syscall.EPERM, syscall.EPROTO, syscall.EHOSTUNREACH, syscall.ENETDOWN, errors.New("odd")} {
		for name, wrap := range map[string]func(net.Listener) net.Listener{
			"the port": func(ln net.Listener) net.Listener {
				return NewListener(ln, ListenerConfig{Log: slog.New(slog.DiscardHandler)})
			},
			"one that is served as it is": func(ln net.Listener) net.Listener { return ln },
		} {
			ln, other := net.Listen("tcp", "127.0.0.1:0")
			if other != nil {
				t.Fatal(other)
			}
			s := short{ln, make(chan error, 1)}
			s.errs <- &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
			p := serveOn(t, wrap(s), newStore())
			res, failed := p.client.Get(p.url + "/livez")
			if failed != nil {
				t.Errorf("%s after %v: %v", name, err, failed)
				continue
			}
			res.Body.Close()
		}
	}
}

// Serve ends with all goroutines, whatever its connections are doing.
func TestServeEndsInTheMiddleOfEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	p := servePort(t, portSetup{config: func(c *Config) { c.Drain = 100 * time.Millisecond }})
	for _, said := range []string{"", "\x16", "\x16\x03\x01\x00\xf0", "GET / HTTP", "POST /files?filename=f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"} {
		for range 10 {
			io.WriteString(p.dial(), said)
		}
	}
	for range 10 {
		io.WriteString(p.handshake(p.dial()), "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}
	eventually(t, "uploads under way", func() bool { return p.api.transfers.inUse() == 10 })
	start := time.Now()
	if err := p.stop(); err != nil || time.Since(start) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	eventually(t, "its goroutines to end", func() bool { return runtime.NumGoroutine() <= before+2 })
}

func FuzzFirstBytes(f *testing.F) {
	own, _ := pair()
	f.Add([]byte{}, true)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), true)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), false)
	f.Add([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), false)
	f.Add([]byte("\x16\x03\x01\x00\x00\x16\x03\x01\x00\x01\x01"), true)
	f.Add([]byte{0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f}, true)
	f.Fuzz(func(t *testing.T, said []byte, allowed bool) {
		under := &pipes{make(chan net.Conn), make(chan struct{})}
		l := NewListener(under, ListenerConfig{TLS: portTLS(own), Plaintext: func(net.Addr) bool { return allowed }, Log: slog.New(slog.DiscardHandler)})
		client, srv := net.Pipe()
		under.conns <- srv
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			_, _ = client.Write(said)
		}()
		got := make(chan net.Conn, 1)
		go func() {
			c, err := l.Accept()
			if err != nil {
				c = nil
			}
			got <- c
		}()
		isTLS := len(said) > 0 && said[0] == firstOfTLS
		switch {
		case len(said) == 0:
			client.Close()
		case !isTLS && !allowed:
			if b, _ := io.ReadAll(client); !bytes.HasPrefix(b, []byte("HTTP/1.1 403 Forbidden\r\n")) {
				t.Errorf("%q is answered with %q", said, b)
			}
			client.Close()
		case isTLS:
			go io.Copy(io.Discard, client)
			time.AfterFunc(10*time.Millisecond, func() { client.Close() })
		default:
			c := <-got
			if _, speaks := c.(*tls.Conn); speaks {
				t.Errorf("%q becomes a %T", said, c)
			}
			if b, err := io.ReadAll(io.LimitReader(c, int64(len(said)))); err != nil || !bytes.Equal(b, said) {
				t.Errorf("%q is read as %q, %v", said, b, err)
			}
			c.Close()
			client.Close()
		}
		<-sent
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if isTLS {
			if c := <-got; c != nil {
				t.Errorf("%q is a handshake", said)
			}
		}
		if len(l.limiter.open) != 0 || l.limiter.waiting != 0 {
			t.Errorf("%d addresses are still counted, %d connections wait", len(l.limiter.open), l.limiter.waiting)
		}
	})
}
