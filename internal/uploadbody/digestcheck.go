package uploadbody

import (
	"crypto/sha256"
	"hash"
	"io"
	"net/http"

	"github.com/raidpi/raidpi/internal/httpserver"
)

// digestCheck compares the digest that a client sends with JSON or a form. RFC 9530
// means the digest of the body as it is sent; people mean that of the file in it. Either
// proves that nothing was damaged on the way, so either is taken. nil: none is sent.
type digestCheck struct {
	r            *http.Request
	sent, inside hash.Hash // of the body, and of the file in it
}

func newDigestCheck(r *http.Request) (*digestCheck, error) {
	want, err := httpserver.SHA256Of(r.Header)
	if err != nil || want == nil && !announcesDigest(r) {
		return nil, err
	}
	return &digestCheck{r, sha256.New(), sha256.New()}, nil
}

// announcesDigest tells whether a trailer with a digest will follow the body.
func announcesDigest(r *http.Request) bool {
	for _, field := range []string{httpserver.ReprDigest, httpserver.ContentDigest} {
		if _, ok := r.Trailer[field]; ok {
			return true
		}
	}
	return false
}

// body is the body that the file is to be read out of.
func (c *digestCheck) body(body io.Reader) io.Reader {
	if c == nil {
		return body
	}
	return io.TeeReader(body, c.sent)
}

// file is the file, whose EOF comes when the digest is right.
func (c *digestCheck) file(file io.Reader) io.Reader {
	if c == nil {
		return file
	}
	return &atEOF{src: io.TeeReader(file, c.inside), check: c.compare}
}

func (c *digestCheck) compare() error {
	for _, h := range []http.Header{c.r.Header, c.r.Trailer} {
		want, err := httpserver.SHA256Of(h)
		if err != nil {
			return err
		}
		if body, f := [32]byte(c.sent.Sum(nil)), [32]byte(c.inside.Sum(nil)); want != nil && *want != body && *want != f {
			return httpserver.BadRequest("the digest that was sent, %s, is neither that of the body, %s, nor that of the file in it, %s; nothing was stored",
				httpserver.FormatDigest(*want), httpserver.FormatDigest(body), httpserver.FormatDigest(f))
		}
	}
	return nil
}

// atEOF puts a check before a reader's EOF. Its result is sticky.
type atEOF struct {
	src   io.Reader
	check func() error
	err   error
}

func (a *atEOF) Read(p []byte) (n int, err error) {
	if a.err != nil {
		return 0, a.err
	}
	n, a.err = a.src.Read(p)
	if a.err == io.EOF { //nolint:errorlint // a body's bare EOF
		if err := a.check(); err != nil {
			a.err = err
		}
	}
	return n, a.err
}
