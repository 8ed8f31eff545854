package zmtp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/zmtp/memnet"
	"github.com/raidpi/raidpi/test/kit"
)

func TestMessagesInsideTLSArriveAsTheyWereSent(t *testing.T) {
	for name, pair := range map[string]func() (net.Conn, net.Conn){
		"TCP":    func() (net.Conn, net.Conn) { return tcpPair(t) },
		"memory": func() (net.Conn, net.Conn) { return memPair() },
	} {
		t.Run(name+", PUSH connects", func(t *testing.T) {
			cfg := large()
			cfg.Type = Pull
			near, far := pair()
			push, pull := shakeInTLS(t, near, far, Config{Type: Push}, cfg)
			messagesArrive(t, push, pull, cfg)
		})
		t.Run(name+", PULL connects", func(t *testing.T) {
			cfg := large()
			cfg.Type = Pull
			near, far := pair()
			pull, push := shakeInTLS(t, near, far, cfg, Config{Type: Push})
			messagesArrive(t, push, pull, cfg)
		})
	}
}

func TestAdmitSeesTheCertificate(t *testing.T) {
	why := errors.New("node-7 was removed from the array")
	seen := make(chan string, 1)
	a, b := inTLS(t, Config{Type: Push}, Config{Type: Pull, Admit: func(p Peer) (Properties, error) {
		seen <- p.TLS.PeerCertificates[0].Subject.CommonName
		return nil, why
	}})
	near, far := tcpPair(t)
	accepted := make(chan error, 1)
	go func() {
		_, err := Accept(context.Background(), far, b)
		accepted <- err
	}()
	_, err := Connect(t.Context(), near, a)
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Reason != why.Error() {
		t.Errorf("the connecting side got %v", err)
	}
	if err := <-accepted; !errors.Is(err, why) {
		t.Errorf("the binding side got %v", err)
	}
	if name := <-seen; name != "node" {
		t.Errorf("admit saw %q", name)
	}
}

func TestPlaintextAndTLSShareAPort(t *testing.T) {
	ca := newAuthority(t)
	server, client := ca.server(), ca.client("node")
	var plain, inside atomic.Int64
	got := make(chan string, 100)
	addr := pullServer(t, got, func(cfg *ServerConfig) {
		cfg.Config = func(net.Conn) Config {
			return Config{Type: Pull, TLS: server, Admit: func(p Peer) (Properties, error) {
				if p.TLS == nil {
					plain.Add(1)
				} else {
					inside.Add(1)
				}
				return nil, nil
			}}
		}
	})
	const each = 20
	var wg sync.WaitGroup
	for i := range 2 * each {
		wg.Go(func() {
			cfg := Config{Type: Push}
			if i%2 == 0 {
				cfg.TLS = client
			}
			c, err := Connect(t.Context(), dial(t, addr), cfg)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if (c.Peer().TLS != nil) != (i%2 == 0) {
				t.Errorf("connection %d has TLS state %v", i, c.Peer().TLS)
			}
			if err := c.Send(t.Context(), []byte("hello")); err != nil {
				t.Error(err)
			}
			<-got
		})
	}
	wg.Wait()
	if plain.Load() != each || inside.Load() != each {
		t.Errorf("%d plaintext peers and %d inside TLS were admitted", plain.Load(), inside.Load())
	}
}

func TestWrongCertificatesAreRefusedInWords(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	alone := ours.client("node")
	alone.Certificates = nil
	elsewhere := ours.client("node")
	elsewhere.ServerName = "elsewhere"
	impostor := ours.server()
	impostor.Certificates = []tls.Certificate{theirs.issue("controller")}
	stranger := ours.client("node")
	stranger.Certificates = []tls.Certificate{theirs.issue("node")}
	removed := ours.server()
	removed.VerifyConnection = func(tls.ConnectionState) error { return errors.New("node-7 was removed") }
	old := ours.client("node")
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	for name, c := range map[string]struct {
		client, server             *tls.Config
		clientSays, serverSays     string
		clientReason, serverReason error
	}{
		"client of another CA": {stranger, ours.server(), "does not accept our certificate", "peer's certificate is not accepted here", ErrTLS, ErrTLS},
		"client without one":   {alone, ours.server(), "does not accept our certificate", "didn't provide a certificate", ErrTLS, ErrTLS},
		"removed client":       {ours.client("node"), removed, "does not accept our certificate", "node-7 was removed", ErrTLS, ErrTLS},
		"server of another CA": {ours.client("node"), impostor, "peer's certificate is not accepted here", "does not accept our certificate", ErrTLS, ErrTLS},
		"server of that name":  {elsewhere, ours.server(), "not elsewhere", "does not accept our certificate", ErrTLS, ErrTLS},
		"old version":          {old, ours.server(), "broke it off with the alert \"protocol version not supported\"", "unsupported versions", ErrTLS, ErrTLS},
		"server without TLS":   {ours.client("node"), nil, "does it take TLS on this port?", "the peer wants TLS, which is not set up here", ErrTLS, ErrProtocol},
	} {
		for range 5 {
			near, far := tcpPair(t)
			accepted := make(chan error, 1)
			go func() {
				_, err := Accept(context.Background(), far, Config{Type: Pull, TLS: c.server})
				accepted <- err
			}()
			start := time.Now()
			_, err := Connect(t.Context(), near, Config{Type: Push, TLS: c.client})
			if !errors.Is(err, c.clientReason) || !strings.Contains(err.Error(), c.clientSays) {
				t.Errorf("%s: the client says %v", name, err)
			}
			if err := <-accepted; !errors.Is(err, c.serverReason) || !strings.Contains(err.Error(), c.serverSays) {
				t.Errorf("%s: the server says %v", name, err)
			}
			if d := time.Since(start); d > 4*time.Second {
				t.Errorf("%s: it took %v", name, d)
			}
		}
	}
}

// A port that speaks plaintext gets nothing of what is meant for TLS.
func TestThereIsNoWayBackToPlaintext(t *testing.T) {
	for name, says := range map[string][]byte{"libzmq": greeting(1), "a web server": []byte("HTTP/1.1 400 Bad Request\r\n\r\n")} {
		near, far := tcpPair(t)
		heard := make(chan []byte, 1)
		go func() {
			_, _ = far.Write(says)
			b, _ := io.ReadAll(far)
			heard <- b
		}()
		_, err := Connect(t.Context(), near, Config{Type: Push, TLS: newAuthority(t).client("node")})
		if !errors.Is(err, ErrTLS) || !strings.Contains(err.Error(), "does not speak TLS") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := near.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: the connection was left open: %v", name, err)
		}
		if b := <-heard; len(b) == 0 || b[0] != firstOfTLS || bytes.Contains(b, greeting(0)[:10]) {
			t.Errorf("%s heard %.80q", name, b)
		}
	}
}

// brittle is a connection that breaks, or sticks, after a number of bytes written.
type brittle struct {
	*memnet.Conn
	left   int
	sticks bool
}

func (b *brittle) Write(p []byte) (int, error) {
	n := min(len(p), b.left)
	b.left -= n
	if n, err := b.Conn.Write(p[:n]); err != nil {
		return n, err
	}
	if n < len(p) && !b.sticks {
		b.Close()
	}
	return len(p), nil
}

func TestHandshakesThatAreCutInTheMiddleEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := inTLS(t, Config{Type: Push}, Config{Type: Pull})
		cut := 0
		for _, clientSide := range []bool{true, false} {
			for _, sticks := range []bool{true, false} {
				for at := 0; at < 3000; at += 97 {
					near, far := memPair()
					client, server := &brittle{near, 1 << 20, sticks}, &brittle{far, 1 << 20, sticks}
					if clientSide {
						client.left = at
					} else {
						server.left = at
					}
					start := time.Now()
					accepted := make(chan error, 1)
					go func() {
						c, err := Accept(context.Background(), server, b)
						if err == nil {
							defer c.Close()
							_, err = c.Receive(nil)
						}
						accepted <- err
					}()
					c, err := Connect(context.Background(), client, a)
					if err == nil {
						c.Close()
					} else {
						cut++
					}
					if got := <-accepted; got == nil || err != nil && sticks && !errors.Is(err, ErrSilent) && !errors.Is(got, ErrSilent) {
						t.Errorf("at byte %d: the client says %v, the server %v", at, err, got)
					}
					if d := time.Since(start); d > defaultHandshake+lingerTime {
						t.Errorf("at byte %d: it took %v", at, d)
					}
					near.Close()
					far.Close()
				}
			}
		}
		if cut < 30 {
			t.Errorf("only %d handshakes were cut", cut)
		}
	})
}

func TestGiantClientHellosAreNotRead(t *testing.T) {
	near, far := tcpPair(t)
	accepted := make(chan error, 1)
	go func() {
		_, err := Accept(context.Background(), far, Config{Type: Pull, TLS: newAuthority(t).server()})
		accepted <- err
	}()
	body := append([]byte{1, 0, 0xF0, 0}, make([]byte, 60_000)...) // a ClientHello of 61,440 bytes
	go func() {
		for len(body) > 0 {
			n := min(len(body), record)
			if _, err := near.Write(append([]byte{firstOfTLS, 3, 1, byte(n >> 8), byte(n)}, body[:n]...)); err != nil {
				return
			}
			body = body[n:]
		}
	}()
	if err := <-accepted; !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), "more than 32 KiB") {
		t.Errorf("got %v", err)
	}
}

func TestAThousandSilentTLSClientsKeepNobodyOut(t *testing.T) {
	ca := newAuthority(t)
	server := ca.server()
	got := make(chan string, 1)
	var out kit.Log
	addr := pullServer(t, got, func(cfg *ServerConfig) {
		cfg.Config = func(net.Conn) Config { return Config{Type: Pull, TLS: server} }
		cfg.Log = slog.New(slog.NewTextHandler(&out, nil))
	})
	begun := append([]byte{firstOfTLS, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3}, make([]byte, 300)...)
	for i := range 1000 {
		_, _ = dial(t, addr).Write(begun[:i%len(begun)])
	}
	start := time.Now()
	c := connect(t, addr, Config{Type: Push, TLS: ca.client("node")})
	if err := c.Send(t.Context(), []byte("hello")); err != nil || <-got != "hello" {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 4*time.Second {
		t.Errorf("a peer was held up for %v", d)
	}
	if out.Count("too many handshakes") == 0 {
		t.Error("the log does not say so")
	}
}

// counted counts writes.
type counted struct {
	net.Conn
	writes, bytes int
}

func (c *counted) Write(p []byte) (int, error) {
	c.writes++
	c.bytes += len(p)
	return c.Conn.Write(p)
}

func TestMessagesLeaveInFewRecordsAndWrites(t *testing.T) {
	near, far := memPair()
	nc := &counted{Conn: near}
	cfg := large()
	cfg.Type = Pull
	push, pull := shakeInTLS(t, nc, far, Config{Type: Push}, cfg)
	for _, c := range []struct{ frames, size, writes, records int }{
		{1, 5, 1, 1}, {3, 1000, 1, 1}, {2, 4000, 1, 1}, {2, 8000, 1, 1}, {3, 10_000, 1, 2},
		{1, record - longHeader, 1, 1}, {2, 64 << 10, 3, 9}, {1, 1 << 20, 17, 65}, {3, 1<<20 + 1, 49, 193},
	} {
		frames := make([][]byte, c.frames)
		for i := range frames {
			frames[i] = pattern(c.size, byte(i))
		}
		nc.writes, nc.bytes = 0, 0
		sent := make(chan error, 1)
		go func() { sent <- push.Send(t.Context(), frames...) }()
		m, err := pull.Receive(nil)
		if err := errors.Join(err, <-sent); err != nil {
			t.Fatal(err)
		}
		for i, f := range m.Frames {
			if !bytes.Equal(f, frames[i]) {
				t.Errorf("%d frames of %d bytes: frame %d has other bytes", c.frames, c.size, i)
			}
		}
		m.Release()
		records := (nc.bytes - c.frames*c.size) / (5 + 1 + 16) // header, type and tag; frame headers are rounded away
		if nc.writes > c.writes || records > c.records+1 {
			t.Errorf("%d frames of %d bytes left in %d writes and about %d records", c.frames, c.size, nc.writes, records)
		}
	}
}

func TestCloseDoesNotWaitForAPeerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, size := range []int{60 << 10, 2 << 20} { // beside a buffer that is full, and in the middle of a message
			near, far := memPair()
			push, _ := shakeInTLS(t, near, far, Config{Type: Push}, Config{Type: Pull})
			sent := make(chan error, 1)
			go func() { sent <- push.Send(context.Background(), make([]byte, size)) }()
			synctest.Wait()
			start := time.Now()
			push.Close()
			if d := time.Since(start); d != 0 {
				t.Errorf("close took %v", d)
			}
			if err := <-sent; (err == nil) != (size < 64<<10) || err != nil && !errors.Is(err, raid.ErrPeerGone) {
				t.Errorf("send: %v", err)
			}
		}
	})
}

// A cut between records looks like an end to TLS, but never like a message.
func TestCutMessagesInsideTLSDoNotArrive(t *testing.T) {
	for _, size := range []int{100, 5 * record} {
		near, far := memPair()
		nc := &brittle{near, 1 << 20, false}
		cfg := large()
		cfg.Type = Pull
		push, pull := shakeInTLS(t, nc, far, Config{Type: Push}, cfg)
		nc.left = min(size, 4*(record+22)) // the first records
		go func() { _ = push.Send(context.Background(), make([]byte, size)) }()
		if m, err := pull.Receive(nil); err == nil || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("received %v, %v", m, err)
		}
	}
}

// slow is a line that takes a second for 64 KiB.
type slow struct{ net.Conn }

func (s slow) Write(p []byte) (n int, err error) {
	for len(p) > 0 && err == nil {
		var k int
		k, err = s.Conn.Write(p[:min(len(p), 4<<10)])
		n, p = n+k, p[k:]
		time.Sleep(time.Second / 16)
	}
	return n, err
}

func TestPartsOfRecordsAreALifeSignInMessagesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := memPair()
		cfg := large()
		cfg.Type, cfg.PingTimeout = Pull, 7*time.Second
		push, pull := shakeInTLS(t, slow{near}, far, Config{Type: Push, WriteTimeout: time.Minute}, cfg)
		go func() { _ = push.Send(context.Background(), pattern(1<<20, 1)) }()
		start := time.Now()
		stop := make(chan struct{})
		var worst time.Duration
		var wg sync.WaitGroup
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Second / 100):
					if time.Since(start) < time.Second {
						continue // the first record, before which no message has begun
					}
					worst = max(worst, pull.SilentFor())
				}
			}
		})
		m, err := pull.Receive(nil)
		close(stop)
		wg.Wait()
		if err != nil || !bytes.Equal(m.Frames[0], pattern(1<<20, 1)) || time.Since(start) < 16*time.Second {
			t.Fatalf("received %v after %v", err, time.Since(start))
		}
		m.Release()
		if worst > 100*time.Millisecond {
			t.Errorf("silent for %v while bytes arrived", worst)
		}
		// A record that never becomes whole, outside of any message.
		time.Sleep(time.Second)
		start = time.Now()
		wg.Go(func() {
			_, err := near.Write([]byte{23, 3, 3, 0x40, 0})
			for ; err == nil; time.Sleep(time.Second) {
				_, err = near.Write([]byte{0})
			}
		})
		if _, err := pull.Receive(nil); !errors.Is(err, ErrSilent) || time.Since(start) > 8*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		wg.Wait()
	})
}

func TestBrokenRecordsEndTheConnection(t *testing.T) {
	near, far := tcpPair(t)
	_, pull := shakeInTLS(t, near, far, Config{Type: Push}, Config{Type: Pull})
	_, _ = near.Write(append([]byte{23, 3, 3, 0, 40}, make([]byte, 40)...))
	if _, err := pull.Receive(nil); err == nil || !strings.Contains(err.Error(), "bad record MAC") {
		t.Errorf("got %v", err)
	}
	<-pull.Done()
}

// To close at once could reset the connection, and take the alert with it.
func TestWhoIsRefusedHasTimeToReadWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, server := range []*tls.Config{nil, newAuthority(t).server()} {
			near, far := memPair()
			_, _ = near.Write([]byte{firstOfTLS, 3, 1, 0, 4, 1, 0, 0, 0}) // a ClientHello of nothing
			start := time.Now()
			if _, err := Accept(t.Context(), far, Config{Type: Pull, TLS: server}); err == nil || time.Since(start) != lingerTime {
				t.Errorf("refused with %v after %v", err, time.Since(start))
			}
			b, err := io.ReadAll(near)
			if err != nil || server != nil && (len(b) < 7 || b[0] != 21) || server == nil && len(b) > 0 {
				t.Errorf("answered %x, %v", b, err)
			}
			near.Close()
		}
	})
}
