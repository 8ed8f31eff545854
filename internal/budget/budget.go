// Package budget is a ceiling on the memory that all requests of a process hold together, and a
// store of buffers to use again.
//
// There are three ways to a [Buffer]. [Pool.Get] never waits and is for the little that every
// request must have to make progress. [Pool.TryGet] takes memory below the limit and nothing more,
// for work that can do without, such as reading ahead. [Pool.Acquire] waits, first come first
// served. All three are counted.
//
// # Sizes
//
// A buffer occupies its size rounded up, and that is counted. Up to 64 KiB it is rounded to a power
// of two, at least 512 bytes, and above to a multiple of 64 KiB. Released buffers are kept by size
// for the next user. They are given to the garbage collector when nobody comes. Memory that lies
// idle so is not counted.
//
// # Ownership
//
// A buffer begins with one owner. Retain adds one, Release takes one away, and the last Release
// ends its use: the bytes then belong to somebody else. To release more often than that panics. The
// alternative would be two requests in one another's bytes.
package budget

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
)

// Pool counts the buffers that are in use. It is safe for concurrent use.
type Pool struct {
	limit int64

	mu    sync.Mutex
	inUse int64
	queue []*waiter // in order of arrival
	idle  map[int]*sync.Pool
}

type waiter struct {
	need  int64
	ready chan struct{} // closed when need has been counted for the waiter
}

// New makes a pool of limit bytes.
func New(limit int64) *Pool {
	return &Pool{limit: limit, idle: make(map[int]*sync.Pool)}
}

// Limit returns the limit that New was given, in bytes.
func (p *Pool) Limit() int64 { return p.limit }

// InUse returns the number of bytes held now. Get may bring it above Limit.
func (p *Pool) InUse() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.inUse
}

// Get returns a buffer of n bytes, whatever the limit says. Its content is
// undefined.
func (p *Pool) Get(n int) *Buffer {
	need := p.charge(n)
	p.mu.Lock()
	p.inUse += need
	p.mu.Unlock()
	return p.buffer(n, need)
}

// TryGet returns a buffer of n bytes if it fits below the limit and nobody
// waits in Acquire.
func (p *Pool) TryGet(n int) (*Buffer, bool) {
	need := p.charge(n)
	p.mu.Lock()
	if len(p.queue) > 0 || p.inUse+need > p.limit {
		p.mu.Unlock()
		return nil, false
	}
	p.inUse += need
	p.mu.Unlock()
	return p.buffer(n, need), true
}

// Acquire returns a buffer of n bytes as soon as it fits below the limit and
// all who came earlier have theirs. A buffer that alone is over the limit is
// handed out when nothing else is, so that a part of any size can pass. It fails
// with the context's error when that ends first.
func (p *Pool) Acquire(ctx context.Context, n int) (*Buffer, error) {
	need := p.charge(n)
	p.mu.Lock()
	if len(p.queue) == 0 && p.inUse+need <= p.limit {
		p.inUse += need
		p.mu.Unlock()
		return p.buffer(n, need), nil
	}
	w := &waiter{need: need, ready: make(chan struct{})}
	p.queue = append(p.queue, w)
	p.mu.Unlock()

	select {
	case <-w.ready:
	case <-ctx.Done():
		if p.leave(w) {
			return nil, fmt.Errorf("wait for %d bytes of memory: %w", n, ctx.Err())
		}
	}
	return p.buffer(n, need), nil
}

// leave takes w out of the queue. It returns false when w was served already.
func (p *Pool) leave(w *waiter) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, other := range p.queue {
		if other == w {
			p.queue = append(p.queue[:i], p.queue[i+1:]...)
			p.serve() // w may have been what held up the smaller ones behind it
			return true
		}
	}
	return false
}

// serve hands what is free to the waiters in order. The caller holds mu.
func (p *Pool) serve() {
	for len(p.queue) > 0 && p.inUse+p.queue[0].need <= p.limit {
		w := p.queue[0]
		p.queue[0] = nil
		p.queue = p.queue[1:]
		p.inUse += w.need
		close(w.ready)
	}
	if len(p.queue) == 0 {
		p.queue = nil
	}
}

// charge returns the bytes that a buffer of n bytes counts for. That is its rounded size, but never
// so much that it could not be had at all.
func (p *Pool) charge(n int) int64 { return min(int64(rounded(n)), p.limit) }

func (p *Pool) buffer(n int, charged int64) *Buffer {
	size := rounded(n)
	store, ok := p.freeBuffers(size).Get().(*storage)
	if !ok {
		store = &storage{data: make([]byte, size)}
	}
	b := &Buffer{pool: p, store: store, bytes: store.data[:n:n], charged: charged}
	b.owners.Store(1)
	return b
}

func (p *Pool) freeBuffers(size int) *sync.Pool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.idle[size]
	if s == nil {
		s = new(sync.Pool)
		p.idle[size] = s
	}
	return s
}

const (
	smallest = 512
	step     = 64 << 10
)

func rounded(n int) int {
	if n > math.MaxInt-step { // on 32 bits; nothing to round up to
		return n
	}
	if n > step {
		return (n + step - 1) / step * step
	}
	size := smallest
	for size < n {
		size *= 2
	}
	return size
}

// storage outlives the Buffer that shows it: a Buffer is never used twice, so
// that one Release too many is always noticed.
type storage struct{ data []byte }

// Buffer is a slice of bytes that is counted while it has owners.
type Buffer struct {
	pool    *Pool
	whole   *Buffer // of which it is a part, and an owner; nil: it is none
	store   *storage
	bytes   []byte
	charged int64
	owners  atomic.Int32
}

// Bytes is the buffer's content, of exactly the length asked for. It must not
// be touched after the caller's Release.
func (b *Buffer) Bytes() []byte { return b.bytes }

// Retain adds an owner, who must Release too, and returns b.
func (b *Buffer) Retain() *Buffer {
	if b.owners.Add(1) <= 1 {
		panic("budget: buffer retained after its last release")
	}
	return b
}

// Part is a buffer of its own that shows the bytes from one index to another of b. It is
// one of b's owners until its own last Release.
func (b *Buffer) Part(from, to int) *Buffer {
	p := &Buffer{whole: b.Retain(), bytes: b.bytes[from:to:to]}
	p.owners.Store(1)
	return p
}

// Release ends one owner's use; the last one gives the bytes back.
func (b *Buffer) Release() {
	switch left := b.owners.Add(-1); {
	case left > 0:
		return
	case left < 0:
		panic("budget: buffer released more often than it had owners")
	}
	p, store, whole := b.pool, b.store, b.whole
	b.store, b.bytes = nil, nil
	if whole != nil {
		whole.Release()
		return
	}
	p.freeBuffers(len(store.data)).Put(store)
	p.mu.Lock()
	p.inUse -= b.charged
	p.serve()
	p.mu.Unlock()
}
