package httpserver

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/textproto"
	"strings"
)

// The digest fields of RFC 9530. Of a file they say the same, since files are
// sent without content coding.
const (
	ReprDigest    = "Repr-Digest"
	ContentDigest = "Content-Digest"
)

// SHA256Of reads the SHA-256 out of the digest fields of a header, or of a
// trailer; nil when there is none. Other algorithms are left alone, as RFC 9530
// section 2 wants it.
func SHA256Of(h http.Header) (*[32]byte, error) {
	var found *[32]byte
	for _, field := range []string{ReprDigest, ContentDigest} {
		for _, value := range h[field] {
			for _, member := range strings.Split(value, ",") {
				d, err := parseDigest(field, member)
				if err != nil {
					return nil, err
				}
				if d != nil && found != nil && *d != *found {
					return nil, BadRequest("%s and %s name different SHA-256 digests", ReprDigest, ContentDigest)
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
	return nil, BadRequest("%s has no SHA-256 of the form sha-256=:base64 of 32 bytes:", field)
}

// FormatDigest writes a digest as a field's value.
func FormatDigest(sum [32]byte) string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// ETag is a file's strong validator: its contents' SHA-256.
func ETag(sum [32]byte) string { return `"` + hex.EncodeToString(sum[:]) + `"` }
