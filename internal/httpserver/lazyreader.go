package httpserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
)

// lazyReader is a file as http.ServeContent wants it. Seeking costs nothing; the file is
// entered and opened when the first byte is wanted.
//
// For several ranges ServeContent reads in a goroutine of its own, which may
// outlive it by one read; hence the lock, and close, which waits.
type lazyReader struct {
	Content
	ctx    context.Context // of the reader
	cancel context.CancelFunc

	mu      sync.Mutex
	reader  io.ReadSeekCloser
	release func() // gives the place back; nil: none is taken
	at      int64  // where reader is
	pos     int64  // where ServeContent thinks it is
	err     error  // the first read that failed
	closed  bool
}

var errClosed = errors.New("the answer is over")

func newLazyReader(ctx context.Context, of Content) *lazyReader {
	c := &lazyReader{Content: of}
	c.ctx, c.cancel = context.WithCancel(ctx)
	return c
}

// Seek implements io.Seeker.
func (c *lazyReader) Seek(offset int64, whence int) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += c.pos
	case io.SeekEnd:
		offset += c.Size
	}
	c.pos = offset
	return offset, nil
}

// Read implements io.Reader. In ServeContent's goroutine nobody would catch a
// panic, and the daemon would end.
func (c *lazyReader) Read(p []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer func() {
		if v := recover(); v != nil {
			n, err = 0, fmt.Errorf("panic while reading: %v", v)
			c.err = err
		}
	}()
	if err := c.ready(); err != nil {
		return 0, err
	}
	n, err = c.reader.Read(p)
	c.moved(int64(n), err)
	return n, err
}

// writeN writes the next n bytes to w, by the shortest way that the reader has.
func (c *lazyReader) writeN(w io.Writer, n int64) (written int64, err error) {
	if n == 0 {
		return 0, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.ready(); err != nil {
		return 0, err
	}
	direct, isDirect := c.reader.(interface {
		WriteN(io.Writer, int64) (int64, error)
	})
	toEnd, isToEnd := c.reader.(io.WriterTo)
	switch {
	case isDirect:
		written, err = direct.WriteN(w, n)
	case isToEnd && c.pos+n == c.Size:
		written, err = toEnd.WriteTo(w)
	default:
		buf := copyBuffers.Get().(*[]byte)
		defer copyBuffers.Put(buf)
		written, err = io.CopyBuffer(w, io.LimitReader(c.reader, n), *buf)
	}
	c.moved(written, err)
	return written, err
}

// ready opens the file and goes to where the next bytes are.
func (c *lazyReader) ready() (err error) {
	if c.closed {
		return errClosed
	}
	if c.err != nil {
		return c.err
	}
	if c.reader == nil {
		if err := c.open(); err != nil {
			c.err = err
			return err
		}
	}
	if c.at != c.pos {
		if _, err := c.reader.Seek(c.pos, io.SeekStart); err != nil {
			c.err = err
			return err
		}
		c.at = c.pos
	}
	return nil
}

func (c *lazyReader) open() error {
	release, err := c.Enter(c.ctx)
	if err != nil {
		return err
	}
	c.release = release // by close, whatever comes of Open
	r, err := c.Open(c.ctx)
	if err != nil {
		return err
	}
	c.reader = r
	return nil
}

func (c *lazyReader) moved(n int64, err error) {
	c.at += n
	c.pos = c.at
	if err != nil && err != io.EOF { //nolint:errorlint // a reader's bare EOF
		c.err = err
	}
}

// failed is why reading failed, or nil.
func (c *lazyReader) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// close ends a read that is under way and gives everything back.
func (c *lazyReader) close() {
	c.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.release != nil {
		defer c.release()
		c.release = nil
	}
	if c.reader != nil {
		_ = c.reader.Close() // verified bytes were sent already; nothing is left to lose
		c.reader = nil
	}
}
