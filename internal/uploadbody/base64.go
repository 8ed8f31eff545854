package uploadbody

import (
	"bytes"
	"encoding/base64"

	"github.com/raidpi/raidpi/internal/httpserver"
)

// strict is standard base64 (RFC 4648 section 4) with its padding, and with zero
// bits where padding leaves some over. It reads over line breaks by itself, which
// get here never.
var strict = base64.StdEncoding.Strict()

// decoder decodes base64 out of a JSON string as it is scanned. Line breaks between its characters
// are read over. Ruby's and Java's encoders write them (RFC 2045 section 6.8). So does base64(1),
// whose output a shell may put into JSON as it is, though a line break must be an escape there.
type decoder struct {
	quad  [4]byte // characters that don't make a whole group yet
	n     int     // of quad
	out   [3]byte // decoded bytes that found no room
	left  int     // of out, at its end
	ended bool    // by padding
	lines bool    // there was a line break: more will follow
}

// lineLength is the size of what is looked at together where there are line breaks, in bytes:
// some more than the 76 of a line.
const lineLength = 128

// decode fills p from the string that s is in, as far as one look into the
// window goes. ended tells that the closing quote was taken; then n is 0.
func (d *decoder) decode(s *scanner, p []byte) (n int, ended bool, err error) {
	if d.left > 0 {
		n = copy(p, d.out[3-d.left:])
		d.left -= n
		return n, false, nil
	}
	c, err := s.peek()
	switch {
	case err != nil:
		return 0, false, err
	case c == '"':
		s.r++
		return 0, true, d.close(s)
	case c == '\\':
		return d.escaped(s, p)
	case c == '\n' || c == '\r':
		d.lines = true
		s.r++
		return 0, false, nil
	}
	// No more of the window than p takes, or a small p would scan all of it each time;
	// and no more than a line, or so would each of them.
	most := len(p)/3*4 + 4
	if d.lines {
		most = min(most, lineLength)
	}
	run := s.buf[s.r:min(s.w, s.r+most)]
	for _, end := range [...]byte{'"', '\\'} {
		if i := bytes.IndexByte(run, end); i >= 0 {
			run = run[:i]
		}
	}
	if d.n == 0 && len(p) >= 3 && len(run) >= 4 {
		whole := run[:min(len(run)/4, len(p)/3)*4]
		if d.lines { // else groups notices the first one
			whole = unbroken(whole)
			whole = whole[:len(whole)/4*4]
		}
		if len(whole) > 0 {
			return d.groups(s, p, whole)
		}
	}
	k := copy(d.quad[d.n:], unbroken(run[:min(len(run), 4)]))
	d.n += k
	s.r += k
	return d.group(s, p)
}

// unbroken returns the bytes before a line break.
func unbroken(run []byte) []byte {
	if i := bytes.IndexByte(run, '\n'); i >= 0 {
		run = run[:i]
	}
	if i := bytes.IndexByte(run, '\r'); i >= 0 {
		run = run[:i]
	}
	return run
}

// escaped takes one character that was written as an escape, such as \/.
func (d *decoder) escaped(s *scanner, p []byte) (int, bool, error) {
	s.r++
	r, err := s.escape()
	if err != nil {
		return 0, false, err
	}
	if r == '\n' || r == '\r' {
		d.lines = true
		return 0, false, nil
	}
	if r > '~' {
		return 0, false, d.wrong(s.off + int64(s.r))
	}
	d.quad[d.n] = byte(r)
	d.n++
	return d.group(s, p)
}

// group decodes quad when it is full.
func (d *decoder) group(s *scanner, p []byte) (int, bool, error) {
	if d.n < 4 {
		return 0, false, nil
	}
	d.n = 0
	var out [3]byte
	n, err := d.bytes(out[:], d.quad[:], s.off+int64(s.r))
	if err != nil {
		return 0, false, err
	}
	k := copy(p, out[:n])
	d.left = copy(d.out[3-(n-k):], out[k:n])
	return k, false, nil
}

// groups decodes whole groups from the window into p.
func (d *decoder) groups(s *scanner, p, run []byte) (int, bool, error) {
	n, err := d.bytes(p, run, s.off+int64(s.r))
	if err != nil && !d.lines && len(unbroken(run)) < len(run) {
		d.lines = true
		return 0, false, nil // and once more
	}
	s.r += len(run)
	return n, false, err
}

// bytes decodes whole groups that lie at the given offset of the body, or end
// there when they were put together from escapes.
func (d *decoder) bytes(dst, src []byte, at int64) (int, error) {
	if d.ended {
		return 0, httpserver.BadRequest("contents_b64 is not standard base64: there is more behind its padding, near byte %d of the body", at)
	}
	n, err := strict.Decode(dst, src)
	if at2, ok := err.(base64.CorruptInputError); ok { //nolint:errorlint // Decode returns it bare
		return 0, d.wrong(at + int64(at2))
	}
	padding := len(src) - len(bytes.TrimRight(src, "="))
	if n != len(src)/4*3-padding { // a line break was read over
		return 0, d.wrong(at)
	}
	d.ended = padding > 0
	return n, nil
}

func (d *decoder) wrong(at int64) error {
	return httpserver.BadRequest("contents_b64 is not standard base64 (RFC 4648 section 4, with padding): a wrong character near byte %d of the body", at)
}

// close is called at the closing quote.
func (d *decoder) close(s *scanner) error {
	if d.n != 0 {
		return httpserver.BadRequest("contents_b64 is not standard base64: its length is not a multiple of 4, it ends at byte %d of the body", s.off+int64(s.r)-1)
	}
	return nil
}
