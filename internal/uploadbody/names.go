package uploadbody

import (
	"strings"
	"unicode/utf8"

	"github.com/raidpi/raidpi/internal/httpserver"
)

const (
	// MaxFilename is the greatest length of a filename, in characters.
	MaxFilename = 5000
	// maxContentType is the greatest length of a content type, in bytes.
	maxContentType = 255
	// defaultContentType is that of files whose uploader named none (RFC 9110
	// section 8.3).
	defaultContentType = "application/octet-stream"
)

// checkFilename accepts any valid UTF-8 of 1 to maxFilename characters, slashes, line breaks and
// NUL among them. A filename here is a text, never a path.
func checkFilename(name string) error {
	switch {
	case name == "":
		return httpserver.BadRequest("the filename is empty; it must have 1 to %d characters", MaxFilename)
	case !utf8.ValidString(name):
		return httpserver.BadRequest("the filename is not valid UTF-8")
	case len(name) > MaxFilename && utf8.RuneCountInString(name) > MaxFilename:
		return httpserver.BadRequest("the filename has %d characters; at most %d are allowed", utf8.RuneCountInString(name), MaxFilename)
	}
	return nil
}

// checkContentType accepts anything that can stand in a header, as the
// assignment stores whatever is sent, and chooses the default for nothing.
func checkContentType(ct string) (string, error) {
	if ct = strings.TrimSpace(ct); ct == "" {
		return defaultContentType, nil
	}
	if len(ct) > maxContentType {
		return "", httpserver.BadRequest("the content type has %d bytes; at most %d are allowed", len(ct), maxContentType)
	}
	if !utf8.ValidString(ct) {
		return "", httpserver.BadRequest("the content type is not valid UTF-8")
	}
	if i := strings.IndexFunc(ct, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		return "", httpserver.BadRequest("the content type has a control character, at byte %d", i)
	}
	return ct, nil
}
