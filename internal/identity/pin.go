package identity

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
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

// String writes the pin in hexadecimal.
func (p ShortPin) String() string { return hex.EncodeToString(p[:]) }

// PinOf is the pin of a certificate's key.
func PinOf(c *x509.Certificate) Pin { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }
