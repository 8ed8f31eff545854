package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// kind states the demands of one side of a connection on the other.
type kind struct {
	role  role
	usage x509.ExtKeyUsage
}

var (
	asNode       = kind{roleNode, x509.ExtKeyUsageClientAuth}
	asController = kind{roleController, x509.ExtKeyUsageServerAuth}
)

// verify checks that a CA itself signed a certificate, and for what, at a
// moment. It fails with ErrStranger and ErrRole.
func verify(leaf, ca *x509.Certificate, want kind, at time.Time) (name, error) {
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	// The usage is checked below, so that a wrong one gets its own error.
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return name{}, fmt.Errorf("%w: its certificate was not made by the CA with pin %s", ErrStranger, short(ca))
	}
	n, err := nameOf(leaf)
	if err != nil {
		return name{}, err
	}
	if leaf.IsCA || n.role != want.role {
		return name{}, fmt.Errorf("%w: it is the %s's, and that of a %s is needed", ErrRole, n.role, want.role)
	}
	if len(leaf.UnknownExtKeyUsage) > 0 || !slices.Equal(leaf.ExtKeyUsage, []x509.ExtKeyUsage{want.usage}) {
		return name{}, fmt.Errorf("%w: its extended key usage is not that of a %s", ErrRole, want.role)
	}
	return n, nil
}

// verifyPeer checks the other end of a connection between members.
func verifyPeer(cs tls.ConnectionState, ca *x509.Certificate, want kind) (name, error) {
	if err := checkVersion(cs); err != nil {
		return name{}, err
	}
	n, err := verify(cs.PeerCertificates[0], ca, want, verifiedAt)
	if err != nil {
		return name{}, err
	}
	if own, err := nameOf(ca); err != nil || n.array != own.array {
		return name{}, fmt.Errorf("%w: its certificate names array %s", ErrStranger, n.array)
	}
	return n, nil
}

// checkVersion refuses what no configuration of ours lets through.
func checkVersion(cs tls.ConnectionState) error {
	if cs.Version != tls.VersionTLS13 {
		return fmt.Errorf("%w: it speaks %s, and TLS 1.3 is needed", ErrStranger, tls.VersionName(cs.Version))
	}
	if len(cs.PeerCertificates) == 0 {
		return fmt.Errorf("%w: it has no certificate", ErrStranger)
	}
	return nil
}

var errUnfinished = errors.New("the TLS handshake is not complete")

// short is a pin for people.
func short(ca *x509.Certificate) string { return brief(PinOf(ca).Short()) }

func brief(p ShortPin) string { return p.Brief() }
