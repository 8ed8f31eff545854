package httpserver

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"testing"
)

// ends is a connection that notes its end.
type ends struct {
	net.Conn
	addr  net.Addr
	ended bool
}

func (e *ends) RemoteAddr() net.Addr { return e.addr }

func (e *ends) Close() error {
	e.ended = true
	return nil
}

// comes opens a connection.
func (c *connections) comes(from string) *ends {
	e := &ends{addr: tcp(from)}
	c.state(e, http.StateNew)
	return e
}

// asks begins a request on it, which somebody has a right to or not.
func (c *connections) asks(t *testing.T, e *ends, right bool) {
	c.state(e, http.StateActive)
	if right {
		MarkAuthorized(httptest.NewRequestWithContext(c.context(t.Context(), e), "GET", "/", nil))
	}
}

func TestWhoHasMostConnectionsLosesThem(t *testing.T) {
	c := newConnections(6)
	quiet := c.comes("192.0.2.1")
	stranger := c.comes("192.0.2.2")
	c.asks(t, stranger, false)
	var flood []*ends
	for i := range 20 { // all of one network
		e := c.comes(fmt.Sprintf("2001:db8::%x", i+1))
		c.asks(t, e, i == 0)
		flood = append(flood, e)
	}
	if quiet.ended || stranger.ended {
		t.Error("others are pushed out")
	}
	for i, e := range flood {
		if want := i > 0 && i < 17; e.ended != want { // the first has a right, the last three have places
			t.Errorf("number %d: ended %v", i, e.ended)
		}
	}
	// What counts is the request that is served.
	c.state(flood[0], http.StateIdle)
	c.asks(t, flood[0], false)
	for range 4 {
		c.comes("2001:db8::99")
	}
	if !flood[0].ended || quiet.ended || stranger.ended {
		t.Error("an old right lasts")
	}
}

func TestWhoComesLastGoesLast(t *testing.T) {
	c := newConnections(3)
	first := c.comes("192.0.2.1")
	for i := range 2 {
		c.asks(t, c.comes(fmt.Sprintf("192.0.2.%d", 10+i)), true)
	}
	second := c.comes("192.0.2.2")
	if !first.ended || second.ended {
		t.Errorf("ended: the first %v, the second %v", first.ended, second.ended)
	}
	c.asks(t, second, true)
	// It is not served beyond the limit either, when all others have a right.
	if third := c.comes("192.0.2.3"); !third.ended || second.ended {
		t.Errorf("ended: the second %v, the third %v", second.ended, third.ended)
	}
	for e := range c.open {
		c.state(e, http.StateClosed)
	}
	c.wait()
	if c.live != 0 || len(c.evictable.byAddr) != 0 || len(c.evictable.waiting) != 0 {
		t.Errorf("%d live, %d addresses and %d connections are left", c.live, len(c.evictable.byAddr), len(c.evictable.waiting))
	}
}

// What is counted along the way says what a count of all connections does.
func TestWhoGoesIsOfTheAddressWithMost(t *testing.T) {
	c := newConnections(1 << 30)
	r := rand.New(rand.NewPCG(1, 2))
	var all []*ends
	for step := range 20_000 {
		switch n := r.IntN(10); {
		case len(all) < 30 || n < 3 && len(all) < 100:
			all = append(all, c.comes(fmt.Sprintf("192.0.2.%d", r.IntN(12))))
		case n < 6:
			c.asks(t, all[r.IntN(len(all))], n < 5)
		case n < 8:
			c.state(all[r.IntN(len(all))], http.StateIdle)
		case n < 9:
			i := r.IntN(len(all))
			c.state(all[i], http.StateClosed)
			all = slices.Delete(all, i, i+1)
		default:
			c.evict()
		}
		if got, want := c.evictable.first(), byLooking(c); got != want {
			t.Fatalf("step %d: %+v, want %+v", step, got, want)
		}
	}
}

// byLooking is who has to go first.
func byLooking(c *connections) (first *tracked) {
	count := map[netip.Addr]int{}
	for _, g := range c.open {
		if g.group != nil {
			count[g.from]++
		}
	}
	for _, g := range c.open {
		if g.group == nil {
			continue
		}
		if first == nil || count[g.from] > count[first.from] || count[g.from] == count[first.from] && g.since < first.since {
			first = g
		}
	}
	return first
}
