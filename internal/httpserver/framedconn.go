package httpserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// framedListener hands out connections whose framing is checked.
type framedListener struct {
	net.Listener
	stall time.Duration
}

// Accept implements net.Listener.
func (l framedListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newFramedConn(nc, l.stall), nil
}

// framedConn is the connection that net/http serves, over TLS one whose handshake is
// done, that passes on only requests which all programs frame in the same way. In
// place of the first byte that is not right net/http gets what it answers with 400,
// and that answer gets our words.
//
// It also hides from net/http that a client has closed its side, while a request of
// it is answered and bytes move. It may wait for the answer (RFC 9112 section 9.6),
// and net/http would cancel the request.
type framedConn struct {
	net.Conn
	stall    time.Duration
	tls      *tls.ConnectionState // nil: without TLS
	peer     peerOnce
	framing  framing // read and written where Read runs
	fault    atomic.Pointer[string]
	rest     []byte       // of spoiled, not read yet
	answered atomic.Int64 // requests whose handler has returned
	finished atomic.Int64 // requests whose answer was sent whole, and whose connection stays
	written  atomic.Int64 // bytes

	mu       sync.Mutex
	deadline time.Time     // of reading
	moved    chan struct{} // has one when the deadline was moved, or the connection closed
	closed   bool
}

// spoiled makes any header one that net/http refuses.
var spoiled = []byte("\x00\r\n\r\n")

func newFramedConn(nc net.Conn, stall time.Duration) *framedConn {
	c := &framedConn{Conn: nc, stall: stall, moved: make(chan struct{}, 1)}
	if t, ok := nc.(*tls.Conn); ok {
		cs := t.ConnectionState()
		c.tls = &cs
	}
	return c
}

// badFraming is the error of a body that can't be told from what follows it.
type badFraming struct{ what string }

func (b badFraming) Error() string {
	return "programs differ in where this request ends, so it is refused: it has " + b.what
}

// Read implements net.Conn.
func (c *framedConn) Read(p []byte) (int, error) {
	if c.fault.Load() != nil {
		return c.readSpoiled(p)
	}
	n, err := c.Conn.Read(p)
	if err == io.EOF && n == 0 && len(p) > 0 { //nolint:errorlint // a connection's bare EOF
		n, err = c.awaitAnswer(p)
	}
	if n == 0 {
		return n, err
	}
	right, fault := c.framing.scan(p[:n])
	if fault == "" {
		return n, err
	}
	c.fault.Store(&fault)
	if c.framing.inBody() {
		return right, badFraming{fault}
	}
	c.rest = spoiled
	n, err = c.readSpoiled(p[right:])
	return right + n, err
}

// readSpoiled reads what stands in the place of a header that is not right.
func (c *framedConn) readSpoiled(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// awaitAnswer holds a client's end back until its request is answered, the answer
// stands still for as long as a connection may, or reading is to end.
func (c *framedConn) awaitAnswer(p []byte) (int, error) {
	if c.framing.state != beforeRequest || c.framing.asked <= c.answered.Load() {
		return 0, io.EOF
	}
	for last := c.written.Load(); ; {
		timer := time.NewTimer(c.stall)
		select {
		case <-c.moved:
		case <-timer.C:
			if now := c.written.Load(); now == last {
				return 0, io.EOF
			} else {
				last = now
			}
		}
		timer.Stop()
		c.mu.Lock()
		over, late := c.closed, !c.deadline.IsZero() && !time.Now().Before(c.deadline)
		c.mu.Unlock()
		switch {
		case over:
			return 0, net.ErrClosed
		case late:
			return 0, os.ErrDeadlineExceeded
		case c.framing.asked <= c.answered.Load():
			return 0, io.EOF
		}
		if n, err := c.Conn.Read(p); n > 0 || err != io.EOF { //nolint:errorlint // as above
			return n, err
		}
	}
}

// SetReadDeadline implements net.Conn.
func (c *framedConn) SetReadDeadline(t time.Time) error {
	c.noteMove(func() { c.deadline = t })
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline implements net.Conn.
func (c *framedConn) SetDeadline(t time.Time) error {
	c.noteMove(func() { c.deadline = t })
	return c.Conn.SetDeadline(t)
}

func (c *framedConn) noteMove(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	select {
	case c.moved <- struct{}{}:
	default:
	}
}

// Close implements net.Conn.
func (c *framedConn) Close() error {
	c.noteMove(func() { c.closed = true })
	return c.Conn.Close()
}

// cut closes it without a farewell; see the function cut.
func (c *framedConn) cut() {
	c.noteMove(func() { c.closed = true })
	cut(c.Conn)
}

// CloseWrite lets http.Server end an answer before the connection.
func (c *framedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// errorHeaders are in each answer that net/http gives by itself, and in none of ours.
const errorHeaders = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"

// Write implements net.Conn. net/http writes an error of its own at once, when the
// answers to all requests before were sent. What it writes earlier may be a file that
// looks like one.
func (c *framedConn) Write(p []byte) (int, error) {
	if fault := c.fault.Load(); fault != nil && c.finished.Load() == c.framing.asked && bytes.HasPrefix(p, []byte("HTTP/1.1 4")) && bytes.Contains(p, []byte(errorHeaders)) {
		_, err := c.Conn.Write(rawAnswer(http.StatusBadRequest, badFraming{*fault}.Error()+"; nothing was done"))
		return len(p), err
	}
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

// framedKey is the key of a request's connection in its context.
type framedKey struct{}

// connOf is the connection that a request came over, nil when this package does not
// serve it.
func connOf(r *http.Request) *framedConn {
	c, _ := r.Context().Value(framedKey{}).(*framedConn)
	return c
}

// withConn is http.Server.ConnContext.
func withConn(ctx context.Context, nc net.Conn) context.Context {
	if c, ok := nc.(*framedConn); ok {
		return context.WithValue(ctx, framedKey{}, c)
	}
	return ctx
}

// framedHandler tells connections of requests that have been answered, and requests of
// the TLS that lies below their connections.
func framedHandler(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c := connOf(r); c != nil {
			defer c.answered.Add(1)
			r.TLS = c.tls
		}
		h.ServeHTTP(w, r)
	})
}
