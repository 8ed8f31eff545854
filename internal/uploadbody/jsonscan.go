package uploadbody

import (
	"bytes"
	"io"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/raidpi/raidpi/internal/httpserver"
)

const (
	// scanWindow is the part of a JSON body that is looked at together, in bytes.
	scanWindow = 64 << 10
	// maxDepth bounds the nesting of values that nobody asked for.
	maxDepth = 64
)

// scanner reads JSON (RFC 8259) as a stream through a window of fixed size. It
// is stricter than encoding/json in one thing: text must be valid Unicode, so
// invalid UTF-8 and lone surrogates are errors.
type scanner struct {
	src  io.Reader
	buf  []byte
	r, w int   // buf[r:w] is unread
	off  int64 // of buf[0] in the body
	err  error // of src, once it came
}

func newScanner(src io.Reader, window int) *scanner {
	return &scanner{src: src, buf: make([]byte, window)}
}

// fill reads more, keeping what is unread. It returns an error only when nothing
// came.
func (s *scanner) fill() error {
	if s.err != nil {
		return s.err
	}
	if s.r > 0 {
		copy(s.buf, s.buf[s.r:s.w])
		s.off += int64(s.r)
		s.r, s.w = 0, s.w-s.r
	}
	for range 100 {
		n, err := s.src.Read(s.buf[s.w:])
		s.w += n
		s.err = err
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	s.err = io.ErrNoProgress
	return s.err
}

// peek returns the next byte without taking it.
func (s *scanner) peek() (byte, error) {
	if s.r == s.w {
		if err := s.fill(); err != nil {
			return 0, s.broken(err)
		}
	}
	return s.buf[s.r], nil
}

// next takes the next byte.
func (s *scanner) next() (byte, error) {
	c, err := s.peek()
	if err == nil {
		s.r++
	}
	return c, err
}

// broken returns what the end of the body means where more JSON has to follow.
func (s *scanner) broken(err error) error {
	if err == io.EOF { //nolint:errorlint // a body's bare EOF
		return httpserver.BadRequest("the JSON is not as it should be: it ends too early, after %d bytes", s.off+int64(s.w))
	}
	return err
}

// unexpected is about the last byte that was taken.
func (s *scanner) unexpected(c byte, want string) error {
	return httpserver.BadRequest("the JSON is not as it should be: %q at byte %d, where there should be %s", c, s.off+int64(s.r)-1, want)
}

// token skips white space and takes the byte behind it.
func (s *scanner) token() (byte, error) {
	for {
		c, err := s.next()
		if err != nil || c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return c, err
		}
	}
}

// skipMark takes a byte order mark, which programs on Windows put before what they
// write; RFC 8259 section 8.1 lets it be ignored.
func (s *scanner) skipMark() error {
	const mark = "\ufeff"
	for s.w-s.r < len(mark) && bytes.HasPrefix([]byte(mark), s.buf[s.r:s.w]) {
		if err := s.fill(); err == io.EOF { //nolint:errorlint // a body's bare EOF
			return nil // what comes next says that it is too short
		} else if err != nil {
			return err
		}
	}
	if bytes.HasPrefix(s.buf[s.r:s.w], []byte(mark)) {
		s.r += len(mark)
	}
	return nil
}

// expect takes one given byte after white space.
func (s *scanner) expect(want byte, what string) error {
	c, err := s.token()
	if err == nil && c != want {
		err = s.unexpected(c, what)
	}
	return err
}

// end checks that nothing but white space follows.
func (s *scanner) end() error {
	for {
		if s.r == s.w {
			if err := s.fill(); err == io.EOF { //nolint:errorlint // a body's bare EOF
				return nil
			} else if err != nil {
				return err
			}
		}
		if _, err := s.peek(); err != nil {
			return err
		}
		switch c := s.buf[s.r]; c {
		case ' ', '\n', '\t', '\r':
			s.r++
		default:
			s.r++
			return s.unexpected(c, "the end")
		}
	}
}

// text reads a string whose opening quote was taken, up to its closing one, and
// appends at most limit bytes of it to dst. whole is false when there was more.
func (s *scanner) text(dst []byte, limit int) (out []byte, whole bool, err error) {
	whole = true
	var rune4 [utf8.UTFMax]byte
	for {
		c, err := s.peek()
		if err != nil {
			return dst, whole, err
		}
		piece := s.buf[s.r : s.r+1]
		switch {
		case c == '"':
			s.r++
			return dst, whole, nil
		case c < ' ':
			s.r++
			return dst, whole, s.unexpected(c, "an escape, since control characters must be escaped")
		case c == '\\':
			s.r++
			r, err := s.escape()
			if err != nil {
				return dst, whole, err
			}
			piece = rune4[:utf8.EncodeRune(rune4[:], r)]
		case c < utf8.RuneSelf:
			s.r++
		default:
			if piece, err = s.encoded(); err != nil {
				return dst, whole, err
			}
		}
		if whole = whole && len(dst)+len(piece) <= limit; whole {
			dst = append(dst, piece...)
		}
	}
}

// encoded takes one character of several bytes.
func (s *scanner) encoded() ([]byte, error) {
	for !utf8.FullRune(s.buf[s.r:s.w]) {
		if err := s.fill(); err != nil {
			return nil, s.broken(err)
		}
	}
	r, n := utf8.DecodeRune(s.buf[s.r:s.w])
	if r == utf8.RuneError && n == 1 {
		return nil, httpserver.BadRequest("the JSON is not valid UTF-8, at byte %d", s.off+int64(s.r))
	}
	piece := s.buf[s.r : s.r+n]
	s.r += n
	return piece, nil
}

// escape reads an escape whose backslash was taken.
func (s *scanner) escape() (rune, error) {
	c, err := s.next()
	if err != nil {
		return 0, err
	}
	switch c {
	case '"', '\\', '/':
		return rune(c), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		return s.unicodeEscape()
	}
	return 0, s.unexpected(c, "an escape such as \\n")
}

// unicodeEscape reads what follows \u, and the second half of a surrogate pair.
func (s *scanner) unicodeEscape() (rune, error) {
	r, err := s.hex4()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	at := s.off + int64(s.r)
	for _, want := range []byte{'\\', 'u'} {
		if c, err := s.next(); err != nil {
			return 0, err
		} else if c != want {
			return 0, httpserver.BadRequest("the JSON is not valid Unicode: half a surrogate pair before byte %d", at)
		}
	}
	low, err := s.hex4()
	if err != nil {
		return 0, err
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, httpserver.BadRequest("the JSON is not valid Unicode: half a surrogate pair before byte %d", at)
	}
	return r, nil
}

func (s *scanner) hex4() (r rune, err error) {
	for range 4 {
		c, err := s.next()
		if err != nil {
			return 0, err
		}
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, s.unexpected(c, "four hexadecimal digits")
		}
		r = r<<4 | rune(c)
	}
	return r, nil
}
