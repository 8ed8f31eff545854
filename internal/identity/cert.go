package identity

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net/url"
	"time"
)

// The validity of certificates between members. The end is the one that RFC 5280
// 4.1.2.5 gives to certificates without an end of their own.
var (
	forever0 = time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC)
	forever1 = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	// verifiedAt is the moment at which they are verified, whatever the clock says.
	verifiedAt = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
)

// template returns the fields that all certificates have in common.
func template(n name, title string, random io.Reader) (*x509.Certificate, error) {
	if !n.valid() {
		return nil, fmt.Errorf("make a certificate: array %q, node %q: not ids of ours", n.array, n.node)
	}
	serial, err := newSerial(random)
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: title},
		URIs:                  []*url.URL{n.uri()},
		NotBefore:             forever0,
		NotAfter:              forever1,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
	}, nil
}

// newSerial draws 128 bits; RFC 5280 4.1.2.2 wants a positive number of at most
// 20 bytes.
func newSerial(random io.Reader) (*big.Int, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	serial := new(big.Int).SetBytes(b[:])
	if serial.Sign() == 0 {
		serial.SetInt64(1)
	}
	return serial, nil
}

// sign makes a certificate for a public key and reads it back.
func sign(random io.Reader, t, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(random, t, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate of %s: %w", t.Subject.CommonName, err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the certificate of %s back: %w", t.Subject.CommonName, err)
	}
	return c, nil
}
