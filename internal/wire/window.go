package wire

import (
	"context"
	"slices"
	"sync"
	"time"
)

// window bounds what is unacknowledged towards one peer, in bytes and in
// messages, and lets waiters in in the order of their arrival. One message is
// always admitted, however large.
type window struct {
	limit int64 // bytes
	count int64 // messages

	mu       sync.Mutex
	bytes    int64
	messages int64
	progress time.Time // the last release, or the first take after none was out
	waiters  []*windowWaiter
}

type windowWaiter struct {
	n       int64
	granted bool
	ready   chan struct{}
}

// windowMessages bounds the unacknowledged messages to one peer: small ones
// would fill a window by their thousands.
const windowMessages = 4096

func newWindow(limit int64) *window { return &window{limit: limit, count: windowMessages} }

// acquire takes n bytes, waiting until they fit. It returns ctx's error or, when
// done closes first, raid.ErrPeerGone.
func (w *window) acquire(ctx context.Context, done <-chan struct{}, n int64) error {
	w.mu.Lock()
	if len(w.waiters) == 0 && w.fits(n) {
		w.take(n)
		w.mu.Unlock()
		return nil
	}
	wt := &windowWaiter{n: n, ready: make(chan struct{})}
	w.waiters = append(w.waiters, wt)
	w.mu.Unlock()
	select {
	case <-wt.ready:
		return nil
	case <-ctx.Done():
		w.forget(wt)
		return contextError(ctx, "wait for the node's window")
	case <-done:
		w.forget(wt)
		return gone("wait for the node's window", nil)
	}
}

// tryAcquire takes n bytes if they fit now and nobody waits.
func (w *window) tryAcquire(n int64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiters) > 0 || !w.fits(n) {
		return false
	}
	w.take(n)
	return true
}

// forget undoes the wait of one who left, who may have been let in meanwhile.
func (w *window) forget(wt *windowWaiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if wt.granted {
		w.giveBack(wt.n)
		return
	}
	w.waiters = slices.DeleteFunc(w.waiters, func(o *windowWaiter) bool { return o == wt })
	w.admit() // the one that left may have been too large for those behind it
}

// release gives back what an acknowledged message held.
func (w *window) release(n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.progress = time.Now()
	w.giveBack(n)
}

// cancel gives back what was taken for a message that was never sent.
func (w *window) cancel(n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.giveBack(n)
}

func (w *window) giveBack(n int64) {
	w.bytes -= n
	w.messages--
	w.admit()
}

func (w *window) fits(n int64) bool {
	return w.messages == 0 || w.messages < w.count && w.bytes+n <= w.limit
}

func (w *window) take(n int64) {
	if w.messages == 0 {
		w.progress = time.Now()
	}
	w.bytes += n
	w.messages++
}

func (w *window) admit() {
	for len(w.waiters) > 0 && w.fits(w.waiters[0].n) {
		wt := w.waiters[0]
		w.waiters[0] = nil
		w.waiters = w.waiters[1:]
		w.take(wt.n)
		wt.granted = true
		close(wt.ready)
	}
}

// outstanding is the number of bytes that are taken.
func (w *window) outstanding() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bytes
}

// stuckFor is the time since the last release while anything is taken, else 0.
func (w *window) stuckFor() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.messages == 0 {
		return 0
	}
	return time.Since(w.progress)
}
