package zmtp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"maps"
	"testing"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/zmtp/memnet"
)

// said is a connection on which the far end has said everything it ever will.
func said(t testing.TB, b []byte) *memnet.Conn {
	near, far := memnet.Pipe("near:1", "far:1", max(len(b), 4096))
	if _, err := far.Write(b); err != nil {
		t.Fatal(err)
	}
	_ = far.CloseWrite()
	go func() { // or our answers might fill the pipe
		buf := make([]byte, 4096)
		for {
			if _, err := far.Read(buf); err != nil {
				return
			}
		}
	}()
	return near
}

// FuzzHandshake: whatever a peer says, both sides end the handshake with a
// connection or an error, and never by way of a panic in zmq4.
func FuzzHandshake(f *testing.F) {
	for _, b := range brokenHandshakes() {
		f.Add(b)
	}
	f.Add(hello())
	f.Add(append(greeting(0), appendCommand(nil, cmdError, []byte("\x04full"))...))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, do := range []func(context.Context, *memnet.Conn) (*Conn, error){
			func(ctx context.Context, nc *memnet.Conn) (*Conn, error) { return Accept(ctx, nc, Config{Type: Pull}) },
			func(ctx context.Context, nc *memnet.Conn) (*Conn, error) { return Connect(ctx, nc, Config{Type: Pull}) },
		} {
			c, err := do(t.Context(), said(t, b))
			if err == nil {
				if c.Peer().Type != Push {
					t.Errorf("a %s was let in", c.Peer().Type)
				}
				c.Close()
				continue
			}
			if errors.Is(err, ErrProtocol) && bytes.Contains([]byte(err.Error()), []byte("panic")) {
				t.Error(err)
			}
		}
	})
}

// FuzzFirstByte: nothing but TLS and ZMTP gets further on a port for both, whatever comes first and
// in whatever pieces. TLS hears every byte once.
func FuzzFirstByte(f *testing.F) {
	ca := newAuthority(f)
	server := ca.server()
	f.Add(hello(), uint16(1))
	f.Add(clientHello(f, ca.client("node")), uint16(3))
	f.Add(clientHello(f, ca.client("node")), uint16(5000))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint16(100))
	f.Add([]byte{firstOfTLS}, uint16(0))
	f.Add(append([]byte{firstOfTLS, 3, 1, 0, 4, 1, 0, 0, 0}, hello()...), uint16(600))
	f.Fuzz(func(t *testing.T, b []byte, piece uint16) {
		c, err := Accept(t.Context(), said(t, b), Config{Type: Pull, TLS: server})
		switch {
		case err == nil:
			if b[0] != firstOfZMTP || c.Peer().TLS != nil {
				t.Errorf("%.20x was let in", b)
			}
			c.Close()
		case errors.Is(err, ErrTLS) != (len(b) > 0 && b[0] == firstOfTLS):
			t.Errorf("%.20x ended with %v", b, err)
		}

		nc := said(t, b)
		defer nc.Close()
		in := newInbound(nc, defaultProgress)
		if len(b) == 0 || in.fill(1) != nil {
			return
		}
		s := newSecure(in, bytes.Clone(in.next(in.w-in.r)), server, true)
		var heard []byte
		for p := make([]byte, int(piece)+1); ; {
			n, err := s.below.Read(p)
			heard = append(heard, p[:n]...)
			if err != nil {
				break
			}
		}
		if !bytes.Equal(heard, b[:min(len(b), maxTLSHandshake)]) {
			t.Errorf("of %d bytes, TLS hears %d others", len(b), len(heard))
		}
	})
}

// clientHello returns the first bytes of a client.
func clientHello(t testing.TB, cfg *tls.Config) []byte {
	near, far := memnet.Pipe("near:1", "far:1", 64<<10)
	_ = far.CloseWrite()
	if err := tls.Client(near, cfg).Handshake(); err == nil {
		t.Fatal("a handshake with nobody")
	}
	near.Close()
	b, err := io.ReadAll(far)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzFrames: whatever follows the handshake, messages stay within their
// limits, and the budget gets everything back.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 1, 'x'}, false)
	f.Add([]byte{1, 1, 'x', 1, 0, 0, 2, 'y', 'z'}, true)
	f.Add([]byte{2, 0x10, 0, 0, 0, 0, 0, 0, 0}, false)
	f.Add(bytes.Repeat([]byte{1, 1, 'x'}, 9), false)
	f.Add(append(frame(flagMore, 3000, string(make([]byte, 3000))), frame(0, 9000, string(make([]byte, 9000)))...), true)
	f.Add(appendCommand(nil, cmdPing, []byte{0, 0}, []byte("context")), false)
	f.Add(append(appendCommand([]byte{1, 1, 'x'}, "SUBSCRIBE", []byte("a")), 0, 0), true)
	f.Fuzz(func(t *testing.T, b []byte, sink bool) {
		limits := Limits{MaxFrame: 20_000, MaxMessage: 25_000, MaxFrames: 3, FreeFrame: 1000}
		pool := budget.New(64 << 10)
		cfg := Config{Type: Pull, Limits: limits, Pool: pool}
		if err := cfg.complete(); err != nil {
			t.Fatal(err)
		}
		nc := said(t, b)
		c := newConn(nc, nil, newInbound(nc, cfg.ProgressTimeout), cfg, Peer{Type: Push, Addr: nc.RemoteAddr()})
		defer c.Close()
		var into Sink
		if sink {
			into = func(prev [][]byte, size int64) ([]byte, error) {
				if len(prev) == 1 {
					return nil, nil
				}
				return make([]byte, size), nil
			}
		}
		for {
			m, err := c.Receive(into)
			if err != nil {
				break
			}
			total := 0
			for _, f := range m.Frames {
				total += len(f)
			}
			if len(m.Frames) == 0 || len(m.Frames) > 3 || total > 25_000 {
				t.Errorf("%d frames of %d bytes", len(m.Frames), total)
			}
			m.Release()
		}
		if pool.InUse() != 0 {
			t.Errorf("%d bytes are still held", pool.InUse())
		}
	})
}

// FuzzReady: what parses as properties means the same when it is written anew.
func FuzzReady(f *testing.F) {
	for _, b := range brokenHandshakes() {
		if len(b) > greetingSize+8 {
			f.Add(b[greetingSize+8:])
		}
	}
	f.Add(bytes.Join([][]byte{property("Socket-Type", "SUB"), property("Identity", "me"), property("X-Raid-V", "1")}, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseReady(b)
		if err != nil {
			return
		}
		again := bytes.Join([][]byte{property("socket-TYPE", string(p.Type)), property("identity", p.Identity)}, nil)
		for k, v := range p.Properties {
			if len(k) > 253 {
				continue
			}
			again = append(again, property("X-"+k, v)...)
		}
		q, err := parseReady(again)
		if err != nil || q.Type != p.Type || q.Identity != p.Identity || !maps.Equal(q.Properties, p.Properties) {
			t.Errorf("%+v became %+v: %v", p, q, err)
		}
	})
}
