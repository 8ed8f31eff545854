package httpserver

import (
	"bytes"
	"strconv"
)

// framing follows the bytes of a connection from message to message, as RFC 9112
// lays them out, and finds what some other program could read in another way than
// net/http: where a header, a line of it, a chunk or a body ends. A proxy that did
// would pass on two requests where one is served here (request smuggling). It looks
// at each byte of headers, and skips the bytes of bodies.
//
// What it knows of a message is a few numbers, so it allocates nothing.
type framing struct {
	state  framingState
	asked  int64 // headers that were read whole
	method word
	proto  word // of the request line, the last 9 bytes

	name         word // of the field that is being read
	value        word // of it, without white space around
	gap          int  // white space behind value that may turn out to be part of it
	hasLength    bool
	length       int64
	coding       word // of the field Transfer-Encoding
	hasCoding    bool
	trailer      bool  // the fields that are read follow the last chunk
	left         int64 // bytes of the body, or of the chunk, that are to come
	digits       int   // of the chunk's size, read
	extension    int   // bytes of the chunk's extension, read
	quoted       bool  // inside quotes of a chunk's extension
	escaped      bool  // behind a backslash there
	emptyAllowed int   // empty lines that may stand before the request
}

// framingState is where in a message the next byte lies.
type framingState int

const (
	beforeRequest framingState = iota
	emptyLF                    // of an empty line before a request
	requestLine
	requestLF
	fieldStart
	fieldName
	fieldValue
	fieldLF
	headerLF // of the empty line that ends fields
	fixedBody
	chunkSize
	chunkExtension
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
)

// word holds the beginning of a word, in lower case, and how long all of it is.
type word struct {
	b [24]byte
	n int
}

func (t *word) add(c byte) {
	if c >= 'A' && c <= 'Z' {
		c |= 0x20
	}
	if t.n < len(t.b) {
		t.b[t.n] = c
	}
	t.n++
}

func (t *word) is(s string) bool { return t.n == len(s) && string(t.b[:min(t.n, len(t.b))]) == s }

const (
	// maxExtension is the greatest length of a chunk's extension, in bytes; nobody uses any.
	maxExtension = 256
	// maxChunkDigits bounds the digits that a chunk's size may have.
	maxChunkDigits = 15
)

// scan follows p. It returns how many bytes of it are right, and what is wrong with
// the next one.
func (f *framing) scan(p []byte) (n int, fault string) {
	for n < len(p) {
		if f.left > 0 { // of a body, whatever they are
			k := min(f.left, int64(len(p)-n))
			n += int(k)
			if f.left -= k; f.left == 0 {
				f.bodyBytesEnded()
			}
			continue
		}
		if f.state == fieldValue { // most bytes of a header
			n += f.skipValue(p[n:])
			if n == len(p) {
				break
			}
		}
		if fault := f.next(p[n]); fault != "" {
			return n, fault
		}
		n++
	}
	return n, ""
}

// skipValue takes the bytes of a value that nobody asks for, as far as they are
// harmless.
func (f *framing) skipValue(p []byte) int {
	if f.name.is("content-length") || f.name.is("transfer-encoding") {
		return 0
	}
	for i, c := range p {
		if c < ' ' && c != '\t' || c == 0x7f {
			return i
		}
	}
	return len(p)
}

func (f *framing) bodyBytesEnded() {
	if f.state == chunkData {
		f.state = chunkDataCR
	} else {
		f.endMessage()
	}
}

// inBody tells whether a body has begun and not ended.
func (f *framing) inBody() bool {
	return f.state == fixedBody || f.state >= chunkSize || f.trailer
}

// next takes one byte.
func (f *framing) next(c byte) (fault string) {
	switch f.state {
	case beforeRequest, emptyLF, requestLine, requestLF:
		return f.request(c)
	case fieldStart, fieldName, fieldValue, fieldLF, headerLF:
		return f.fields(c)
	}
	return f.chunk(c)
}

// lineFeed takes the byte behind a carriage return.
func (f *framing) lineFeed(c byte, then framingState) (fault string) {
	if c != '\n' {
		return "a carriage return without a line feed"
	}
	f.state = then
	return ""
}

// request takes a byte up to the end of the request line. net/http reads over empty
// lines behind a POST alone, so no more are right here.
func (f *framing) request(c byte) (fault string) {
	switch f.state {
	case emptyLF:
		return f.lineFeed(c, beforeRequest)
	case requestLF:
		return f.lineFeed(c, fieldStart)
	case beforeRequest:
		if c == '\r' && f.emptyAllowed > 0 {
			f.emptyAllowed--
			f.state = emptyLF
			return ""
		}
		f.beginMessage()
	}
	switch {
	case c == '\r' && f.proto.n > 0:
		f.state = requestLF
	case c == '\n':
		return "a line that ends without a carriage return"
	case c < ' ' || c == 0x7f:
		return "a control character in the request line"
	case c == ' ':
		f.proto = word{}
		f.proto.add(c)
	default:
		f.proto.add(c)
		if f.state == requestLine && f.method.n < len("post ") {
			f.method.add(c)
		}
	}
	return ""
}

func (f *framing) beginMessage() {
	*f = framing{state: requestLine, asked: f.asked}
}

// endMessage ends a request; what follows is the next one.
func (f *framing) endMessage() {
	empty := 0
	if f.isPost() {
		empty = 2
	}
	*f = framing{state: beforeRequest, asked: f.asked, emptyAllowed: empty}
}

// isPost tells the method by its beginning.
func (f *framing) isPost() bool { return f.method.n >= 4 && string(f.method.b[:4]) == "post" }

// fields takes a byte of a header's fields, or of those behind the last chunk.
func (f *framing) fields(c byte) (fault string) {
	switch f.state {
	case fieldLF:
		return f.lineFeed(c, fieldStart)
	case headerLF:
		if c != '\n' {
			return "a carriage return without a line feed"
		}
		return f.endFields()
	case fieldStart:
		if c == '\r' {
			f.state = headerLF
			return ""
		}
		if c == ' ' || c == '\t' {
			return "a header line that goes on in the next one (obs-fold)"
		}
		f.name, f.value, f.gap, f.state = word{}, word{}, 0, fieldName
	}
	if c == '\n' {
		return "a line that ends without a carriage return"
	}
	if f.state == fieldName {
		switch {
		case c == ':' && f.name.n > 0:
			f.state = fieldValue
		case !isTokenChar(c):
			return "a header field whose name is none, or that has white space before its colon"
		default:
			f.name.add(c)
		}
		return ""
	}
	return f.fieldValue(c)
}

// fieldValue takes a byte of a field's value.
func (f *framing) fieldValue(c byte) (fault string) {
	switch {
	case c == '\r':
		f.state = fieldLF
		return f.endField()
	case c == ' ' || c == '\t':
		f.gap++
	case c < ' ' || c == 0x7f:
		return "a control character in a header field"
	default:
		for ; f.gap > 0 && f.value.n > 0; f.gap-- {
			f.value.add(' ')
		}
		f.gap = 0
		f.value.add(c)
	}
	return ""
}

// endField looks at a whole field.
func (f *framing) endField() (fault string) {
	isLength, isCoding := f.name.is("content-length"), f.name.is("transfer-encoding")
	switch {
	case f.name.is("content_length") || f.name.is("transfer_encoding"):
		return "a field that some programs take for Content-Length or Transfer-Encoding"
	case !isLength && !isCoding:
	case f.trailer:
		return "Content-Length or Transfer-Encoding behind the body"
	case isLength && f.hasLength:
		return "several Content-Length fields"
	case isCoding && f.hasCoding:
		return "several Transfer-Encoding fields"
	case isCoding:
		f.coding, f.hasCoding = f.value, true
	default:
		digits := string(f.value.b[:min(f.value.n, len(f.value.b))])
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || f.value.n > len(f.value.b) || !onlyDigits(digits) {
			return "a Content-Length that is no number of bytes"
		}
		f.length, f.hasLength = n, true
	}
	return ""
}

// endFields ends a header, or a message behind whose last chunk the fields were.
func (f *framing) endFields() (fault string) {
	if f.trailer {
		f.endMessage()
		return ""
	}
	switch {
	case f.hasCoding && f.hasLength:
		return "Transfer-Encoding and Content-Length in one request"
	case f.hasCoding && !f.proto.is(" http/1.1"):
		return "Transfer-Encoding, and is not of HTTP/1.1"
	case f.proto.is(" http/1.0") && f.isPost() && !f.hasLength: // RFC 1945 section 8.3
		return "no Content-Length, without which HTTP/1.0 does not say how long a body is"
	case f.hasCoding && !f.endsInChunked():
		return "a Transfer-Encoding that does not end with chunked, once"
	}
	f.asked++
	switch {
	case f.hasCoding:
		f.beginChunk()
	case f.length > 0:
		f.state, f.left = fixedBody, f.length
	default:
		f.endMessage()
	}
	return ""
}

// endsInChunked tells whether the coding says where the body ends. net/http refuses
// those that have other codings besides (501).
func (f *framing) endsInChunked() bool {
	const last = "chunked"
	all := f.coding.b[:min(f.coding.n, len(f.coding.b))]
	switch before, found := bytes.CutSuffix(all, []byte(last)); {
	case f.coding.n > len(f.coding.b) || !found:
		return false
	default:
		before = bytes.TrimRight(before, " ")
		return len(before) == 0 || before[len(before)-1] == ',' && len(before) > 1 && !bytes.Contains(before, []byte(last))
	}
}

func (f *framing) beginChunk() {
	f.state, f.left, f.digits, f.extension, f.quoted, f.escaped = chunkSize, 0, 0, 0, false, false
}
