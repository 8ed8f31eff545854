package httpserver

import (
	"fmt"
	"io"
	"net/http"
	"sync"
)

// copyBuffers are for what can't be passed on without copying, and for the
// beginnings of answers.
var copyBuffers = sync.Pool{New: func() any { b := make([]byte, writePiece); return &b }}

// deferredWriter is the http.ResponseWriter that ServeContent writes a file to. It
// holds the header back until all of a small answer is there and verified, and of a
// larger one the beginning, writePiece bytes. So a read that fails before can still
// be answered with its own status, and an answer that begins is not empty. It takes
// the text of ServeContent's errors away.
type deferredWriter struct {
	x       *Exchange
	content *lazyReader
	least   int     // how many bytes must be there before the header is sent
	held    []byte  // these, while they are too few
	buffer  *[]byte // of copyBuffers, which held lies in
	asked   string  // the Range that was sent
	status  int     // that ServeContent chose, 0 before
	short   error   // why not all of the body was written
}

// Header implements http.ResponseWriter.
func (d *deferredWriter) Header() http.Header { return d.x.Header() }

// WriteHeader implements http.ResponseWriter.
func (d *deferredWriter) WriteHeader(status int) { d.status = status }

// Write takes the text of an error, which becomes JSON later.
func (d *deferredWriter) Write(p []byte) (int, error) { return len(p), nil }

// ReadFrom is where ServeContent's io.CopyN ends up: with the file itself, or
// with the pipe out of which several ranges come.
func (d *deferredWriter) ReadFrom(src io.Reader) (n int64, err error) {
	limited, ok := src.(*io.LimitedReader)
	if !ok {
		return 0, fmt.Errorf("copy a file: unexpected source %T", src)
	}
	want := limited.N
	d.least = int(min(want, writePiece))
	if limited.R == io.Reader(d.content) {
		n, err = d.content.writeN(sink{d}, want)
		d.release()
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

// copyRanges copies what comes out of the pipe of several ranges through a buffer,
// whose first filling waits until all is there that must be.
func (d *deferredWriter) copyRanges(src io.Reader) (written int64, err error) {
	buf := copyBuffers.Get().(*[]byte)
	defer copyBuffers.Put(buf)
	b := *buf
	n, err := io.ReadAtLeast(src, b, d.least)
	if err != nil {
		return 0, err
	}
	d.sendHeader()
	for {
		k, werr := d.x.Write(b[:n])
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
type sink struct{ d *deferredWriter }

// Write passes p on, which is not copied once the answer has begun, or if it is
// enough to begin it.
func (s sink) Write(p []byte) (n int, err error) {
	d := s.d
	if d.x.status == 0 && len(d.held)+len(p) < d.least {
		d.hold(p)
		return len(p), nil
	}
	d.sendHeader()
	if len(d.held) > 0 {
		_, err = d.x.Write(d.held)
		d.release()
		if err != nil {
			return 0, err
		}
	}
	return d.x.Write(p)
}

// hold keeps p, which comes before all that least asks for.
func (d *deferredWriter) hold(p []byte) {
	if d.buffer == nil {
		d.buffer = copyBuffers.Get().(*[]byte)
		d.held = (*d.buffer)[:0]
	}
	d.held = append(d.held, p...) // has room for least
}

// release forgets what was held.
func (d *deferredWriter) release() {
	if d.buffer != nil {
		copyBuffers.Put(d.buffer)
		d.buffer, d.held = nil, nil
	}
}

func (d *deferredWriter) sendHeader() {
	if d.x.status == 0 {
		d.x.WriteHeader(d.status)
	}
}

// finish ends the answer, or returns the error to answer with.
func (d *deferredWriter) finish() error {
	switch {
	case d.content.failed() != nil:
		return d.content.failed()
	case d.short != nil:
		return d.short
	case d.status >= 400:
		return refusal(d.status, d.asked, d.content.Size)
	}
	d.sendHeader()
	return nil
}
