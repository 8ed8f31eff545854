package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// The types of PEM block (RFC 7468) in our files, in the order in which they
// come. openssl reads the key and the certificates.
const (
	machineBlock = "RAIDPI MACHINE"
	keyBlock     = "PRIVATE KEY" // PKCS #8
	certBlock    = "CERTIFICATE"
)

// bundle is the content of a file: a key and what belongs to it.
type bundle struct {
	machine Machine // zero: none
	key     *ecdsa.PrivateKey
	certs   []*x509.Certificate // that of the key first; then, if there is one, its CA's
}

// maxCerts is the number of certificates that a bundle may have.
const maxCerts = 2

// encode writes the file.
func (b *bundle) encode() ([]byte, error) {
	var out bytes.Buffer
	write := func(kind string, content []byte) {
		// Writes to memory and without headers don't fail.
		_ = pem.Encode(&out, &pem.Block{Type: kind, Bytes: content})
	}
	if b.machine != (Machine{}) {
		write(machineBlock, b.machine[:])
	}
	key, err := x509.MarshalPKCS8PrivateKey(b.key)
	if err != nil {
		return nil, errors.New("encode a key: it is not an ECDSA key")
	}
	write(keyBlock, key)
	for _, c := range b.certs {
		write(certBlock, c.Raw)
	}
	return out.Bytes(), nil
}

// parseBundle reads what encode writes, and nothing else. A file that was cut or
// changed anywhere but in the values themselves is damaged. Errors tell no byte
// of it.
func parseBundle(text []byte) (*bundle, error) {
	b, rest := &bundle{}, text
	for len(rest) > 0 {
		block, after := pem.Decode(rest)
		if block == nil {
			return nil, fmt.Errorf("%w: it ends in the middle", ErrDamaged)
		}
		if err := b.take(block); err != nil {
			return nil, err
		}
		rest = after
	}
	if b.key == nil {
		return nil, fmt.Errorf("%w: it has no key", ErrDamaged)
	}
	if len(b.certs) > 0 && !b.key.PublicKey.Equal(b.certs[0].PublicKey) {
		return nil, fmt.Errorf("%w: its key and its certificate do not belong together", ErrDamaged)
	}
	if again, err := b.encode(); err != nil || !bytes.Equal(again, text) {
		return nil, fmt.Errorf("%w: it was changed", ErrDamaged)
	}
	return b, nil
}

func (b *bundle) take(block *pem.Block) error {
	switch block.Type {
	case machineBlock:
		if len(block.Bytes) != len(b.machine) {
			return fmt.Errorf("%w: its machine is unreadable", ErrDamaged)
		}
		copy(b.machine[:], block.Bytes)
	case keyBlock:
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		key, ok := parsed.(*ecdsa.PrivateKey)
		if err != nil || !ok || key.Curve != elliptic.P256() {
			return fmt.Errorf("%w: its key is unreadable", ErrDamaged)
		}
		b.key = key
	case certBlock:
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil || len(b.certs) == maxCerts {
			return fmt.Errorf("%w: its certificates are unreadable", ErrDamaged)
		}
		b.certs = append(b.certs, c)
	default:
		return fmt.Errorf("%w: it has a block of unknown type", ErrDamaged)
	}
	return nil
}

// readBundle reads a file that writeBundle wrote.
func readBundle(path string) (*bundle, error) {
	text, err := readSecret(path)
	if err != nil {
		return nil, err
	}
	b, err := parseBundle(text)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return b, nil
}

func writeBundle(path string, b *bundle) error {
	text, err := b.encode()
	if err != nil {
		return err
	}
	return writeSecret(path, text)
}
