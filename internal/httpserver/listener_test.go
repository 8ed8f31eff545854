package httpserver

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
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/test/kit"
)

func TestHTTP2IsNotSpoken(t *testing.T) {
	p := serve(t, setup{})
	c := tls.Client(p.dial(), &tls.Config{RootCAs: p.trust, ServerName: "127.0.0.1", NextProtos: []string{"h2", "http/1.1"}})
	io.WriteString(c, live)
	if r := p.answer(c); r.StatusCode != 200 || c.ConnectionState().NegotiatedProtocol != "http/1.1" {
		t.Errorf("%d over %q", r.StatusCode, c.ConnectionState().NegotiatedProtocol)
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.trust}, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	if r := p.ask(&http.Client{Transport: tr}, p.secure, "GET", "/livez", nil); r.ProtoMajor != 1 {
		t.Errorf("%s", r.Proto)
	}
}

func onlyLoopback(c *ListenerConfig) {
	c.Plaintext = func(a net.Addr) bool { return addressOf(a).IsLoopback() }
}

func TestStrangersWithoutTLSAreTurnedAwayWithWords(t *testing.T) {
	for ip, want := range map[string]int{"127.0.0.1": 201, "192.168.1.7": 403, "fe80::1%eth0": 403} {
		p := serve(t, setup{wrap: kit.SeemsFrom(ip), listener: onlyLoopback})
		post := func(c *http.Client, url string) reply { // more than one read takes
			return p.ask(c, url, "POST", "/files?filename=f", strings.NewReader(strings.Repeat("x", 100_000)))
		}
		r := post(p.client, p.url)
		if r.StatusCode != want {
			t.Errorf("from %s: %d %s", ip, r.StatusCode, r.body)
		}
		if want == 403 {
			if text := message(r); !strings.Contains(text, "from "+ip+": write https://") || !strings.Contains(text, `plaintext = "any"`) {
				t.Error(text)
			}
			if p.site.count() != 0 || r.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%d files, %v", p.site.count(), r.Header)
			}
		}
		if r := post(p.https, p.secure); r.StatusCode != 201 {
			t.Errorf("https from %s: %d %s", ip, r.StatusCode, r.body)
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
		p := serve(t, setup{
			listener: func(c *ListenerConfig) { c.MaxPerAddress, c.MaxPending = each, 3*each },
			config:   func(c *Config) { c.MaxConns = 5 * each },
		})
		var flood []net.Conn
		for range 10 * each {
			c := p.dialFrom("127.0.0.2")
			_, _ = io.WriteString(c, said)
			flood = append(flood, c)
		}
		kit.Eventually(t, name+" ones beyond the limit to be closed", func() bool { return closedByPeer(flood) == 9*each })
		for _, from := range []string{"127.0.0.1", "127.0.0.3"} {
			start := time.Now()
			c := p.handshake(p.dialFrom(from))
			io.WriteString(c, live)
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
		kit.Eventually(t, "places to be given back", func() bool {
			c := p.dialFrom("127.0.0.2")
			io.WriteString(c, live)
			_, err := http.ReadResponse(bufio.NewReader(c), nil)
			return err == nil
		})
	}
}

// A proxy on this machine, or many programs, have one address.
func TestThisMachineMayHaveManyConnections(t *testing.T) {
	p := serve(t, setup{listener: func(c *ListenerConfig) { c.MaxPerAddress = 3 }})
	for range 10 {
		c := p.dialFrom("127.0.0.1")
		io.WriteString(c, live)
		if r := p.answer(c); r.StatusCode != 200 {
			t.Fatalf("%d", r.StatusCode)
		}
	}
}

// Strangers with many addresses push each other out, and nobody who speaks.
func TestSilentOnesOfManyAddressesOnlyPushEachOtherOut(t *testing.T) {
	for name, said := range map[string]string{"silent": "", "in a handshake": "\x16\x03"} {
		p := serve(t, setup{listener: func(c *ListenerConfig) { c.MaxPending = 20 }, config: func(c *Config) { c.MaxConns = 20 }})
		var flood []net.Conn
		for i := range 100 {
			c := p.dialFrom(fmt.Sprintf("127.0.1.%d", i+1))
			_, _ = io.WriteString(c, said)
			flood = append(flood, c)
		}
		for range 5 {
			c := p.handshake(p.dial())
			io.WriteString(c, live)
			if r := p.answer(c); r.StatusCode != 200 {
				t.Errorf("%s: %d", name, r.StatusCode)
			}
			c.Close()
		}
		kit.Eventually(t, "the oldest to be closed", func() bool { return closedByPeer(flood[:60]) == 60 })
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
	own, _ := kit.Certificate()
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
			log := slog.New(slog.DiscardHandler)
			under := kit.NewPipes()
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error)
			go func() {
				done <- Serve(ctx, Config{Handler: newSite(), Log: log}, NewListener(under, ListenerConfig{TLS: portTLS(own), Log: log}))
			}()
			client := under.Dial()
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
	own, trust := kit.Certificate()
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
	p := serve(t, setup{})
	for range 20 {
		c := p.dial()
		io.WriteString(c, "\x16\x03\x01\x00\x05hello")
		_, _ = io.Copy(io.Discard, c)
	}
	kit.Eventually(t, "handshake errors in the log", func() bool { return strings.Count(p.logged.String(), "TLS handshake error") == 20 })
	if strings.Contains(p.logged.String(), "level=WARN") {
		t.Errorf("%s", p.logged)
	}
}

func TestListenerEndsWithAllItsConnections(t *testing.T) {
	for name, said := range map[string]string{"silent": "", "TLS": "\x16", "HTTP": "GET", "refused": "GET"} {
		own, _ := kit.Certificate()
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
		kit.Eventually(t, "all to be taken in", func() bool {
			l.limiter.mu.Lock()
			defer l.limiter.mu.Unlock()
			return len(l.limiter.pending.waiting) == 20
		})
		start := time.Now()
		if err := l.Close(); err != nil || time.Since(start) > partingTime/2 {
			t.Errorf("%s: %v after %v", name, err, time.Since(start))
		}
		if n := len(l.limiter.open) + len(l.limiter.pending.waiting); n != 0 {
			t.Errorf("%s: %d are left", name, n)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: Accept: %v", name, err)
		}
		if err := l.Close(); err != nil {
			t.Errorf("%s: closed again: %v", name, err)
		}
		kit.Eventually(t, "all to be closed", func() bool { return closedByPeer(conns) == 20 })
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
	p := serve(t, setup{wrap: func(ln net.Listener) net.Listener { s.Listener = ln; return s }})
	if r := p.ask(p.client, p.url, "GET", "/livez", nil); r.StatusCode != 200 {
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
		if got := Serve(t.Context(), Config{Handler: newSite(), Log: slog.New(slog.DiscardHandler)}, l); !errors.Is(got, err) {
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
			p := &server{T: t}
			p.serveOn(wrap(s), Config{Handler: newSite(), Log: slog.New(slog.DiscardHandler)}, nil)
			res, failed := p.client.Get(p.url + "/livez")
			if failed != nil {
				t.Errorf("%s after %v: %v", name, err, failed)
				continue
			}
			res.Body.Close()
		}
	}
}

func FuzzFirstBytes(f *testing.F) {
	own, _ := kit.Certificate()
	f.Add([]byte{}, true)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), true)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), false)
	f.Add([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), false)
	f.Add([]byte("\x16\x03\x01\x00\x00\x16\x03\x01\x00\x01\x01"), true)
	f.Add([]byte{0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f}, true)
	f.Fuzz(func(t *testing.T, said []byte, allowed bool) {
		under := kit.NewPipes()
		l := NewListener(under, ListenerConfig{TLS: portTLS(own), Plaintext: func(net.Addr) bool { return allowed }, Log: slog.New(slog.DiscardHandler)})
		client := under.Dial()
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
		if len(l.limiter.open) != 0 || len(l.limiter.pending.waiting) != 0 {
			t.Errorf("%d addresses are still counted, %d connections wait", len(l.limiter.open), len(l.limiter.pending.waiting))
		}
	})
}
