package identity

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// Pin is the SHA-256 of a public key as certificates carry it (the DER of its
// SubjectPublicKeyInfo, as in RFC 7469 2.4). The CA's is the array's pin.
type Pin [sha256.Size]byte

// ShortPin is the first half of a [Pin]: 128 bits, which nobody finds a second
// key for. Tokens carry it.
type ShortPin [16]byte

// Short is the part of the pin that tokens carry.
func (p Pin) Short() ShortPin { return ShortPin(p[:16]) }

// String writes the pin in hexadecimal.
func (p Pin) String() string { return hex.EncodeToString(p[:]) }

// Brief is the beginning of what [Pin.Fingerprint] writes, for people to compare.
func (p ShortPin) Brief() string {
	return fingerprintPrefix + base64.RawStdEncoding.EncodeToString(p[:6]) + "…"
}

// String writes the pin in hexadecimal.
func (p ShortPin) String() string { return hex.EncodeToString(p[:]) }

// PinOf is the pin of a certificate's key.
func PinOf(c *x509.Certificate) Pin { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

// fingerprintPrefix begins the hash of a key as ssh writes it. Base 64 without padding follows.
const fingerprintPrefix = "SHA256:"

var fingerprintDigits = base64.RawStdEncoding.Strict()

// Fingerprint writes the pin for people who compare it, as ssh does.
func (p Pin) Fingerprint() string { return fingerprintPrefix + fingerprintDigits.EncodeToString(p[:]) }

// ParseFingerprint reads what [Pin.Fingerprint] writes, with white space around
// it. It fails with ErrFingerprint.
func ParseFingerprint(text string) (p Pin, err error) {
	digits, ours := strings.CutPrefix(strings.TrimSpace(text), fingerprintPrefix)
	// Decoding passes over line ends within; a fingerprint is one word.
	if b, err := fingerprintDigits.DecodeString(digits); ours && err == nil && len(b) == len(p) && !strings.ContainsAny(digits, "\r\n") {
		return Pin(b), nil
	}
	return p, fmt.Errorf("%w: one is %s and %d characters; on the controller run: sudo raidctl fingerprint",
		ErrFingerprint, fingerprintPrefix, fingerprintDigits.EncodedLen(len(p)))
}
