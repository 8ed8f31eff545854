package httpserver

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// waitTime is the time that a request waits for a place, unless given.
const waitTime = 10 * time.Second

// Caller says who a request is from: a token, or else whoever asks from an address
// without one.
type Caller struct {
	token string     // its id; empty: none
	host  netip.Addr // the zero one through a Unix socket
	from  netip.Addr // the same, or the network that it is in; see network
}

// CallerOf is the caller of a request. token is the id of the one that let it in; "": none did.
func CallerOf(r *http.Request, token string) Caller {
	from := RemoteAddr(r).Unmap()
	return Caller{token: token, host: from, from: network(from)}
}

// Holder is the one whom shares are counted for. Who comes without a token is its address, all
// of it: the machines of a home have one IPv6 network.
func (c Caller) Holder() Caller {
	if c.token != "" {
		return Caller{token: c.token}
	}
	return c
}

// RequestLimiter bounds how many requests of a kind are served at once, which bounds the
// memory of all together, and shares that out among callers.
//
// One caller may have most of them, when nobody else is there. It can't be asked to
// give any back, since a slow download takes hours. So there are some more, a
// spare eighth, that go to others alone. A caller takes one of those only while it
// holds fewer places than would be free. Half of the spare ones are for callers
// from networks of which the same is true, since somebody may have several tokens or
// addresses.
//
// Who finds no place waits. The next one goes to whoever of those who wait holds the
// fewest, and of several to who came first.
type RequestLimiter struct {
	what        string // for people
	most, spare int
	wait        time.Duration

	mu      sync.Mutex
	used    int
	held    map[Caller]int // by holder
	from    map[netip.Addr]int
	waiting []*waiter // in the order in which they came; at most as many as most
}

// waiter is a request that waits for a place.
type waiter struct {
	Caller
	turn chan struct{} // closed when it has one
}

// NewRequestLimiter makes places for so many requests, which wait for one for so long, 10 s
// unless given. what are the requests, for people.
func NewRequestLimiter(what string, most int, wait time.Duration) *RequestLimiter {
	wait = cmp.Or(max(wait, 0), waitTime)
	return &RequestLimiter{
		what: what, most: most, spare: max(most/8, 1), wait: wait,
		held: map[Caller]int{}, from: map[netip.Addr]int{},
	}
}

// Enter takes a place, for which it may wait. release gives it back.
func (p *RequestLimiter) Enter(ctx context.Context, c Caller) (release func(), err error) {
	p.mu.Lock()
	if p.fits(c) {
		p.take(c)
		p.mu.Unlock()
		return p.releaser(c), nil
	}
	w := &waiter{Caller: c, turn: make(chan struct{})}
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
func (p *RequestLimiter) fits(c Caller) bool {
	held, free := p.held[c.Holder()], p.most+p.spare-p.used
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
func (p *RequestLimiter) crowded(c Caller) bool {
	mine := 0
	for _, w := range p.waiting {
		if w.Holder() == c.Holder() {
			mine++
		}
	}
	return len(p.waiting) >= p.most || mine >= max(p.most/2, 1)
}

// take notes a place as taken. Callers hold mu.
func (p *RequestLimiter) take(c Caller) {
	p.used++
	p.held[c.Holder()]++
	p.from[c.from]++
}

func (p *RequestLimiter) releaser(c Caller) func() {
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.used--
		drop(p.held, c.Holder())
		drop(p.from, c.from)
		for p.next() {
		}
	})
}

// next gives a place to one of those who wait, if there is one for any of them.
// Callers hold mu.
func (p *RequestLimiter) next() bool {
	best := -1
	for i, w := range p.waiting {
		if p.fits(w.Caller) && (best < 0 || p.held[w.Holder()] < p.held[p.waiting[best].Holder()]) {
			best = i
		}
	}
	if best < 0 {
		return false
	}
	w := p.waiting[best]
	p.waiting = slices.Delete(p.waiting, best, best+1)
	p.take(w.Caller)
	close(w.turn)
	return true
}

// drop counts one less; nothing is kept of who has none.
func drop[K comparable](m map[K]int, k K) {
	if m[k]--; m[k] <= 0 {
		delete(m, k)
	}
}

// InUse is the number of places that are taken.
func (p *RequestLimiter) InUse() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

func (p *RequestLimiter) full() error {
	return &Error{
		Status:  http.StatusServiceUnavailable,
		Message: "too many " + p.what + " at once (max_requests); try again in a second",
		Header:  http.Header{"Retry-After": {"1"}},
	}
}
