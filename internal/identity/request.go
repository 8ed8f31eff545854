package identity

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Request is a node's key that has no certificate yet. It lies beside the
// current identity, which stays in use until [Request.Complete].
type Request struct {
	dir   string
	next  *bundle
	csr   []byte
	again bool // for the key that the node has already
}

// Prepare makes a key for joining or for rotation and stores it, or finds the one of an attempt
// that broke off. Asking again with the same key gets the same node. A key that was made on another
// machine is given up; no certificate was ever stored with it.
//
// It fails with ErrDamaged and ErrExposed.
func Prepare(dir string, machine Machine) (*Request, error) {
	if err := makeDir(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, nextFile)
	next, err := readBundle(path)
	switch {
	case err == nil && !next.machine.differs(machine) && !isCurrent(dir, next):
		err = syncDir(dir)
	case err == nil || errors.Is(err, fs.ErrNotExist):
		next = &bundle{machine: machine}
		if next.key, err = newKey(); err == nil {
			err = writeBundle(path, next)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("prepare a new key: %w; %s may be removed, there is no certificate for it", err, path)
	}
	return newRequest(dir, next)
}

// Again asks for another certificate for the key that a node has already. It is for a node that the
// controller has forgotten or may have. It is also for a new CA, after the array's was lost.
// Complete takes such a CA when it is given that CA's pin. It fails as [LoadNode] does.
func Again(dir string, machine Machine) (*Request, error) {
	n, err := LoadNode(dir, machine)
	if err != nil {
		return nil, err
	}
	r, err := newRequest(dir, &bundle{machine: n.own.machine, key: n.own.key})
	if err == nil {
		r.again = true
	}
	return r, err
}

func newRequest(dir string, b *bundle) (*Request, error) {
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, b.key)
	if err != nil {
		return nil, fmt.Errorf("prepare a certificate request: %w", err)
	}
	return &Request{dir: dir, next: b, csr: csr}, nil
}

// isCurrent tells a key that has become the node's already: the process ended
// before it could remove it here.
func isCurrent(dir string, next *bundle) bool {
	n, err := readNode(dir)
	return err == nil && n.own.key.Equal(next.key)
}

// CSR is the certificate request, PKCS #10 in DER. It asks for no name.
func (r *Request) CSR() []byte { return bytes.Clone(r.csr) }

// Key is the pin of the key, as the controller sees it in [NodeKey.Pin].
func (r *Request) Key() Pin {
	der, _ := x509.MarshalPKIXPublicKey(r.next.key.Public()) // a P-256 key can be written
	return sha256.Sum256(der)
}

// Complete takes the controller's answer: the node's certificate and the CA's, both in DER. It
// checks all of it, and then makes them the node's identity in one step. A process that dies in
// between finds the old one or the new one.
//
// want is the pin that the token carries, or the current identity's when it is rotated. It fails
// with ErrWrongPin when the CA is another one. It fails with ErrForeign, ErrStranger or ErrRole
// when the certificate is not for this key. It fails so too when there is an identity already, of
// another array or with another id.
func (r *Request) Complete(certificate, ca []byte, want ShortPin) (*Node, error) {
	b := &bundle{machine: r.next.machine, key: r.next.key}
	for _, der := range [][]byte{certificate, ca} {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("take the new certificate: %w: it is unreadable; nothing was changed", ErrDamaged)
		}
		b.certs = append(b.certs, c)
	}
	if got := PinOf(b.certs[1]).Short(); got != want {
		return nil, fmt.Errorf("take the new certificate: %w", wrongPin(want, got))
	}
	n, err := nodeFrom(b)
	if err != nil {
		return nil, fmt.Errorf("take the new certificate: %w; nothing was changed", err)
	}
	if err := r.checkCurrent(n); err != nil {
		return nil, err
	}
	if err := writeBundle(filepath.Join(r.dir, nodeFile), b); err != nil {
		return nil, fmt.Errorf("store the new certificate: %w", err)
	}
	if err := removeIfThere(filepath.Join(r.dir, nextFile)); err != nil {
		return nil, fmt.Errorf("the new certificate is stored; its key's first copy can't be removed: %w", err)
	}
	return n, syncDir(r.dir)
}

// checkCurrent refuses to replace the identity of another node.
func (r *Request) checkCurrent(n *Node) error {
	old, err := readNode(r.dir)
	switch {
	case errors.Is(err, ErrNotJoined):
		return nil
	case err != nil:
		return err
	case old.Array() != n.Array() || old.Pin() != n.Pin() && !r.again:
		return fmt.Errorf("take the new certificate: this node is already joined to array %s, and it is for array %s (%w); to move it, run raid-node leave",
			old.Array(), n.Array(), ErrForeign)
	case old.ID() != n.ID():
		return fmt.Errorf("take the new certificate: this is node %s, and it is for node %s (%w); nothing was changed",
			old.ID(), n.ID(), ErrForeign)
	}
	return nil
}
