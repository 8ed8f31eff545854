package httpserver

import (
	"net/netip"
	"sync"
	"time"
)

// connLimiter counts a Listener's connections: those that have not said yet what they
// speak, and all open ones of each address, so that a flood from one address does
// not keep others out.
type connLimiter struct {
	maxPending, maxPerAddress int

	mu      sync.Mutex
	shut    bool
	pending evictor
	open    map[netip.Addr]int
	logged  time.Time // when a refusal was last logged
}

// admit takes a connection in, as a pending one, or says why not. If another one
// has to go for it, the caller closes that.
func (d *connLimiter) admit(c *conn) (oldest *conn, why string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.shut:
		return nil, "the listener is closed"
	case c.from.IsValid() && d.open[c.from] >= d.maxPerAddress:
		return nil, "this address has too many of them open"
	}
	if c.from.IsValid() {
		d.open[c.from]++
	}
	if len(d.pending.waiting) >= d.maxPending {
		first := d.pending.first()
		d.pending.remove(first)
		oldest = first.conn.(*conn)
	}
	c.tracked = &tracked{conn: c, from: c.from}
	d.pending.add(c.tracked)
	return oldest, ""
}

// handshaken ends the pending of a connection.
func (d *connLimiter) handshaken(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pending.remove(c.tracked)
}

// release counts a connection that has been closed, once.
func (d *connLimiter) release(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.left || !c.from.IsValid() {
		return
	}
	c.left = true
	if d.open[c.from]--; d.open[c.from] == 0 {
		delete(d.open, c.from)
	}
}

// close lets nobody in any more. It returns who is pending, and whether the limiter
// was open.
func (d *connLimiter) close() (pending []*conn, first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	first, d.shut = !d.shut, true
	for g := range d.pending.waiting {
		pending = append(pending, g.conn.(*conn))
	}
	return pending, first
}

// mayLog allows one line in quietTime, and none of a listener that ends.
func (d *connLimiter) mayLog(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.shut || !d.logged.IsZero() && now.Sub(d.logged) < quietTime {
		return false
	}
	d.logged = now
	return true
}
