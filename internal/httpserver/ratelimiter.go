package httpserver

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxAttempts is how many failed attempts of one address are answered with
	// why, and attemptEvery how long it takes until one more is.
	maxAttempts  = 10
	attemptEvery = 6 * time.Second
	// maxFailingClients bounds the addresses that are remembered; beyond, the one that has
	// been quiet for longest is forgotten.
	maxFailingClients = 1024
	// quietTime is the time for which nothing more is logged of one address.
	quietTime = time.Minute
	// maxLines bounds the lines that are logged in that time, of all addresses.
	maxLines = 20
)

// RateLimiter counts failed attempts to show a token, by address, which is 64 bits of
// an IPv6 address. What is limited is the
// noise. A secret of 256 bits can't be guessed, so a good token is served
// even at an address that others misuse, such as a proxy's.
type RateLimiter struct {
	mu     sync.Mutex
	byAddr map[netip.Addr]*list.Element
	recent list.List // of *failingClient; who failed last is at the end
	lines  int       // logged since
	since  time.Time
}

type failingClient struct {
	addr   netip.Addr
	left   int       // attempts that are still answered
	filled time.Time // when left was last made greater
	logged time.Time
	quiet  int // what was not logged since then
}

// Fail counts a failed attempt. It returns how long the address has to wait, 0
// when it may go on, and how many attempts a line of the log should tell of, 0:
// none should be written.
func (t *RateLimiter) Fail(addr netip.Addr) (wait time.Duration, lines int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	a := t.find(addr, now)
	if n := int(now.Sub(a.filled) / attemptEvery); n > 0 {
		a.left = min(maxAttempts, a.left+n)
		a.filled = a.filled.Add(time.Duration(n) * attemptEvery)
	}
	lines = t.mention(a, now)
	if a.left == 0 {
		return attemptEvery - now.Sub(a.filled), lines
	}
	a.left--
	return 0, lines
}

// LogOncePerMinute counts something else that an address can have written into the log as
// often as it likes. It returns how many times a line should tell of, as fail does.
func (t *RateLimiter) LogOncePerMinute(addr netip.Addr) (lines int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	return t.mention(t.find(addr, now), now)
}

// mention counts one more thing to log of an address, and how many a line should
// logOncePerMinute of now.
func (t *RateLimiter) mention(a *failingClient, now time.Time) (lines int) {
	a.quiet++
	if a.logged.IsZero() || now.Sub(a.logged) >= quietTime {
		if lines = t.line(now, a.quiet); lines > 0 {
			a.logged, a.quiet = now, 0
		}
	}
	return lines
}

// find is the address's count, the most recent from now on.
func (t *RateLimiter) find(addr netip.Addr, now time.Time) *failingClient {
	addr = network(addr)
	if e := t.byAddr[addr]; e != nil {
		t.recent.MoveToBack(e)
		return e.Value.(*failingClient)
	}
	if len(t.byAddr) >= maxFailingClients {
		delete(t.byAddr, t.recent.Remove(t.recent.Front()).(*failingClient).addr)
	}
	if t.byAddr == nil {
		t.byAddr = map[netip.Addr]*list.Element{}
	}
	a := &failingClient{addr: addr, left: maxAttempts, filled: now}
	t.byAddr[addr] = t.recent.PushBack(a)
	return a
}

// line bounds the lines of all addresses together.
func (t *RateLimiter) line(now time.Time, n int) int {
	if t.since.IsZero() || now.Sub(t.since) >= quietTime {
		t.since, t.lines = now, 0
	}
	if t.lines == maxLines {
		return 0
	}
	t.lines++
	return n
}
