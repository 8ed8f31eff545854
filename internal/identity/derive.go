package identity

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
)

// Derive makes a secret of the CA's key, for the use that info names. It is HKDF-SHA-256
// (RFC 5869) with the array's id as salt. It is the same as long as the CA is, and tells
// nothing about the CA's key or about secrets for other uses.
func (ca *CA) Derive(info string) (secret [32]byte, err error) {
	key, err := ca.key.ECDH()
	if err != nil {
		return secret, fmt.Errorf("derive a secret from the CA's key: %w", err)
	}
	b, err := hkdf.Key(sha256.New, key.Bytes(), []byte(ca.array), info, len(secret))
	if err != nil {
		return secret, fmt.Errorf("derive a secret from the CA's key: %w", err)
	}
	copy(secret[:], b)
	return secret, nil
}
