package identity

import (
	"crypto/tls"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

// base returns the configuration that all connections of ours have in common: TLS 1.3, and no
// session is ever resumed. So each handshake asks anew who is there. (A resumed one skips
// VerifyPeerCertificate; all checks are in VerifyConnection, which it doesn't skip.)
func base() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		// Small records serve browsers that render while they read. Here they are
		// the first 128 KiB of each connection, for nothing.
		DynamicRecordSizingDisabled: true,
		MaxVersion:                  tls.VersionTLS13,
		SessionTicketsDisabled:      true,
	}
}

// ServerTLS is the controller's side of connections with nodes. own is from [CA.IssueController].
// The node must have a certificate of this CA for clients that names a node of this array.
//
// check is asked at each handshake whether that node may still come with that key, from several
// goroutines at once. It must not be nil, and must answer without waiting. It must remember
// nothing: the node has shown its certificate and not yet proved that it has the key. The rest of
// the handshake proves that.
//
// A refused node sees the alert "bad certificate" with its first read. The handshake's error here
// is ErrStranger, ErrRole or check's.
func (ca *CA) ServerTLS(own tls.Certificate, check func(raid.NodeID, Pin) error) *tls.Config {
	c := base()
	c.Certificates = []tls.Certificate{own}
	c.ClientAuth = tls.RequireAnyClientCert // and VerifyConnection verifies it
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		n, err := verifyPeer(cs, ca.cert, asNode)
		if err != nil {
			return fmt.Errorf("refuse a connection: %w", err)
		}
		if err := check(n.node, KeyOf(cs)); err != nil {
			return fmt.Errorf("refuse a connection: %w", err)
		}
		return nil
	}
	return c
}

// PeerNode says which node is at the other end of a connection. It verifies the
// certificate again, so the state may come from any TLS connection. It does not
// ask whether the node may still come.
func (ca *CA) PeerNode(cs tls.ConnectionState) (raid.NodeID, error) {
	if !cs.HandshakeComplete {
		return "", fmt.Errorf("name the peer: %w", errUnfinished)
	}
	n, err := verifyPeer(cs, ca.cert, asNode)
	if err != nil {
		return "", fmt.Errorf("name the peer: %w", err)
	}
	return n.node, nil
}

// KeyOf is the pin of the key at the other end of a connection, zero when it has
// none. It verifies nothing: ask [CA.PeerNode] first.
func KeyOf(cs tls.ConnectionState) Pin {
	if len(cs.PeerCertificates) == 0 {
		return Pin{}
	}
	return PinOf(cs.PeerCertificates[0])
}

// ClientTLS is a node's side of connections with its controller. The controller must have a
// certificate for servers, of the CA that the node joined, that names the controller of its array.
// The name or address under which it was found does not matter. The handshake's error is
// ErrStranger or ErrRole.
func (n *Node) ClientTLS() *tls.Config {
	c := base()
	c.Certificates = []tls.Certificate{n.certificate()}
	c.ServerName = helloName(n.Array(), n.ID())
	c.InsecureSkipVerify = true // host names say nothing here; VerifyConnection does it
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if _, err := verifyPeer(cs, n.ca(), asController); err != nil {
			return fmt.Errorf("refuse the controller: %w; is this the controller of array %s?", err, n.Array())
		}
		return nil
	}
	return c
}
