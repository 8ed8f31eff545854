package zmtp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"
)

// authority is a CA of a test's own.
type authority struct {
	t    testing.TB
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t}
	a.key = a.newKey()
	a.cert = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, a.key)
	return a
}

func (a *authority) newKey() *ecdsa.PrivateKey {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

// sign makes the certificate of key; the authority's own is signed by itself.
func (a *authority) sign(c *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	// A bubble's clock runs in the year 2000.
	c.SerialNumber, c.NotBefore = big.NewInt(1), time.Unix(0, 0)
	c.NotAfter = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	parent := a.cert
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

// issue makes a certificate of name.
func (a *authority) issue(name string) tls.Certificate {
	a.t.Helper()
	key := a.newKey()
	cert := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, key)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// server is a server's configuration, which lets in clients of the authority.
func (a *authority) server() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{a.issue("controller")},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
		SessionTicketsDisabled: true, DynamicRecordSizingDisabled: true,
	}
}

// client is the configuration of the client with that name.
func (a *authority) client(name string) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{a.issue(name)},
		RootCAs: pool, ServerName: "controller", DynamicRecordSizingDisabled: true,
	}
}

// shakeInTLS is shake inside TLS.
func shakeInTLS(t testing.TB, near, far net.Conn, a, b Config) (*Conn, *Conn) {
	t.Helper()
	a, b = inTLS(t, a, b)
	return shake(t, near, far, a, b)
}

// inTLS makes two Configs those of a connection inside TLS.
func inTLS(t testing.TB, a, b Config) (Config, Config) {
	ca := newAuthority(t)
	a.TLS, b.TLS = ca.client("node"), ca.server()
	return a, b
}
