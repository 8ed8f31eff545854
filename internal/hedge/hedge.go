// Package hedge says how long to wait for a node, and when another one is asked too.
//
// All its times stand side by side below, since each bounds the others. The unit of a read is a
// piece of at most 1 MiB, that of a Store one chunk. A native node answers heartbeats at once,
// whatever its disk does, and gets one every 500 ms while any node is asked for something.
package hedge

import (
	"slices"
	"sync"
	"time"
)

const (
	// SuspectAfter bounds the time for which a node may leave heartbeats unanswered: twice their interval. A
	// hung node then costs a request about a second.
	SuspectAfter = time.Second
	// StuckAfter bounds the time for which a node may acknowledge nothing although Stores are under way. Its
	// disk hangs then, or is an SD card that pauses, which some do for more than a second.
	StuckAfter = 2 * time.Second
	// SlowAfter is the same until a node gets new chunks only where no other one can take them.
	SlowAfter = 600 * time.Millisecond

	// Silence is when a read stops to be merely slow: then another copy is asked however many were,
	// unless the node is busy sending and takes no longer than it usually does.
	Silence = time.Second
	// After Overdue without an answer to a read, and without a byte to others, reads pass a node over
	// for StalledFor. Its heartbeats tell nothing of this: a disk may hang while the
	// process lives. It is less than Silence, so that the next request does not wait as long.
	Overdue    = 400 * time.Millisecond
	StalledFor = 5 * time.Second

	// Min and Max bound the delay before another copy is asked: below Min hedging would follow mere
	// jitter; above Max, which is Silence, a person notices. Unknown is that of a node of which too
	// few reads were seen.
	Min     = 15 * time.Millisecond
	Max     = Silence
	Unknown = 250 * time.Millisecond

	// A read or Store is too long when it takes tooLongFactor times as long as the node's own recent
	// ones. When many clients share a slow network all take long, and asking others as well would
	// only make it slower. Until enough were seen tooLongUnknown is too long.
	tooLongFactor  = 4
	tooLongUnknown = 8 * time.Second

	// kept is the number of durations that a Latency keeps. It computes their 95th percentile anew with every
	// few of them.
	kept = 64
	few  = 8

	// A share of all reads may ask a second copy, and Burst of them at once after a while without. Asking twice for everything would halve an array that is merely busy.
	share = 0.05
	Burst = 8
)

// Latency keeps how long a node's last reads, or Stores, took. The zero Latency has seen none. It
// has no lock.
type Latency struct {
	ring [kept]time.Duration
	n    int
	p95  time.Duration
}

// Add notes one that has succeeded.
func (l *Latency) Add(d time.Duration) {
	l.ring[l.n%kept] = d
	l.n++
	if l.n%few != 0 {
		return
	}
	var sorted [kept]time.Duration
	have := copy(sorted[:], l.ring[:min(l.n, kept)])
	slices.Sort(sorted[:have])
	l.p95 = sorted[have*95/100]
}

// After returns the time to wait before another node is asked too.
func (l *Latency) After() time.Duration {
	if l.p95 > 0 {
		return min(max(l.p95, Min), Max)
	}
	return Unknown
}

// Exceeded reports whether an age is far beyond what was usual.
func (l *Latency) Exceeded(age time.Duration) bool {
	if l.n < few {
		return age > tooLongUnknown
	}
	return age > tooLongFactor*l.p95
}

// Budget allows second requests for a small part of the reads. The zero Budget is full. Its methods
// may be called concurrently.
type Budget struct {
	mu     sync.Mutex
	tokens float64
	begun  bool
}

// Read notes a read.
func (b *Budget) Read() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.begun {
		b.tokens, b.begun = Burst, true
	}
	b.tokens = min(b.tokens+share, Burst)
}

// Take reports whether another node may be asked too, for one of the reads that were noted.
func (b *Budget) Take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
