package zmtp

import (
	"log/slog"
	"net"
	"sync"
	"time"
)

const (
	// quietFor is the least time between two of a server's warnings of strangers.
	quietFor = 10 * time.Second
	// quietForAddress is the least time between two warnings of strangers at one address. A refused
	// peer tries again every few seconds for as long as it runs.
	quietForAddress = time.Minute
	// quietAddresses bounds the addresses that have a line of their own at a time.
	quietAddresses = 64
)

// quiet logs at most one warning in a time and says how many it left out. A
// stranger must not fill the log.
type quiet struct {
	log   *slog.Logger
	every time.Duration

	mu   sync.Mutex
	next time.Time
	lost int
}

func (q *quiet) warn(msg string, args ...any) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if now.Before(q.next) {
		q.lost++
		return
	}
	if q.lost > 0 {
		args = append(args, "not_logged", q.lost)
	}
	q.next, q.lost = now.Add(q.every), 0
	q.log.Warn(msg, args...)
}

// idle reports whether the next warning would be logged.
func (q *quiet) idle(now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !now.Before(q.next)
}

// perAddress is a quiet for each address that warnings are about. So one peer that is refused again
// and again hides no other. Addresses without room share the rest's.
type perAddress struct {
	rest *quiet

	mu   sync.Mutex
	seen map[string]*quiet // by address without port
}

func (p *perAddress) warn(about net.Addr, msg string, args ...any) { p.of(about).warn(msg, args...) }

func (p *perAddress) of(addr net.Addr) *quiet {
	key := addr.String()
	if host, _, err := net.SplitHostPort(key); err == nil {
		key = host
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if q := p.seen[key]; q != nil {
		return q
	}
	if len(p.seen) >= quietAddresses {
		p.forget()
	}
	if len(p.seen) >= quietAddresses {
		return p.rest
	}
	if p.seen == nil {
		p.seen = map[string]*quiet{}
	}
	q := &quiet{log: p.rest.log, every: quietForAddress}
	p.seen[key] = q
	return q
}

// forget drops the addresses of which may be warned again.
func (p *perAddress) forget() {
	now := time.Now()
	for key, q := range p.seen {
		if q.idle(now) {
			delete(p.seen, key)
		}
	}
}
