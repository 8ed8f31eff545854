package memnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Pipe returns the two ends of a connection between addresses a and b that
// buffers up to buffer bytes in each direction.
func Pipe(a, b Addr, buffer int) (*Conn, *Conn) {
	ab, ba := newStream(buffer), newStream(buffer)
	return &Conn{in: ba, out: ab, local: a, remote: b}, &Conn{in: ab, out: ba, local: b, remote: a}
}

// Conn is one end of a connection. It is a net.Conn that can also end one
// direction, as *net.TCPConn can.
type Conn struct {
	in, out       *stream
	local, remote Addr
}

// Read reads what the other end wrote; io.EOF after its Close or CloseWrite.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.wrap("read", err)
}

// Write waits while the buffer is full.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.wrap("write", err)
}

// CloseWrite lets the other end read to the end of what was written.
func (c *Conn) CloseWrite() error {
	c.out.closeWriter()
	return nil
}

// Close ends both directions. What was written can still be read by the other
// end, whose writes fail from now on.
func (c *Conn) Close() error {
	c.out.closeWriter()
	c.in.closeReader()
	return nil
}

// LocalAddr is this end's address.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is the other end's address.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline ends present and later reads at t; never if t is zero.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.wrap("set", c.in.setDeadline(&c.in.reading, t))
}

// SetWriteDeadline ends present and later writes at t; never if t is zero.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.wrap("set", c.out.setDeadline(&c.out.writing, t))
}

func (c *Conn) wrap(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: network, Source: c.local, Addr: c.remote, Err: err}
}

// stream is one direction. All waiting is on cond, which a deadline's timer
// wakes too.
type stream struct {
	mu   sync.Mutex
	cond *sync.Cond
	ring []byte
	r, n int // ring[r:r+n], wrapped around, has been written and not yet read

	reading, writing deadline
}

type deadline struct {
	at     time.Time
	timer  *time.Timer
	closed bool // by its own end
}

func newStream(buffer int) *stream {
	s := &stream{ring: make([]byte, buffer)}
	s.cond = sync.NewCond(&s.mu)
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.reading.closed:
			return 0, net.ErrClosed
		case s.reading.over():
			return 0, os.ErrDeadlineExceeded
		case s.n > 0 || len(p) == 0:
			return s.take(p), nil
		case s.writing.closed:
			return 0, io.EOF
		}
		s.cond.Wait()
	}
}

func (s *stream) take(p []byte) int {
	total := 0
	for len(p) > 0 && s.n > 0 {
		k := copy(p, s.ring[s.r:min(s.r+s.n, len(s.ring))])
		s.r, s.n = (s.r+k)%len(s.ring), s.n-k
		p = p[k:]
		total += k
	}
	s.cond.Broadcast()
	return total
}

func (s *stream) write(p []byte) (total int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.writing.closed:
			return total, net.ErrClosed
		case s.writing.over():
			return total, os.ErrDeadlineExceeded
		case s.reading.closed:
			return total, syscall.ECONNRESET
		case len(p) == 0:
			return total, nil
		case s.n < len(s.ring):
			k := s.put(p)
			total, p = total+k, p[k:]
			continue
		}
		s.cond.Wait()
	}
}

func (s *stream) put(p []byte) int {
	from := (s.r + s.n) % len(s.ring)
	to := min(from+len(s.ring)-s.n, len(s.ring))
	k := copy(s.ring[from:to], p)
	s.n += k
	s.cond.Broadcast()
	return k
}

func (s *stream) closeWriter() { s.close(&s.writing) }
func (s *stream) closeReader() { s.close(&s.reading) }

func (s *stream) close(d *deadline) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.closed = true
	d.stop()
	s.cond.Broadcast()
}

func (s *stream) setDeadline(d *deadline, t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.closed {
		return net.ErrClosed
	}
	d.stop()
	d.at = t
	if !t.IsZero() {
		d.timer = time.AfterFunc(time.Until(t), func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.cond.Broadcast()
		})
	}
	s.cond.Broadcast()
	return nil
}

func (d *deadline) over() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
