package httpserver

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

const (
	// smallRest is the length of the unread body that net/http reads by itself to keep the
	// connection, in bytes (its maxPostHandlerReadBytes).
	smallRest = 256 << 10
	// restTime bounds the wait for the short rest of a body.
	restTime = 2 * time.Second
	// drainTime and drainBytes bound what is read of a refused body.
	// On a slow network or machine a client takes a while to send what it had begun.
	drainTime  = 10 * time.Second
	drainBytes = 512 << 20
	// Each slowTime that is spent waiting for a body must bring slowBytes of it,
	// 1 KiB/s on the average. Clients who send a byte now and then would else have
	// all places for uploads for ever. The slowest modem is faster.
	slowTime  = time.Minute
	slowBytes = 60 << 10
	// openTime bounds the time that the whole body may take of a call that anybody may make.
	// Those have 16 KiB at most.
	openTime = 10 * time.Second
)

// body is a request's body: counted, limited, under a read deadline that moves
// with the progress, at a least rate, and with errors that tell a client what it
// did. Its errors are sticky.
type body struct {
	src      io.Reader
	ctl      *http.ResponseController
	stall    time.Duration
	extended time.Time
	until    time.Time // when all of it must have come, zero: in its own time
	length   int64     // Content-Length, -1 when unknown
	limit    int64     // 0: none
	expect   bool      // the client waits for 100 Continue, which the first Read sends
	read     int64
	waited   time.Duration // for the client, since the rate was last looked at
	before   int64         // what read was then
	err      error
}

func newBody(r *http.Request, ctl *http.ResponseController, stall time.Duration, limit int64) *body {
	return &body{
		src: r.Body, ctl: ctl, stall: stall, length: r.ContentLength, limit: limit,
		expect: r.Header.Get("Expect") != "",
	}
}

// checkLength refuses a body that is announced to be too large.
func (b *body) checkLength() error {
	if b.limit > 0 && b.length > b.limit {
		return b.tooLarge()
	}
	return nil
}

func (b *body) tooLarge() error {
	return Errorf(http.StatusRequestEntityTooLarge, "the body is larger than the %d bytes that max_body allows; nothing was stored", b.limit)
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.limit > 0 && int64(len(p)) > b.limit-b.read {
		p = p[:b.limit-b.read+1] // one more byte tells that it is too large
	}
	start := time.Now()
	b.extend(start)
	n, err := b.src.Read(p)
	b.waited += time.Since(start)
	b.read += int64(n)
	switch {
	case b.limit > 0 && b.read > b.limit:
		n, b.err = 0, b.tooLarge()
	case err != nil:
		b.err = b.explain(err)
	default:
		b.err = b.checkRate()
	}
	return n, b.err
}

// checkRate refuses a client that sends too slowly. Only the time of waiting for
// it counts: it is not to blame while the array is slow and nobody reads.
func (b *body) checkRate() error {
	if b.waited < slowTime {
		return nil
	}
	if n := b.read - b.before; n < slowBytes {
		return Errorf(http.StatusRequestTimeout, "the body comes too slowly: %d bytes in %v, and %d is the least; nothing was stored",
			n, b.waited.Round(time.Second), slowBytes)
	}
	b.waited, b.before = 0, b.read
	return nil
}

// explain says what a failed read means. At the end of the body net/http lifts
// the deadline by itself, to notice a client that leaves.
func (b *body) explain(err error) error {
	var framing badFraming
	switch {
	case err == io.EOF: //nolint:errorlint // net/http returns it bare
		return io.EOF
	case errors.As(err, &framing):
		return BadRequest("%v; nothing was stored", framing)
	case errors.Is(err, os.ErrDeadlineExceeded) && b.late(time.Now()):
		return Errorf(http.StatusRequestTimeout, "%d bytes of the body came in %v, and it was not at its end", b.read, openTime)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Errorf(http.StatusRequestTimeout, "no byte of the body came for %v, %d bytes after its beginning; nothing was stored", b.stall, b.read)
	case errors.Is(err, io.ErrUnexpectedEOF) && b.length >= 0:
		return BadRequest("the body ended after %d of the %d bytes that Content-Length announced; nothing was stored", b.read, b.length)
	}
	return &Error{Status: http.StatusBadRequest, Message: "the body broke off; nothing was stored", Cause: err}
}

func (b *body) extend(now time.Time) {
	if now.Sub(b.extended) > b.stall/4 {
		b.extended = now
		end := now.Add(b.stall)
		if b.late(end) {
			end = b.until
		}
		_ = b.ctl.SetReadDeadline(end)
	}
}

// late tells whether all of the body must have come by then.
func (b *body) late(then time.Time) bool { return !b.until.IsZero() && !then.Before(b.until) }

// spent tells whether so much is left unread, or reading failed, that the
// connection is not worth keeping for another request.
func (b *body) spent() bool {
	if b.err != nil {
		return b.err != io.EOF //nolint:errorlint // our own, bare
	}
	return b.length < 0 || b.length-b.read > smallRest
}

// boundRest gives net/http a bounded time to read the short rest of a body, which it
// does before it writes the answer, so less than the answer has.
func (b *body) boundRest() {
	if b.err == nil {
		_ = b.ctl.SetReadDeadline(time.Now().Add(min(restTime, b.stall/2)))
	}
}

// skip reads a short body of a request that should have none, at
// once. net/http would do it in the middle of the answer, without a deadline.
func (b *body) skip() {
	if b.expect || b.spent() {
		return
	}
	b.boundRest()
	n, err := io.Copy(io.Discard, b.src)
	b.read += n
	if err == nil {
		err = io.EOF
	}
	b.err = b.explain(err)
}

// drain reads what a client still sends, for a bounded time, after the answer has been
// flushed. Many clients read only when they have written all, and see a
// reset connection instead of the answer when nobody takes their bytes. A client
// that waits for 100 Continue sends nothing.
func (b *body) drain() {
	if b.expect && b.read == 0 || b.ctl.SetReadDeadline(time.Now().Add(drainTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, b.src, drainBytes)
}
