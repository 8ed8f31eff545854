package client

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
)

// digestOf is the SHA-256 of the file that an answer is about. It is from Repr-Digest
// (RFC 9530), else from the ETag, which raid-controller makes of it.
func digestOf(h http.Header) (sum [32]byte, ok bool) {
	for _, field := range h["Repr-Digest"] {
		for member := range strings.SplitSeq(field, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(member), "=")
			if !strings.EqualFold(name, "sha-256") || len(value) < 2 || value[0] != ':' || value[len(value)-1] != ':' {
				continue
			}
			if b, err := base64.StdEncoding.DecodeString(value[1 : len(value)-1]); err == nil && len(b) == sha256.Size {
				return [32]byte(b), true
			}
		}
	}
	tag := strings.Trim(h.Get("ETag"), `"`)
	if b, err := hex.DecodeString(tag); err == nil && len(b) == sha256.Size {
		return [32]byte(b), true
	}
	return sum, false
}

// formatDigest writes a digest as the value of Repr-Digest.
func formatDigest(sum []byte) string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum) + ":"
}
