package zmtp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/test/kit"
)

// serve runs Serve on a loopback port until the test ends and returns its address.
func serve(t testing.TB, cfg ServerConfig) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ln, cfg) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return ln.Addr().String()
}

// pullServer serves PULL connections that hand every message's first frame to got.
func pullServer(t testing.TB, got chan<- string, change func(*ServerConfig)) string {
	cfg := ServerConfig{
		Config: func(net.Conn) Config { return Config{Type: Pull} },
		Handle: func(ctx context.Context, c *Conn) {
			for {
				m, err := c.Receive(nil)
				if err != nil {
					return
				}
				select {
				case got <- string(m.Frames[0]):
				case <-ctx.Done():
				}
			}
		},
	}
	if change != nil {
		change(&cfg)
	}
	return serve(t, cfg)
}

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}

func connect(t testing.TB, addr string, cfg Config) *Conn {
	t.Helper()
	c, err := Connect(t.Context(), dial(t, addr), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestSilentClientsHoldUpNobody(t *testing.T) {
	got := make(chan string, 1)
	addr := pullServer(t, got, func(cfg *ServerConfig) { cfg.MaxHandshakes = 16 })
	for i := range 40 {
		nc := dial(t, addr)
		if i%2 == 0 { // half a greeting
			_, _ = nc.Write([]byte{0xFF, 0, 0})
		}
	}
	start := time.Now()
	c := connect(t, addr, Config{Type: Push})
	if err := c.Send(t.Context(), []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "hello" {
		t.Fatalf("got %q", s)
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("a peer was held up for %v", d)
	}
}

func TestSilentClientsAreSentAway(t *testing.T) {
	addr := pullServer(t, nil, func(cfg *ServerConfig) {
		cfg.Config = func(net.Conn) Config { return Config{Type: Pull, HandshakeTimeout: 100 * time.Millisecond} }
	})
	for _, said := range []string{"", "\xff", "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03"} {
		nc := dial(t, addr)
		_, _ = io.WriteString(nc, said)
		_ = nc.SetReadDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.Copy(io.Discard, nc); err != nil && isTimeout(err) {
			t.Errorf("a client that said %q is still connected", said)
		}
	}
}

func TestConnectionsOverTheLimitAreClosed(t *testing.T) {
	got := make(chan string, 1)
	addr := pullServer(t, got, func(cfg *ServerConfig) { cfg.MaxConns = 3 })
	var conns []*Conn
	for range 3 {
		c := connect(t, addr, Config{Type: Push})
		conns = append(conns, c)
		_ = c.Send(t.Context(), []byte("in"))
		<-got
	}
	if _, err := Connect(t.Context(), dial(t, addr), Config{Type: Push}); err == nil {
		t.Fatal("a fourth connection was let in")
	}
	conns[0].Close()
	for end := time.Now().Add(5 * time.Second); ; {
		c, err := Connect(t.Context(), dial(t, addr), Config{Type: Push})
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal("no place became free")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestServeEndsWhatItServes(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var handlers sync.WaitGroup
	handlers.Add(1)
	entered := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- Serve(ctx, ln, ServerConfig{
			Config: func(net.Conn) Config { return Config{Type: Pull} },
			Handle: func(_ context.Context, c *Conn) {
				close(entered)
				_, _ = c.Receive(nil)
				handlers.Done()
			},
		})
	}()
	c := connect(t, ln.Addr().String(), Config{Type: Push})
	silent := dial(t, ln.Addr().String())
	<-entered
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	handlers.Wait()
	if _, err := c.Receive(nil); err == nil {
		t.Error("the connection is still open")
	}
	_ = silent.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := silent.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("the handshake is still open: %v", err)
	}
	if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		t.Error("the listener is still open")
	}
}

func TestServeReportsAListenerThatIsGone(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := Serve(t.Context(), ln, ServerConfig{}); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("got %v", err)
	}
}

func TestStrangersCannotFillTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out kit.Log
		q := quiet{log: slog.New(slog.NewTextHandler(&out, nil)), every: quietFor}
		for range 1000 {
			q.warn("too many connections")
		}
		time.Sleep(quietFor)
		q.warn("too many connections")
		if n := out.Count("\n"); n != 2 || out.Count("not_logged=999") != 1 {
			t.Errorf("%d lines:\n%s", n, &out)
		}
	})
}

func TestRefusedPeersAreLoggedOnceAMinuteEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out kit.Log
		rest := quiet{log: slog.New(slog.NewTextHandler(&out, nil)), every: quietFor}
		failed := perAddress{rest: &rest}
		at := func(i, port int) net.Addr {
			return &net.TCPAddr{IP: net.IPv4(10, byte(i>>16), byte(i>>8), byte(i)), Port: port}
		}
		for i := range 600 { // two retry for ten minutes, from another port each time
			failed.warn(at(1, 1000+i), "handshake failed", "of", "first")
			failed.warn(at(2, 1000+i), "handshake failed", "of", "second")
			time.Sleep(time.Second)
		}
		if a, b := out.Count("of=first"), out.Count("of=second"); a != 10 || b != 10 || out.Count("not_logged=59") != 18 {
			t.Errorf("%d and %d lines in ten minutes:\n%s", a, b, &out)
		}
		time.Sleep(time.Minute)
		for i := range 100_000 { // very many come at once
			failed.warn(at(i, 1000), "handshake failed", "of", "many")
		}
		if n := out.Count("of=many"); n != quietAddresses+1 || len(failed.seen) != quietAddresses {
			t.Errorf("%d lines, %d addresses are kept", n, len(failed.seen))
		}
		time.Sleep(time.Minute)
		failed.warn(at(1<<20, 1000), "handshake failed", "of", "late")
		if out.Count("of=late") != 1 || len(failed.seen) != 1 {
			t.Errorf("a minute later: %d lines, %d addresses are kept", out.Count("of=late"), len(failed.seen))
		}
	})
}

// One who is refused again and again does not hide the next.
func TestEveryRefusedPeerIsLogged(t *testing.T) {
	var out kit.Log
	addr := pullServer(t, nil, func(cfg *ServerConfig) { cfg.Log = slog.New(slog.NewTextHandler(&out, nil)) })
	for _, from := range []string{"127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2", "127.0.0.3"} {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		nc, err := d.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(nc, "GET / HTTP/1.1\r\n\r\n")
		_ = nc.SetReadDeadline(time.Now().Add(4 * time.Second))
		_, _ = io.ReadAll(nc)
		nc.Close()
	}
	for end := time.Now().Add(5 * time.Second); out.Count("handshake failed") < 3 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	for _, from := range []string{"peer=127.0.0.1:", "peer=127.0.0.2:", "peer=127.0.0.3:"} {
		if n := out.Count(from); n != 1 {
			t.Errorf("%d lines with %s", n, from)
		}
	}
}

func TestOtherProtocolsAreSentAwayByTheirFirstByte(t *testing.T) {
	addr := pullServer(t, nil, nil)
	for _, said := range []string{"\x16\x03\x01", "GET / HTTP/1.1\r\n\r\n", "\x00"} {
		nc := dial(t, addr)
		_, _ = io.WriteString(nc, said)
		_ = nc.SetReadDeadline(time.Now().Add(4 * time.Second))
		if b, err := io.ReadAll(nc); isTimeout(err) || len(b) > 0 {
			t.Errorf("%q was answered %q, %v", said, b, err)
		}
	}
}

func TestAThousandStrangersKeepNobodyOut(t *testing.T) {
	got := make(chan string, 1)
	addr := pullServer(t, got, nil)
	for i := range 1000 {
		nc := dial(t, addr)
		_, _ = nc.Write(hello()[:i%70]) // up to the last byte but a few
	}
	c := connect(t, addr, Config{Type: Push})
	if err := c.Send(t.Context(), []byte("hello")); err != nil || <-got != "hello" {
		t.Fatal(err)
	}
}

// dialFrom connects from another address of this machine.
func dialFrom(t testing.TB, from, addr string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	nc, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}

// Somebody connects far faster than any honest handshake ends.
func TestFloodOfHandshakesPushesOutTheFlooderAlone(t *testing.T) {
	got := make(chan string, 1)
	addr := pullServer(t, got, func(cfg *ServerConfig) { cfg.MaxHandshakes = 16 })
	slow := dialFrom(t, "127.0.0.3", addr)
	for range 100 {
		dialFrom(t, "127.0.0.2", addr)
	}
	// The slow one began long before, and is let in all the same.
	c, err := Connect(t.Context(), slow, Config{Type: Push})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Send(t.Context(), []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "hello" {
		t.Fatalf("got %q", s)
	}
}

func TestOneAddressDoesNotTakeAllConnections(t *testing.T) {
	got := make(chan string, 1)
	addr := pullServer(t, got, func(cfg *ServerConfig) { cfg.MaxConns = 12 })
	open := func(from string) error {
		c, err := Connect(t.Context(), dialFrom(t, from, addr), Config{Type: Push})
		if err != nil {
			return err
		}
		t.Cleanup(func() { c.Close() })
		if err := c.Send(t.Context(), []byte("in")); err != nil {
			return err
		}
		<-got
		return nil
	}
	for range 3 {
		if err := open("127.0.0.2"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Connect(t.Context(), dialFrom(t, "127.0.0.2", addr), Config{Type: Push}); err == nil {
		t.Error("a fourth connection of one address was let in")
	}
	for range 3 {
		if err := open("127.0.0.3"); err != nil {
			t.Errorf("another address: %v", err)
		}
	}
}

func TestSources(t *testing.T) {
	for addr, want := range map[string]string{
		"127.0.0.1:5": "", "[::1]:5": "", "memory": "", "127.0.0.2:5": "127.0.0.2", "192.0.2.7:5": "192.0.2.7",
		"[::ffff:192.0.2.7]:5": "192.0.2.7", "[2001:db8:1:2:3:4:5:6]:5": "2001:db8:1:2::", "[fe80::1%eth0]:5": "fe80::",
	} {
		if got := sourceOf(textAddr(addr)); got != want {
			t.Errorf("%s counts for %q, want %q", addr, got, want)
		}
	}
}

type textAddr string

func (textAddr) Network() string  { return "tcp" }
func (a textAddr) String() string { return string(a) }
