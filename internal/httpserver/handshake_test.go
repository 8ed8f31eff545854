package httpserver

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/test/kit"
)

// An address has so many handshakes under way, and begins so many in a time; the
// others wait for their turn, and nobody else waits for them.
func TestHandshakesOfOneAddressTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h handshakes
		flood, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		begin := func(ctx context.Context, from netip.Addr) (func(), time.Duration) {
			start := time.Now()
			end, err := h.begin(ctx, from)
			if err != nil {
				return nil, time.Since(start)
			}
			return end, time.Since(start)
		}
		// At once: what may be under way.
		var ends []func()
		for range maxHandshakes {
			end, took := begin(t.Context(), flood)
			if took > 0 {
				t.Errorf("one of the first waits for %v", took)
			}
			ends = append(ends, end)
		}
		ctx, cancel := context.WithTimeout(t.Context(), headerTimeout)
		if end, took := begin(ctx, flood); end != nil || took != headerTimeout {
			t.Errorf("one more begins after %v", took)
		}
		cancel()
		for _, from := range []netip.Addr{other, {}} {
			if end, took := begin(t.Context(), from); took > 0 {
				t.Errorf("another waits for %v", took)
			} else {
				end()
			}
		}
		for _, end := range ends {
			end()
		}
		// Ones that end at once: a burst, and then one in its time.
		time.Sleep(time.Hour)
		start := time.Now()
		for range handshakeBurst + 100 {
			end, _ := begin(t.Context(), flood)
			end()
		}
		if took := time.Since(start); took < 99*handshakeEvery || took > 101*handshakeEvery {
			t.Errorf("a burst and 100 more took %v", took)
		}
		if _, took := begin(t.Context(), netip.MustParseAddr("192.0.2.3")); took > 0 {
			t.Errorf("another waits for %v", took)
		}
	})
}

func TestAddressesOfPastHandshakesAreForgotten(t *testing.T) {
	var h handshakes
	for i := range 3 * maxHandshakers {
		end, err := h.begin(t.Context(), netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
		if err != nil {
			t.Fatal(err)
		}
		end()
	}
	if len(h.byAddr) > maxHandshakers {
		t.Errorf("%d addresses are remembered", len(h.byAddr))
	}
}

// Handshakes that their clients never finish.
func TestHangingHandshakesHoldNobodyElseUp(t *testing.T) {
	p := serve(t, setup{})
	const many = 100
	for range many {
		c := p.dialFrom("127.0.0.2")
		hello := recordedHello(t)
		if _, err := c.Write(hello); err != nil {
			t.Fatal(err)
		}
	}
	for _, from := range []string{"127.0.0.3", "127.0.0.1"} {
		start := time.Now()
		for range 5 {
			c := p.handshake(p.dialFrom(from))
			io.WriteString(c, live)
			if r := p.answer(c); r.StatusCode != 200 {
				t.Errorf("%s: %d", from, r.StatusCode)
			}
			c.Close()
		}
		if took := time.Since(start); took > headerTimeout/2 {
			t.Errorf("%s waited for %v", from, took)
		}
	}
}

func TestHangingHandshakesOfOneAddressAreFew(t *testing.T) {
	p := serve(t, setup{})
	var flood []net.Conn
	hello, start := recordedHello(t), time.Now()
	for range 3 * maxHandshakes {
		c := p.dialFrom("127.0.0.2")
		c.Write(hello)
		flood = append(flood, c)
	}
	begun := map[net.Conn]bool{}
	look := func() {
		for _, c := range flood {
			c.SetReadDeadline(time.Now().Add(time.Millisecond))
			if _, err := c.Read(make([]byte, 1)); err == nil {
				begun[c] = true
			}
		}
	}
	kit.Eventually(t, "those to be answered that may", func() bool { look(); return len(begun) >= maxHandshakes })
	for range 5 {
		look()
	}
	if len(begun) > maxHandshakes && time.Since(start) < headerTimeout { // after which the next ones begin
		t.Errorf("%d handshakes of one address are under way", len(begun))
	}
}

// Nor do those that wait for a turn hold up the end of the listener.
func TestListenerWithWaitingHandshakesClosesAtOnce(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	own, _ := kit.Certificate()
	l := NewListener(ln, ListenerConfig{TLS: portTLS(own), Log: slog.New(slog.DiscardHandler)})
	flood := netip.MustParseAddr("127.0.0.2")
	for range maxHandshakes { // which are not of connections, so that nothing ends them
		if _, err := l.handshakes.begin(t.Context(), flood); err != nil {
			t.Fatal(err)
		}
	}
	c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IP(flood.AsSlice())}}).Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write(recordedHello(t))
	kit.Eventually(t, "it to wait for a turn", func() bool {
		l.handshakes.mu.Lock()
		defer l.handshakes.mu.Unlock()
		return l.handshakes.byAddr[flood].users > maxHandshakes
	})
	start := time.Now()
	if err := l.Close(); err != nil || time.Since(start) > headerTimeout/2 {
		t.Errorf("closing ended after %v with %v", time.Since(start), err)
	}
}

// The address that has most of those that wait makes room, not whoever came first.
func TestOneThatFloodsPushesOutItsOwn(t *testing.T) {
	p := serve(t, setup{listener: func(c *ListenerConfig) { c.MaxPending = 50 }})
	early := p.dialFrom("127.0.0.3")
	io.WriteString(early, "\x16\x03")
	var flood []net.Conn
	for range 200 {
		c := p.dialFrom("127.0.0.2")
		io.WriteString(c, "\x16\x03")
		flood = append(flood, c)
	}
	kit.Eventually(t, "the flood's oldest to be closed", func() bool { return closedByPeer(flood[:100]) == 100 })
	if closedByPeer([]net.Conn{early}) != 0 {
		t.Error("somebody else had to go for them")
	}
}

// recordedHello is what a client says first.
func recordedHello(t *testing.T) []byte {
	a, b := net.Pipe()
	defer b.Close()
	go func() {
		_ = tls.Client(a, &tls.Config{ServerName: "127.0.0.1"}).Handshake() // which never ends well
	}()
	hello := make([]byte, 16<<10)
	n, err := b.Read(hello)
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	return hello[:n]
}
