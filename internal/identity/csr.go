package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
)

// MaxCSR is the longest certificate request, in bytes. One for a P-256 key has some 250.
const MaxCSR = 2048

// NodeKey is a public key whose owner has proved, with the signature of a
// certificate request, that it has the private one.
type NodeKey struct {
	public any // *ecdsa.PublicKey or ed25519.PublicKey
	pin    Pin
}

// Pin is the SHA-256 of the key: what to remember a key by.
func (k NodeKey) Pin() Pin { return k.pin }

// ReadCSR takes the public key from a certificate request (PKCS #10, DER) and
// nothing else. Names and extensions that it asks for do not count. The key must
// be P-256 or Ed25519, the signature its own. It fails with ErrCSR.
func ReadCSR(der []byte) (NodeKey, error) {
	if len(der) > MaxCSR {
		return NodeKey{}, fmt.Errorf("%w: it has %d bytes, at most %d are taken", ErrCSR, len(der), MaxCSR)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return NodeKey{}, fmt.Errorf("%w: it is not PKCS #10 in DER", ErrCSR)
	}
	// The key's type before the signature: others may be slow to verify.
	if !acceptableKey(csr.PublicKey) {
		return NodeKey{}, fmt.Errorf("%w: its key is %s; P-256 and Ed25519 are taken", ErrCSR, csr.PublicKeyAlgorithm)
	}
	switch csr.SignatureAlgorithm {
	case x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519:
	default:
		return NodeKey{}, fmt.Errorf("%w: it is signed with %s; SHA-256 or better is taken", ErrCSR, csr.SignatureAlgorithm)
	}
	if csr.CheckSignature() != nil {
		return NodeKey{}, fmt.Errorf("%w: its signature is not by its key", ErrCSR)
	}
	return NodeKey{public: csr.PublicKey, pin: sha256.Sum256(csr.RawSubjectPublicKeyInfo)}, nil
}

func acceptableKey(public any) bool {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		return k.Curve == elliptic.P256()
	case ed25519.PublicKey:
		return len(k) == ed25519.PublicKeySize
	}
	return false
}
