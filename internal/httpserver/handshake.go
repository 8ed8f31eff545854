package httpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxHandshakes bounds the TLS handshakes of one address that are under way at once;
	// further ones wait.
	maxHandshakes = 16
	// handshakeEvery and handshakeBurst are how often an address may begin one: so
	// many at once, and then one each so long. Each costs a Pi some milliseconds.
	handshakeEvery = 20 * time.Millisecond
	handshakeBurst = 64
	// maxHandshakers bounds the addresses that are remembered that have none under way.
	maxHandshakers = 1024
)

var errHandshakeTurn = errors.New("no turn came for a TLS handshake: this address begins too many")

// handshakes gives turns to the TLS handshakes of each address, so that a flood of
// them costs the processor no more than one address may, and others do not wait for
// it. The zero address, this machine's own, is not limited.
type handshakes struct {
	mu     sync.Mutex
	byAddr map[netip.Addr]*handshaker
}

// handshaker is one address.
type handshaker struct {
	places chan struct{} // one per handshake under way
	users  int           // who wait for a place or have one
	next   time.Time     // when its next handshake could begin if it had begun none at once
}

// begin waits for a turn, until ctx ends at the latest.
func (h *handshakes) begin(ctx context.Context, from netip.Addr) (end func(), err error) {
	if !from.IsValid() {
		return func() {}, nil
	}
	a := h.enter(from)
	leave := func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		a.users--
	}
	select {
	case a.places <- struct{}{}:
	case <-ctx.Done():
		leave()
		return nil, errHandshakeTurn
	}
	end = func() {
		<-a.places
		leave()
	}
	turn := time.NewTimer(h.reserve(a))
	defer turn.Stop()
	select {
	case <-turn.C:
		return end, nil
	case <-ctx.Done():
		end()
		return nil, errHandshakeTurn
	}
}

// enter finds the address's turns. Those that are forgotten had none under way.
func (h *handshakes) enter(from netip.Addr) *handshaker {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.byAddr[from]
	if a == nil {
		if h.byAddr == nil {
			h.byAddr = map[netip.Addr]*handshaker{}
		}
		if len(h.byAddr) >= maxHandshakers {
			for addr, other := range h.byAddr {
				if other.users == 0 {
					delete(h.byAddr, addr)
				}
			}
		}
		a = &handshaker{places: make(chan struct{}, maxHandshakes)}
		h.byAddr[from] = a
	}
	a.users++
	return a
}

// reserve takes the next turn, and says how long it is until then.
func (h *handshakes) reserve(a *handshaker) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if a.next.Before(now) {
		a.next = now
	}
	a.next = a.next.Add(handshakeEvery)
	return a.next.Add(-handshakeBurst * handshakeEvery).Sub(now)
}

// secure makes TLS on a connection, within headerTimeout and while the listener is open.
func (l *Listener) secure(c *conn) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(l.open, headerTimeout)
	defer cancel()
	end, err := l.handshakes.begin(ctx, c.from)
	if err != nil {
		return nil, err
	}
	defer end()
	t := tls.Server(c, l.cfg.TLS)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return t, nil
}
