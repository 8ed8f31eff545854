package allowance

import (
	"sync"
	"time"
)

// Rate is an allowance: Burst at once, and one more after each Every.
type Rate struct {
	Burst int
	Every time.Duration
}

// Bucket counts what is left of an allowance. The zero Bucket is full. It is not safe for
// concurrent use.
type Bucket struct {
	// empty is the time at which the bucket was empty, or would have been, had it filled up
	// without a limit since. Zero: it is full.
	empty time.Time
}

// Take takes one, if there is one.
func (b *Bucket) Take(r Rate, now time.Time) bool {
	if b.Wait(r, now) > 0 {
		return false
	}
	if full := now.Add(-time.Duration(r.Burst) * r.Every); b.empty.Before(full) {
		b.empty = full
	}
	b.empty = b.empty.Add(r.Every)
	return true
}

// Wait returns the time until there is one.
func (b *Bucket) Wait(r Rate, now time.Time) time.Duration {
	return max(0, b.empty.Add(r.Every).Sub(now))
}

// Full reports whether nothing is missing.
func (b *Bucket) Full(r Rate, now time.Time) bool {
	return !b.empty.After(now.Add(-time.Duration(r.Burst) * r.Every))
}

// maxPeers bounds the peers that have a bucket of their own at a time.
const maxPeers = 1000

// Limiter is a bucket for each peer. It is safe for concurrent use.
type Limiter struct {
	rate Rate

	mu    sync.Mutex
	peers map[string]*limited
	rest  limited   // of all peers without room
	swept time.Time // when idle peers were last forgotten
}

type limited struct {
	bucket  Bucket
	refused int // since the last that was not
}

// NewLimiter makes a Limiter that allows each peer the same.
func NewLimiter(r Rate) *Limiter { return &Limiter{rate: r, peers: map[string]*limited{}} }

// Take takes one of a peer's. refused counts the refusals since it got the last.
func (l *Limiter) Take(peer string) (refused int, ok bool) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.of(peer, now)
	if !p.bucket.Take(l.rate, now) {
		p.refused++
		return p.refused, false
	}
	refused, p.refused = p.refused, 0
	return refused, true
}

// of finds a peer's bucket. Callers hold mu.
func (l *Limiter) of(peer string, now time.Time) *limited {
	if p := l.peers[peer]; p != nil {
		return p
	}
	if len(l.peers) >= maxPeers && now.Sub(l.swept) >= time.Second {
		l.swept = now
		for key, p := range l.peers {
			if p.bucket.Full(l.rate, now) {
				delete(l.peers, key)
			}
		}
	}
	if len(l.peers) >= maxPeers {
		return &l.rest
	}
	p := &limited{}
	l.peers[peer] = p
	return p
}
