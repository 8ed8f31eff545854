package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/raidpi/raidpi/internal/raid"
)

// Files of a node, in the directory given to LoadNode and Prepare.
const (
	nodeFile = "node.pem"
	nextFile = "node-next.pem" // a key that has no certificate yet
)

const rejoin = "put a copy of it back; or, to keep this node's chunks in the array, run sudo raid-node reset-identity --keep-id, and join with a token for its id: sudo raidctl token create --node ID"

// Node is a joined node's identity. It does not change: after a rotation there
// is another one.
type Node struct {
	name name
	own  *bundle // key, certificate, the CA's certificate
}

// LoadNode loads a node's identity. machine is the one that it runs on.
//
// It fails with ErrNotJoined when there is none, with ErrClone when it was made
// on another machine, and with ErrDamaged, ErrExposed.
func LoadNode(dir string, machine Machine) (*Node, error) {
	n, err := readNode(dir)
	if err != nil {
		return nil, err
	}
	if n.own.machine.differs(machine) {
		return nil, fmt.Errorf("load the identity of node %s: %w: machine-id differs from the one that made this identity; run raid-node reset-identity, then join",
			n.name.node, ErrClone)
	}
	return n, syncDir(dir)
}

func readNode(dir string) (*Node, error) {
	path := filepath.Join(dir, nodeFile)
	b, err := readBundle(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("load the node's identity: %w: %s is missing; run raid-node join", ErrNotJoined, path)
	case errors.Is(err, ErrDamaged):
		return nil, fmt.Errorf("load the node's identity: %w; %s", err, rejoin)
	case err != nil:
		return nil, fmt.Errorf("load the node's identity: %w", err)
	}
	n, err := nodeFrom(b)
	if err != nil {
		return nil, fmt.Errorf("load the node's identity: read %s: %w: %w; %s", path, ErrDamaged, err, rejoin)
	}
	return n, nil
}

// nodeFrom checks that a key, a certificate and a CA belong together and are a
// node's.
func nodeFrom(b *bundle) (*Node, error) {
	if b.key == nil || len(b.certs) != maxCerts {
		return nil, fmt.Errorf("%w: a key and two certificates are needed", ErrForeign)
	}
	if !b.key.PublicKey.Equal(b.certs[0].PublicKey) {
		return nil, fmt.Errorf("%w key: the certificate is not for this node's", ErrForeign)
	}
	ca, err := checkCA(b.certs[1])
	if err != nil {
		return nil, err
	}
	who, err := verify(b.certs[0], b.certs[1], asNode, verifiedAt)
	if err != nil {
		return nil, err
	}
	if who.array != ca.array {
		return nil, fmt.Errorf("%w array: its CA is that of %s", ErrForeign, ca.array)
	}
	return &Node{name: who, own: b}, nil
}

// Array is the array that the node has joined.
func (n *Node) Array() raid.ArrayID { return n.name.array }

// ID is the node's id, as its certificate has it.
func (n *Node) ID() raid.NodeID { return n.name.node }

// Pin is the pin of the array's CA.
func (n *Node) Pin() Pin { return PinOf(n.ca()) }

// Key is the pin of the node's own key.
func (n *Node) Key() Pin { return PinOf(n.own.certs[0]) }

func (n *Node) ca() *x509.Certificate { return n.own.certs[1] }

func (n *Node) certificate() tls.Certificate { return n.own.certificate() }

// Forget removes a node's identity and its key without certificate, durably:
// leaving an array, or being a clone. That nothing is there is no error.
func Forget(dir string) error {
	for _, file := range []string{nodeFile, nextFile, nodeFile + newSuffix, nextFile + newSuffix} {
		if err := removeIfThere(filepath.Join(dir, file)); err != nil {
			return fmt.Errorf("forget the node's identity: %w", err)
		}
	}
	if err := syncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
