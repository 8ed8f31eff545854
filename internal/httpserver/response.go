package httpserver

import (
	"net/http"
	"time"
)

// writePiece is the size of what is written under one deadline, in bytes.
// At the default of 30 s per piece a client needs 9 kB/s to stay connected.
const writePiece = 256 << 10

// response counts what is sent and moves the connection's write deadline along
// with the progress, so that a transfer may take hours but not stand still.
type response struct {
	w        http.ResponseWriter
	ctl      *http.ResponseController
	stall    time.Duration
	extended time.Time // when the write deadline was last moved
	status   int       // 0 before the header
	sent     int64     // bytes of body
	failed   error     // the first write that failed: the client is gone or stands still
}

// Header implements http.ResponseWriter.
func (r *response) Header() http.Header { return r.w.Header() }

// Unwrap lets http.ResponseController through.
func (r *response) Unwrap() http.ResponseWriter { return r.w }

// WriteHeader implements http.ResponseWriter.
func (r *response) WriteHeader(status int) {
	if r.status != 0 {
		return
	}
	r.status = status
	r.extend()
	r.w.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (r *response) Write(p []byte) (n int, err error) {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	for {
		if r.failed != nil {
			return n, r.failed
		}
		r.extend()
		k, err := r.w.Write(p[n:min(n+writePiece, len(p))])
		n += k
		r.sent += int64(k)
		if err != nil {
			r.failed = err
			return n, err
		}
		if n == len(p) {
			return n, nil
		}
	}
}

// extend moves the write deadline, at most every quarter of the time that it
// allows. A writer without deadlines (a test's recorder) does without.
func (r *response) extend() {
	if now := time.Now(); now.Sub(r.extended) > r.stall/4 {
		r.extended = now
		_ = r.ctl.SetWriteDeadline(now.Add(r.stall))
	}
}

// Flush sends what is buffered.
func (r *response) Flush() {
	r.extend()
	if err := r.ctl.Flush(); err != nil && r.failed == nil {
		r.failed = err
	}
}

// Status is the one that was sent, 0 before the header.
func (r *response) Status() int { return r.status }

// Sent counts the bytes of the body that were written.
func (r *response) Sent() int64 { return r.sent }

// Failed is the error of the first write that failed: the client is gone or stands still.
func (r *response) Failed() error { return r.failed }
