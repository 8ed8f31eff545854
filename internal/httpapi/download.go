package httpapi

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/raidpi/raidpi/internal/raid"
)

// What browsers may do with a file: nothing that a script of this origin could
// (an uploaded page must not act as the controller). A sandbox has an origin of its
// own, to which the browser's player would be refused its own video; so what can't
// run script has none. PDF viewers bear no policy at all, and run no script of the
// page's origin.
const onlyOwn = "default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'"

var (
	sandbox  = []string{"sandbox; " + onlyOwn}
	quiet    = []string{onlyOwn + "; frame-ancestors 'none'"}
	noCache  = []string{"private, no-cache"}
	byteUnit = []string{"bytes"}
)

// download serves GET and HEAD of a file's bytes.
func (a *API) download(x *exchange) error {
	id, err := parseID(x.id)
	if err != nil {
		return err
	}
	q, err := parseQuery(x.r)
	if err != nil {
		return err
	}
	_, attach := q["download"]
	f, err := a.cfg.Index.File(x.r.Context(), id)
	if err != nil {
		return err
	}
	asked := x.r.Header.Get("Range")
	tidyRange(x.r, f.Size, etagOf(f.SHA256))
	describe(x.Header(), &f, attach)
	c := newContent(x.r.Context(), a, f, callerOf(x))
	defer c.close()
	d := &deferredWriter{x: x, content: c, asked: asked}
	http.ServeContent(d, x.r, "", lastModified(&f), c)
	c.close()
	return d.finish()
}

// describe sets the header of a file's answer.
func describe(h http.Header, f *raid.File, attach bool) {
	h["Content-Type"] = []string{f.ContentType}
	h["Etag"] = []string{etagOf(f.SHA256)}
	h[reprDigest] = []string{formatDigest(f.SHA256)}
	h["Cache-Control"] = noCache
	h["Accept-Ranges"] = byteUnit
	kind := "inline"
	switch handlingOf(f.ContentType) {
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
	if attach {
		kind = "attachment"
	}
	if d := disposition(kind, f.Filename); kind == "attachment" || len(d) <= maxInline {
		h["Content-Disposition"] = []string{d}
	}
}

// parseID reads the {id} of a path. What can't be an id names no file.
func parseID(s string) (raid.FileID, error) {
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id <= 0 || s[0] == '+' {
		return 0, fail(http.StatusNotFound, "there is no file %q: ids are whole numbers from 1 to 9223372036854775807", clip(s))
	}
	return raid.FileID(id), nil
}

// refusal is what ServeContent decided without sending a byte, in our words.
func refusal(status int, asked string, size int64) error {
	switch status {
	case http.StatusRequestedRangeNotSatisfiable:
		return &failure{
			status: status,
			message: fmt.Sprintf("Range %q does not fit a file of %d bytes; at most %d ranges can be asked for at once, in one Range header",
				clip(asked), size, maxRanges),
			header: http.Header{"Content-Range": {fmt.Sprintf("bytes */%d", size)}},
		}
	case http.StatusPreconditionFailed:
		return fail(status, "the file is not the one that If-Match, If-None-Match or If-Unmodified-Since names")
	}
	return fail(http.StatusInternalServerError, "the file can't be served")
}
