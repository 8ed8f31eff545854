package identity

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"

	"github.com/raidpi/raidpi/internal/raid"
)

// IssueController makes a key and a certificate for the controller's side of
// connections with nodes. It is made anew at each start and never stored.
func (ca *CA) IssueController(random io.Reader) (tls.Certificate, error) {
	t, err := template(name{array: ca.array, role: roleController}, "raid-controller", random)
	if err != nil {
		return tls.Certificate{}, err
	}
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	b, err := ca.issue(t, random)
	if err != nil {
		return tls.Certificate{}, err
	}
	return b.certificate(), nil
}

// IssueNode makes the certificate of a node, in DER. The id must be one that
// [raid.NewID] drew. That it is the caller's to give (new, or this key's owner
// already) is for the caller to know.
func (ca *CA) IssueNode(key NodeKey, id raid.NodeID, random io.Reader) ([]byte, error) {
	if key.public == nil {
		return nil, fmt.Errorf("issue a certificate to node %s: %w: there is no key", id, ErrCSR)
	}
	t, err := template(name{array: ca.array, role: roleNode, node: id}, "raid-node "+string(id), random)
	if err != nil {
		return nil, err
	}
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	c, err := sign(random, t, ca.cert, key.public, ca.key)
	if err != nil {
		return nil, err
	}
	return c.Raw, nil
}

// issue makes a key and its certificate.
func (ca *CA) issue(t *x509.Certificate, random io.Reader) (*bundle, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	c, err := sign(random, t, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, err
	}
	return &bundle{key: key, certs: []*x509.Certificate{c, ca.cert}}, nil
}

// certificate is the bundle as crypto/tls wants it. The CA's certificate goes
// along, for clients that know its pin alone.
func (b *bundle) certificate() tls.Certificate {
	c := tls.Certificate{PrivateKey: b.key, Leaf: b.certs[0]}
	for _, each := range b.certs {
		c.Certificate = append(c.Certificate, each.Raw)
	}
	return c
}
