package httpserver

import "strings"

const (
	// maxFallback bounds what of a name goes into the filename parameter when
	// filename* carries it all, in bytes.
	maxFallback = 200
	// maxInline is the longest Content-Disposition that is sent without being
	// asked for, in bytes: some clients refuse headers of 16 kB.
	maxInline = 4 << 10
)

// disposition writes a Content-Disposition (RFC 6266): a plain name as filename
// alone, any other as an ASCII likeness for old clients and, whole, as filename*
// (RFC 8187). mime.FormatMediaType writes no likeness for old clients.
func disposition(kind, name string) string {
	if plainName(name) {
		return kind + `; filename="` + name + `"`
	}
	var b strings.Builder
	b.Grow(len(kind) + min(len(name), maxFallback) + 3*len(name) + 32)
	b.WriteString(kind)
	b.WriteString(`; filename="`)
	n := 0
	for _, r := range name {
		if n++; n > maxFallback {
			break
		}
		if plainChar(r) {
			b.WriteRune(r)
		} else {
			b.WriteByte('_')
		}
	}
	b.WriteString(`"; filename*=UTF-8''`)
	const hex = "0123456789ABCDEF"
	for i := range len(name) {
		if c := name[i]; attrChar(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// plainName tells whether a name can stand in quotes as it is, and means itself
// to all clients (which read % and \ in different ways: RFC 6266 appendix D).
func plainName(name string) bool {
	if len(name) > maxFallback {
		return false
	}
	for i := range len(name) {
		if !plainChar(rune(name[i])) {
			return false
		}
	}
	return true
}

func plainChar(r rune) bool {
	return r >= ' ' && r < 0x7f && !strings.ContainsRune("\"\\%/", r)
}

// attrChar are the bytes that RFC 8187 leaves unescaped.
func attrChar(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$&+-.^_`|~", c) >= 0
}
