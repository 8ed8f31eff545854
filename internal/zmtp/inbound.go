package zmtp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

const (
	handshakeBuffer = 512
	readBuffer      = 16 << 10

	// rearmEvery spares most reads of a fast message the setting of a deadline.
	rearmEvery = 250 * time.Millisecond
)

// inbound is the incoming half of a connection. It has a small buffer that headers, commands and
// small frames are read through and large bodies past. One goroutine reads; heard may be asked by
// any.
type inbound struct {
	nc       net.Conn
	source   func([]byte) (int, error) // network, or TLS that reads from it
	progress time.Duration             // Config.ProgressTimeout
	buf      []byte
	r, w     int // buf[r:w] has been read and not yet used

	start  time.Time
	last   atomic.Int64 // when the last byte came, as time since start
	paused atomic.Bool  // nobody reads, for a reason that is ours

	// begun is the beginning of the present message, by the same clock. It is -1 outside of
	// messages, where a peer may be silent. size is the length that the message has announced.
	begun time.Duration
	size  int64
	// armed is the time at which the read deadline was set last; -1 when there is none.
	armed time.Duration
}

func newInbound(nc net.Conn, progress time.Duration) *inbound {
	in := &inbound{nc: nc, progress: progress, buf: make([]byte, handshakeBuffer), start: time.Now(), begun: -1, armed: -1}
	in.source = in.network
	return in
}

// heard is the time of the last byte.
func (in *inbound) heard() time.Time {
	if in.paused.Load() {
		return time.Now()
	}
	return in.start.Add(time.Duration(in.last.Load()))
}

// pause runs f, which may take long without the peer being to blame.
func (in *inbound) pause(f func()) {
	before := time.Since(in.start)
	in.paused.Store(true)
	f()
	now := time.Since(in.start)
	in.last.Store(int64(now))
	in.paused.Store(false)
	in.begun += now - before
	in.armed = min(in.armed, 0)
}

// begin and end mark the borders of a message. Between them the peer has to
// make progress.
func (in *inbound) begin() { in.begun, in.size = time.Since(in.start), 0 }
func (in *inbound) end()   { in.begun = -1 }

// announce gives the message the time for n more bytes.
func (in *inbound) announce(n int64) {
	in.size += n
	in.armed = min(in.armed, 0)
}

// network reads once from the network into p. Below TLS, bytes count as a sign of life only in the
// middle of a message, where the peer has to make progress. Elsewhere they might be a record that
// never becomes whole.
func (in *inbound) network(p []byte) (int, error) {
	if err := in.setDeadline(); err != nil {
		return 0, err
	}
	n, err := in.nc.Read(p)
	if n > 0 && in.begun >= 0 {
		in.last.Store(int64(time.Since(in.start)))
	}
	return n, err
}

// read reads once into p, past the buffer.
func (in *inbound) read(p []byte) (int, error) {
	n, err := in.source(p)
	if n > 0 {
		in.last.Store(int64(time.Since(in.start)))
		return n, nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	if in.begun >= 0 {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if isTimeout(err) {
			err = fmt.Errorf("%w in the middle of a message: %w", ErrSilent, err)
		}
	}
	return 0, err
}

// setDeadline arms the read deadline inside messages and disarms it outside.
func (in *inbound) setDeadline() error {
	if in.begun < 0 {
		if in.armed < 0 {
			return nil
		}
		in.armed = -1
		return in.nc.SetReadDeadline(time.Time{})
	}
	now := time.Since(in.start)
	if in.armed > 0 && in.armed > in.begun && now-in.armed < min(rearmEvery, in.progress/4) {
		return nil
	}
	end := in.begun + in.progress + time.Duration(in.size)*(time.Second/readRate)
	if now >= end {
		return fmt.Errorf("%w: %d bytes of a message took more than %v", ErrSilent, in.size, (now - in.begun).Round(time.Second))
	}
	in.armed = max(now, 1)
	return in.nc.SetReadDeadline(in.start.Add(min(end, now+in.progress)))
}

// fill makes at least n bytes of buffer available, n being bounded by the
// caller. The buffer grows to n if it must.
func (in *inbound) fill(n int) error {
	if in.w-in.r >= n {
		return nil
	}
	if in.r > 0 && (in.r == in.w || in.r+n > len(in.buf)) {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
	if n > len(in.buf) {
		in.resize(n)
	}
	for in.w-in.r < n {
		got, err := in.read(in.buf[in.w:])
		if err != nil {
			if err == io.EOF && in.w > in.r {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		in.w += got
	}
	return nil
}

// resize replaces the buffer by one of n bytes, n >= what is in it.
func (in *inbound) resize(n int) {
	buf := make([]byte, n)
	in.w = copy(buf, in.buf[in.r:in.w])
	in.r, in.buf = 0, buf
}

// next takes n buffered bytes, which are valid until the next read.
func (in *inbound) next(n int) []byte {
	b := in.buf[in.r : in.r+n]
	in.r += n
	return b
}

// readFull fills p, what is left in the buffer first.
func (in *inbound) readFull(p []byte) error {
	n := copy(p, in.buf[in.r:in.w])
	in.r += n
	for n < len(p) {
		got, err := in.read(p[n:])
		if err != nil {
			return err
		}
		n += got
	}
	return nil
}

// discard reads n bytes and forgets them.
func (in *inbound) discard(n int64) error {
	for n > 0 {
		if in.r == in.w {
			if err := in.fill(1); err != nil {
				return err
			}
		}
		k := int(min(n, int64(in.w-in.r)))
		in.r += k
		n -= int64(k)
	}
	return nil
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
