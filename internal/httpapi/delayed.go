package httpapi

import (
	"fmt"
	"io"
	"net/http"
	"sync"
)

// copyBuffers are for what can't be passed on without copying.
var copyBuffers = sync.Pool{New: func() any { b := make([]byte, writePiece); return &b }}

// delayed is the http.ResponseWriter that ServeContent writes a file to. It
// holds the header back until the first verified bytes are there, so that a read
// that fails before can still be answered with its own status, and takes the
// text of ServeContent's errors away.
type delayed struct {
	x       *exchange
	content *content
	asked   string // the Range that was sent
	status  int    // that ServeContent chose, 0 before
	short   error  // why not all of the body was written
}

// Header implements http.ResponseWriter.
func (d *delayed) Header() http.Header { return d.x.Header() }

// WriteHeader implements http.ResponseWriter.
func (d *delayed) WriteHeader(status int) { d.status = status }

// Write takes the text of an error, which becomes JSON later.
func (d *delayed) Write(p []byte) (int, error) { return len(p), nil }

// ReadFrom is where ServeContent's io.CopyN ends up: with the file itself, or
// with the pipe out of which several ranges come.
func (d *delayed) ReadFrom(src io.Reader) (n int64, err error) {
	limited, ok := src.(*io.LimitedReader)
	if !ok {
		return 0, fmt.Errorf("copy a file: unexpected source %T", src)
	}
	want := limited.N
	if limited.R == io.Reader(d.content) {
		n, err = d.content.writeN(sink{d}, want)
	} else {
		n, err = d.copyRanges(limited)
	}
	limited.N = want - n
	if err == nil && n < want {
		err = io.ErrUnexpectedEOF
	}
	d.short = err
	return n, err
}

// copyRanges copies what comes out of a pipe, which begins with the first
// range's header: that too waits for the first verified bytes.
func (d *delayed) copyRanges(src io.Reader) (written int64, err error) {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	b, n := *buf, 0
	for err == nil && n < len(b) && !d.content.verified.Load() {
		var k int
		k, err = src.Read(b[n:])
		n += k
	}
	if !d.content.verified.Load() {
		return 0, err
	}
	for {
		k, werr := sink{d}.Write(b[:n])
		written += int64(k)
		switch {
		case werr != nil:
			return written, werr
		case err == io.EOF: //nolint:errorlint // a pipe's bare EOF
			return written, nil
		case err != nil:
			return written, err
		}
		n, err = src.Read(b)
	}
}

// sink is where verified bytes go. It is no io.ReaderFrom, which a reader's
// WriteTo might look for and come back here.
type sink struct{ d *delayed }

func (s sink) Write(p []byte) (int, error) {
	s.d.sendHeader()
	return s.d.x.Write(p)
}

func (d *delayed) sendHeader() {
	if d.x.status == 0 {
		d.x.WriteHeader(d.status)
	}
}

// finish ends the answer, or returns the error to answer with.
func (d *delayed) finish() error {
	switch {
	case d.content.failed() != nil:
		return d.content.failed()
	case d.short != nil:
		return d.short
	case d.status >= 400:
		return refusal(d.status, d.asked, d.content.file.Size)
	}
	d.sendHeader()
	return nil
}
