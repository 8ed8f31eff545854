package wire

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// window bounds the unacknowledged messages to one peer, in bytes and in number. It admits those
// that wait in the order of their arrival. One message is always admitted, however large.
type window struct {
	limit  int64               // bytes
	room   *semaphore.Weighted // in bytes
	number *semaphore.Weighted // in messages

	mu       sync.Mutex
	bytes    int64
	messages int64
	progress time.Time // the last release, or the first message after none was out
}

// windowMessages bounds the unacknowledged messages to one peer: small ones
// would fill a window by their thousands.
const windowMessages = 4096

func newWindow(limit int64) *window {
	return &window{limit: limit, room: semaphore.NewWeighted(limit), number: semaphore.NewWeighted(windowMessages)}
}

// acquire takes n bytes, waiting until they fit. It returns ctx's error or, when
// done closes first, raid.ErrPeerGone.
func (w *window) acquire(ctx context.Context, done <-chan struct{}, n int64) error {
	if w.tryAcquire(n) {
		return nil
	}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-done:
			cancel()
		case <-waiting.Done():
		}
	}()
	err := w.number.Acquire(waiting, 1)
	if err == nil {
		if err = w.room.Acquire(waiting, min(n, w.limit)); err == nil {
			w.take(n)
			return nil
		}
		w.number.Release(1)
	}
	if ctx.Err() != nil {
		return contextError(ctx, "wait for the node's window")
	}
	return gone("wait for the node's window", nil)
}

// tryAcquire takes n bytes if they fit now and nobody waits.
func (w *window) tryAcquire(n int64) bool {
	if !w.number.TryAcquire(1) {
		return false
	}
	if !w.room.TryAcquire(min(n, w.limit)) {
		w.number.Release(1)
		return false
	}
	w.take(n)
	return true
}

func (w *window) take(n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.messages == 0 {
		w.progress = time.Now()
	}
	w.bytes += n
	w.messages++
}

// release gives back what an acknowledged message held.
func (w *window) release(n int64) { w.giveBack(n, true) }

// cancel gives back what was taken for a message that was never sent.
func (w *window) cancel(n int64) { w.giveBack(n, false) }

func (w *window) giveBack(n int64, acknowledged bool) {
	w.mu.Lock()
	if acknowledged {
		w.progress = time.Now()
	}
	w.bytes -= n
	w.messages--
	w.mu.Unlock()
	w.room.Release(min(n, w.limit))
	w.number.Release(1)
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
