package client

import (
	"context"
	"io"
	"time"
)

// watch ends a call that makes no progress. It stands for the caller's context
// in everything that the call does.
type watch struct {
	parent context.Context
	ctx    context.Context
	cancel context.CancelCauseFunc
	limit  time.Duration
	timer  *time.Timer
}

func newWatch(parent context.Context, limit time.Duration) *watch {
	w := &watch{parent: parent, limit: limit}
	w.ctx, w.cancel = context.WithCancelCause(parent)
	w.timer = time.AfterFunc(limit, func() { w.cancel(ErrStalled) })
	return w
}

// touch notes progress.
func (w *watch) touch() {
	if w.ctx.Err() == nil {
		w.timer.Reset(w.limit)
	}
}

// pause stops the clock until the next touch.
func (w *watch) pause() { w.timer.Stop() }

// stalled tells whether the watch ended the call.
func (w *watch) stalled() bool { return context.Cause(w.ctx) == ErrStalled }

// stop ends everything that still goes on under the watch.
func (w *watch) stop() {
	w.timer.Stop()
	w.cancel(context.Canceled)
}

// reader notes the progress of a reader from the network.
func (w *watch) reader(r io.Reader) io.Reader { return watchedReader{r, w} }

type watchedReader struct {
	r io.Reader
	w *watch
}

func (r watchedReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if n > 0 {
		r.w.touch()
	}
	return n, err
}
