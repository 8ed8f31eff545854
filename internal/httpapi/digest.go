package httpapi

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"net/textproto"
	"strings"
)

// The digest fields of RFC 9530. Of a file they say the same, since files are
// sent without content coding.
const (
	reprDigest    = "Repr-Digest"
	contentDigest = "Content-Digest"
)

var digestFields = []string{reprDigest, contentDigest}

// sha256Of reads the SHA-256 out of the digest fields of a header, or of a
// trailer; nil when there is none. Other algorithms are left alone, as RFC 9530
// section 2 wants it.
func sha256Of(h http.Header) (*[32]byte, error) {
	var found *[32]byte
	for _, field := range digestFields {
		for _, value := range h[field] {
			for _, member := range strings.Split(value, ",") {
				d, err := parseDigest(field, member)
				if err != nil {
					return nil, err
				}
				if d != nil && found != nil && *d != *found {
					return nil, badRequest("%s and %s name different SHA-256 digests", reprDigest, contentDigest)
				}
				if d != nil {
					found = d
				}
			}
		}
	}
	return found, nil
}

// parseDigest reads one member of the dictionary (RFC 8941): sha-256=:base64:
func parseDigest(field, member string) (*[32]byte, error) {
	name, value, _ := strings.Cut(textproto.TrimString(member), "=")
	if !strings.EqualFold(name, "sha-256") {
		return nil, nil
	}
	value, _, _ = strings.Cut(value, ";") // parameters mean nothing here
	value = textproto.TrimString(value)
	if len(value) == base64.StdEncoding.EncodedLen(sha256.Size)+2 && value[0] == ':' && value[len(value)-1] == ':' {
		if b, err := base64.StdEncoding.DecodeString(value[1 : len(value)-1]); err == nil && len(b) == sha256.Size {
			return (*[32]byte)(b), nil
		}
	}
	return nil, badRequest("%s has no SHA-256 of the form sha-256=:base64 of 32 bytes:", field)
}

// formatDigest writes a digest as a field's value.
func formatDigest(sum [32]byte) string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// announcesDigest tells whether a trailer with a digest will follow the body.
func announcesDigest(r *http.Request) bool {
	for _, field := range digestFields {
		if _, ok := r.Trailer[field]; ok {
			return true
		}
	}
	return false
}

// checkedFile reads the file out of a JSON or form upload and, at its EOF,
// compares the digest that the client sent. RFC 9530 means the digest of the body
// as it is sent; people mean that of the file in it. Either proves that nothing
// was damaged on the way, so either is taken.
func checkedFile(x *exchange, file io.Reader) (io.Reader, error) {
	want, err := sha256Of(x.r.Header)
	if err != nil || want == nil && !announcesDigest(x.r) {
		return file, err
	}
	x.body.sum = sha256.New()
	inner := sha256.New()
	return &atEOF{src: io.TeeReader(file, inner), check: func() error {
		for _, h := range []http.Header{x.r.Header, x.r.Trailer} {
			want, err := sha256Of(h)
			if err != nil {
				return err
			}
			if body, f := [32]byte(x.body.sum.Sum(nil)), [32]byte(inner.Sum(nil)); want != nil && *want != body && *want != f {
				return badRequest("the digest that was sent, %s, is neither that of the body, %s, nor that of the file in it, %s; nothing was stored",
					formatDigest(*want), formatDigest(body), formatDigest(f))
			}
		}
		return nil
	}}, nil
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

// etagOf is a file's strong validator: its contents' SHA-256.
func etagOf(sum [32]byte) string { return `"` + hex.EncodeToString(sum[:]) + `"` }
