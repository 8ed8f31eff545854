package httpserver

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// What browsers may do with a file: nothing that a script of this origin could
// (an uploaded page must not act as the controller). A sandbox has an origin of its
// own, to which the browser's player would be refused its own video. So what can't
// run script has none. PDF viewers bear no policy at all, and run no script of the
// page's origin.
const onlyOwn = "default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'"

var (
	sandbox  = []string{"sandbox; " + onlyOwn}
	quiet    = []string{onlyOwn + "; frame-ancestors 'none'"}
	noCache  = []string{"private, no-cache"}
	byteUnit = []string{"bytes"}
)

// Content is a file as it is served.
type Content struct {
	Name     string
	Type     string // as its uploader said
	Size     int64
	SHA256   [32]byte
	Modified time.Time // the zero time: nothing is said of it
	Attach   bool      // browsers are to save it

	// Enter waits until the file may be read, if it has to be. release is called when it
	// was.
	Enter func(context.Context) (release func(), err error)
	// Open is called then. The reader may also have WriteN(io.Writer, int64) (int64,
	// error) or WriteTo, which serve without a copy.
	Open func(context.Context) (io.ReadSeekCloser, error)
}

// ServeContent answers GET or HEAD with a file, with ranges of it, or as the request's
// conditions want it. Nothing is entered or opened for HEAD, 304, 412 and 416. An error
// after the header, which waits for 256 KiB or all, is one to break the connection off for.
func (x *Exchange) ServeContent(c Content) error {
	asked := x.Request.Header.Get("Range")
	tidyRange(x.Request, c.Size, ETag(c.SHA256))
	c.describe(x.Header())
	r := newLazyReader(x.Context(), c)
	defer r.close()
	d := &deferredWriter{x: x, content: r, asked: asked}
	http.ServeContent(d, x.Request, "", c.Modified, r)
	r.close()
	return d.finish()
}

// describe sets the header of a file's answer.
func (c *Content) describe(h http.Header) {
	h["Content-Type"] = []string{c.Type}
	h["Etag"] = []string{ETag(c.SHA256)}
	h[ReprDigest] = []string{FormatDigest(c.SHA256)}
	h["Cache-Control"] = noCache
	h["Accept-Ranges"] = byteUnit
	kind := "inline"
	switch handlingOf(c.Type) {
	case attached:
		kind = "attachment"
		h["Content-Security-Policy"] = sandbox
	case sandboxed:
		h["Content-Security-Policy"] = sandbox
	case passive:
		h["Content-Security-Policy"] = quiet
	case plugged:
		delete(h, "Content-Security-Policy")
	}
	if c.Attach {
		kind = "attachment"
	}
	if d := disposition(kind, c.Name); kind == "attachment" || len(d) <= maxInline {
		h["Content-Disposition"] = []string{d}
	}
}

// refusal is the decision of ServeContent without sending a byte, in our words.
func refusal(status int, asked string, size int64) error {
	switch status {
	case http.StatusRequestedRangeNotSatisfiable:
		return &Error{
			Status: status,
			Message: fmt.Sprintf("Range %q does not fit a file of %d bytes; at most %d ranges can be asked for at once, in one Range header",
				Clip(asked), size, maxRanges),
			Header: http.Header{"Content-Range": {fmt.Sprintf("bytes */%d", size)}},
		}
	case http.StatusPreconditionFailed:
		return Errorf(status, "the file is not the one that If-Match, If-None-Match or If-Unmodified-Since names")
	}
	return Errorf(http.StatusInternalServerError, "the file can't be served")
}
