package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// waitTime is how long a request waits for a place, unless configured.
const waitTime = 10 * time.Second

// caller is who a request is from: a token, or else whoever asks from an address
// without one.
type caller struct {
	token string     // its id; empty: none
	host  netip.Addr // the zero one through a Unix socket
	from  netip.Addr // the same, or the network that it is in; see network
}

// callerOf is who a request is from that a token has let in, or none: "".
func callerOf(r *http.Request, token string) caller {
	from := remoteAddr(r).Unmap()
	return caller{token: token, host: from, from: network(from)}
}

// holder is what shares are counted by. Who comes without a token is its address, all
// of it: the machines of a home have one IPv6 network.
func (c caller) holder() caller {
	if c.token != "" {
		return caller{token: c.token}
	}
	return c
}

// places bounds how many requests of a kind are served at once, which bounds the
// memory of all together, and shares that out among callers.
//
// One caller may have most of them, when nobody else is there. It can't be asked to
// give any back, since a slow download takes hours. So there are some more, a
// spare eighth, that go to others alone: a caller takes one of those only while it
// holds fewer places than would be free. Half of the spare ones are for callers
// from networks of which the same is true, since somebody may have several tokens or
// addresses.
//
// Who finds no place waits. The next one goes to whoever of those who wait holds the
// fewest, and of several to who came first.
type places struct {
	what        string // for people
	most, spare int
	wait        time.Duration

	mu      sync.Mutex
	used    int
	held    map[caller]int // by holder
	from    map[netip.Addr]int
	waiting []*waiter // in the order in which they came; at most as many as most
}

// waiter is a request that waits for a place.
type waiter struct {
	caller
	turn chan struct{} // closed when it has one
}

func newPlaces(what string, most int, wait time.Duration) *places {
	return &places{
		what: what, most: most, spare: max(most/8, 1), wait: wait,
		held: map[caller]int{}, from: map[netip.Addr]int{},
	}
}

// enter takes a place, for which it may wait. release gives it back.
func (p *places) enter(ctx context.Context, c caller) (release func(), err error) {
	p.mu.Lock()
	if p.fits(c) {
		p.take(c)
		p.mu.Unlock()
		return p.releaser(c), nil
	}
	w := &waiter{caller: c, turn: make(chan struct{})}
	if p.crowded(c) {
		p.mu.Unlock()
		return nil, p.full()
	}
	p.waiting = append(p.waiting, w)
	p.mu.Unlock()
	t := time.NewTimer(p.wait)
	defer t.Stop()
	select {
	case <-w.turn:
		return p.releaser(c), nil
	case <-t.C:
		err = p.full()
	case <-ctx.Done():
		err = fmt.Errorf("wait for a place among %s: %w", p.what, context.Cause(ctx))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.waiting, w); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		return nil, err
	}
	return p.releaser(c), nil // its turn came just now
}

// fits reports whether a caller may have a place now. Callers hold mu.
func (p *places) fits(c caller) bool {
	held, free := p.held[c.holder()], p.most+p.spare-p.used
	switch {
	case p.used < p.most:
		return held < p.most
	case held >= free:
		return false
	}
	return p.from[c.from] < free || free > p.spare/2
}

// crowded reports whether too many wait already, in all or of this caller: their
// connections are open, and stay so. Callers hold mu.
func (p *places) crowded(c caller) bool {
	mine := 0
	for _, w := range p.waiting {
		if w.holder() == c.holder() {
			mine++
		}
	}
	return len(p.waiting) >= p.most || mine >= max(p.most/2, 1)
}

// take notes a place as taken. Callers hold mu.
func (p *places) take(c caller) {
	p.used++
	p.held[c.holder()]++
	p.from[c.from]++
}

func (p *places) releaser(c caller) func() {
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.used--
		drop(p.held, c.holder())
		drop(p.from, c.from)
		for p.next() {
		}
	})
}

// next gives a place to one of those who wait, if there is one for any of them.
// Callers hold mu.
func (p *places) next() bool {
	best := -1
	for i, w := range p.waiting {
		if p.fits(w.caller) && (best < 0 || p.held[w.holder()] < p.held[p.waiting[best].holder()]) {
			best = i
		}
	}
	if best < 0 {
		return false
	}
	w := p.waiting[best]
	p.waiting = slices.Delete(p.waiting, best, best+1)
	p.take(w.caller)
	close(w.turn)
	return true
}

// drop counts one less; nothing is kept of who has none.
func drop[K comparable](m map[K]int, k K) {
	if m[k]--; m[k] <= 0 {
		delete(m, k)
	}
}

// inUse is how many places are taken.
func (p *places) inUse() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

func (p *places) full() error {
	return &failure{
		status:  http.StatusServiceUnavailable,
		message: "too many " + p.what + " at once (max_requests); try again in a second",
		header:  http.Header{"Retry-After": {"1"}},
	}
}
