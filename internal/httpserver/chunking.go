package httpserver

// chunk takes a byte of a chunked body that is none of its contents (RFC 9112
// section 7.1). left is the size as far as it was read, which is 0 in between, so
// size is kept in length until the line has ended.
func (f *framing) chunk(c byte) (fault string) {
	switch f.state {
	case chunkSize:
		return f.chunkSize(c)
	case chunkExtension:
		return f.chunkExtension(c)
	case chunkSizeLF:
		if c != '\n' {
			return "a carriage return without a line feed"
		}
		f.beginData()
	case chunkDataCR:
		if c != '\r' {
			return "a chunk that is longer than its size says"
		}
		f.state = chunkDataLF
	case chunkDataLF:
		if c != '\n' {
			return "a carriage return without a line feed"
		}
		f.length = 0
		f.beginChunk()
	default:
		return "a byte behind a body"
	}
	return ""
}

// beginData begins a chunk's contents, or behind the last chunk the trailer.
func (f *framing) beginData() {
	if f.length == 0 {
		f.trailer, f.state = true, fieldStart
		return
	}
	f.state, f.left = chunkData, f.length
}

// chunkSize takes a byte of the line before a chunk's contents. White space, which
// the RFC calls bad, is read over by some and not by others.
func (f *framing) chunkSize(c byte) (fault string) {
	digit := int64(0)
	switch {
	case c == '\r' && f.digits > 0:
		f.state = chunkSizeLF
		return ""
	case c == ';' && f.digits > 0:
		f.state = chunkExtension
		return ""
	case c >= '0' && c <= '9':
		digit = int64(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		digit = int64(c|0x20-'a') + 10
	default:
		return "a chunk whose size is no hexadecimal number"
	}
	if f.digits++; f.digits > maxChunkDigits {
		return "a chunk whose size has too many digits"
	}
	f.length = f.length<<4 | digit
	return ""
}

// chunkExtension takes a byte of what may follow a chunk's size, and means nothing.
func (f *framing) chunkExtension(c byte) (fault string) {
	f.extension++
	switch {
	case f.extension > maxExtension:
		return "a chunk extension that is too long"
	case c == '\r' && !f.quoted:
		f.state = chunkSizeLF
	case c < ' ' && c != '\t' || c >= 0x7f:
		return "a chunk extension with a byte that is no character of it"
	case f.escaped:
		f.escaped = false
	case c == '\\' && f.quoted:
		f.escaped = true
	case c == '"':
		f.quoted = !f.quoted
	}
	return ""
}
