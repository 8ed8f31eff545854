package identity

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"

	"github.com/raidpi/raidpi/internal/raid"
)

// role is the purpose of a certificate.
type role string

const (
	roleCA         role = "ca"
	roleController role = "controller"
	roleNode       role = "node"
)

// scheme of the URI that names a certificate's owner. The URI has no host part:
// what comes after the scheme is opaque to everybody else.
const scheme = "raidpi"

// name names the owner of a certificate.
type name struct {
	array raid.ArrayID
	role  role
	node  raid.NodeID // for roleNode
}

func (n name) valid() bool {
	if !raid.ValidName(string(n.array)) {
		return false
	}
	if n.role == roleNode {
		_, err := raid.DecodeID(string(n.node))
		return err == nil
	}
	return n.node == "" && (n.role == roleCA || n.role == roleController)
}

func (n name) uri() *url.URL {
	opaque := string(n.array) + "/" + string(n.role)
	if n.role == roleNode {
		opaque += "/" + string(n.node)
	}
	return &url.URL{Scheme: scheme, Opaque: opaque}
}

// nameOf reads the owner of a certificate. A certificate of ours has one URI.
func nameOf(c *x509.Certificate) (n name, err error) {
	if len(c.URIs) != 1 {
		return n, fmt.Errorf("%w: its certificate has no name of ours", ErrStranger)
	}
	u := c.URIs[0]
	array, rest, _ := strings.Cut(u.Opaque, "/")
	kind, node, _ := strings.Cut(rest, "/")
	n = name{raid.ArrayID(array), role(kind), raid.NodeID(node)}
	if !n.valid() || n.uri().String() != u.String() {
		return name{}, fmt.Errorf("%w: its certificate has no name of ours", ErrStranger)
	}
	return n, nil
}
