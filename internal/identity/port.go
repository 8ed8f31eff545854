package identity

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// NodeALPN is the protocol that a node offers beside HTTP/1.1 (RFC 7301) where browsers come
	// too. A client that offers it is asked for a certificate. It is never negotiated: net/http
	// closes connections with a protocol that it does not know.
	NodeALPN = "raidpi-node/1"

	http1 = "http/1.1"
)

// PortTLS is the controller's side of the port on which browsers, raidctl and nodes meet. A node
// that offers [NodeALPN] gets member, which is from [CA.ServerTLS]. All others get the certificate
// that https returns, from [CA.OpenHTTPS], asked at each handshake. They are never asked for one of
// theirs: browsers would ask their person for it.
func (*CA) PortTLS(https func() *tls.Certificate, member *tls.Config) *tls.Config {
	nodes := member.Clone()
	nodes.NextProtos = []string{http1}
	c := base()
	c.NextProtos = []string{http1}
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if own := https(); own != nil {
			return own, nil
		}
		return nil, errors.New("serve HTTPS: there is no certificate yet")
	}
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Contains(hello.SupportedProtos, NodeALPN) {
			return nodes, nil
		}
		return nil, nil // c itself
	}
	return c
}

// PortTLS is a node's side of a connection to [CA.PortTLS], as [Node.ClientTLS]
// is for the other ports.
func (n *Node) PortTLS() *tls.Config {
	c := n.ClientTLS()
	c.NextProtos = []string{NodeALPN, http1}
	return c
}

// FingerprintError is the error of [Pinned] for a controller with another CA. It
// is an ErrWrongPin.
type FingerprintError struct{ Want, Got Pin }

func (e *FingerprintError) Error() string {
	return fmt.Sprintf("its fingerprint is %s, and %s is known; nothing was sent", e.Got.Fingerprint(), e.Want.Fingerprint())
}

// Unwrap makes it an ErrWrongPin.
func (e *FingerprintError) Unwrap() error { return ErrWrongPin }

// EndedError is the error of a controller whose certificate is over. It is an
// ErrEnded.
type EndedError struct {
	End time.Time
	Now time.Time // by the clock that was asked
}

func (e *EndedError) Error() string {
	return fmt.Sprintf("%v: on %s, and now it is %s; nothing was sent", ErrEnded, e.End.Format(time.DateOnly), e.Now.Format(time.DateOnly))
}

// Unwrap makes it an ErrEnded.
func (e *EndedError) Unwrap() error { return ErrEnded }

// Pinned is the configuration of a client that knows the CA's pin. The name or
// address under which the controller was found does not matter. The handshake fails before
// anything was sent, with ErrWrongPin (a [FingerprintError]), ErrStranger, ErrRole or
// ErrEnded (an [EndedError]).
//
// now is asked whether the certificate is over, since the key of an old one may have
// been stolen with an old card. Its beginning is not looked at. This machine's clock
// may say 1970, and nobody but the CA can make certificates of the future. nil: no
// clock is asked.
func Pinned(pin Pin, now func() time.Time) *tls.Config {
	return pinned(func(got Pin) error {
		if got != pin {
			return &FingerprintError{Want: pin, Got: got}
		}
		return nil
	}, now)
}

// PeekPin asks who is at the other end of a connection that has just been made, for trust on first
// use. It makes the handshake of TLS with anybody that presents a well-formed controller, sends
// nothing else, and closes the connection. A person has to say that it is the right one, by
// comparing [Pin.Fingerprint]. now is as for [Pinned].
func PeekPin(ctx context.Context, nc net.Conn, now func() time.Time) (pin Pin, array raid.ArrayID, err error) {
	defer nc.Close()
	conn := tls.Client(nc, pinned(func(got Pin) error {
		pin = got
		return nil
	}, now))
	// Only a whole handshake proves that it has the certificate's key.
	if err := conn.HandshakeContext(ctx); err != nil {
		return Pin{}, "", err
	}
	array, err = ArrayOf(conn.ConnectionState())
	return pin, array, err
}

// ArrayOf says whose controller is at the other end of a connection that was made
// with [Token.ClientTLS] or [Pinned]. It compares no pin.
func ArrayOf(cs tls.ConnectionState) (raid.ArrayID, error) {
	if !cs.HandshakeComplete {
		return "", fmt.Errorf("name the array: %w", errUnfinished)
	}
	n, err := verifyPinned(cs, func(Pin) error { return nil }, nil)
	return n.array, err
}

// pinned is a connection to a controller of which match knows the CA's pin.
func pinned(match func(ca Pin) error, now func() time.Time) *tls.Config {
	c := base()
	c.InsecureSkipVerify = true // the pin is all there is; VerifyConnection does it
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		_, err := verifyPinned(cs, match, now)
		return err
	}
	return c
}

// verifyPinned checks a controller by its CA's pin, and what is presented beside
// it by the CA.
// now may be nil.
func verifyPinned(cs tls.ConnectionState, match func(ca Pin) error, now func() time.Time) (name, error) {
	if err := checkVersion(cs); err != nil {
		return name{}, fmt.Errorf("refuse the controller: %w", err)
	}
	leaf, ca := cs.PeerCertificates[0], cs.PeerCertificates[len(cs.PeerCertificates)-1]
	if err := match(PinOf(ca)); err != nil {
		return name{}, fmt.Errorf("refuse the controller: %w", err)
	}
	own, err := checkCA(ca)
	if err != nil {
		return name{}, fmt.Errorf("refuse the controller: %w", err)
	}
	// The moment is one at which it is valid in any case. The one for browsers has another
	// validity, and this machine's clock may say 1970.
	n, err := verify(leaf, ca, asController, leaf.NotBefore)
	if err != nil {
		return name{}, fmt.Errorf("refuse the controller: %w", err)
	}
	if n.array != own.array {
		return name{}, fmt.Errorf("refuse the controller: %w: its certificate names array %s", ErrStranger, n.array)
	}
	if now == nil {
		return n, nil
	}
	if t := now(); t.After(leaf.NotAfter) {
		return name{}, fmt.Errorf("refuse the controller: %w", &EndedError{End: leaf.NotAfter, Now: t})
	}
	return n, nil
}

// PEM is the CA's certificate for tools that want a file of it.
func (ca *CA) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: ca.cert.Raw})
}
