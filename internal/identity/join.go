package identity

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
)

const (
	// proofLabel separates what is exported here from all other uses of a
	// connection's secrets (RFC 5705 4, RFC 8446 7.5).
	proofLabel = "EXPORTER-raidpi-join-1"
	// exporterLen is how many bytes are exported. The length is fixed, so that
	// what follows them in the proof can't be taken for a part of them.
	exporterLen = 32
)

// PinError is the error of [Token.ClientTLS] for a controller that the token was
// not made for. It is an ErrWrongPin.
type PinError struct{ Want, Got ShortPin }

func (e *PinError) Error() string {
	return fmt.Sprintf("%v (pin %s, got %s); nothing was sent: wrong host, or the controller was reinstalled; make a new token",
		ErrWrongPin, brief(e.Want), brief(e.Got))
}

// Unwrap makes it an ErrWrongPin.
func (e *PinError) Unwrap() error { return ErrWrongPin }

func wrongPin(want, got ShortPin) error { return &PinError{Want: want, Got: got} }

// ClientTLS is the connection of a node that is about to join: it knows the CA's
// pin and nothing else. The handshake fails before the node has sent anything of
// its own, with ErrWrongPin (a [PinError]) when no CA with this pin is presented,
// or with ErrStranger or ErrRole when what is presented beside it is not its
// controller. No clock is asked.
func (t Token) ClientTLS() *tls.Config {
	c := base()
	c.InsecureSkipVerify = true // the pin is all there is; VerifyConnection does it
	c.VerifyConnection = t.verify
	return c
}

func (t Token) verify(cs tls.ConnectionState) error {
	if err := checkVersion(cs); err != nil {
		return fmt.Errorf("refuse the controller: %w", err)
	}
	leaf, ca := cs.PeerCertificates[0], cs.PeerCertificates[len(cs.PeerCertificates)-1]
	if got := PinOf(ca).Short(); got != t.pin {
		return fmt.Errorf("refuse the controller: %w", wrongPin(t.pin, got))
	}
	own, err := checkCA(ca)
	if err != nil {
		return fmt.Errorf("refuse the controller: %w", err)
	}
	// At a moment at which it is valid in any case: the one for browsers has
	// another validity, and this Pi's clock may say 1970.
	n, err := verify(leaf, ca, asController, leaf.NotBefore)
	if err != nil {
		return fmt.Errorf("refuse the controller: %w", err)
	}
	if n.array != own.array {
		return fmt.Errorf("refuse the controller: %w: its certificate names array %s", ErrStranger, n.array)
	}
	return nil
}

// Prove makes the proof that a node knows the token's secret, for a connection
// and a certificate request: HMAC-SHA-256(secret, exporter of the connection ||
// CSR). It is worth nothing on another connection or with another request. It
// checks the pin again, so that no connection made in another way gets a proof.
func (t Token) Prove(cs tls.ConnectionState, csr []byte) ([]byte, error) {
	if err := t.verify(cs); err != nil {
		return nil, fmt.Errorf("prove the token: %w", err)
	}
	return t.proof(cs, csr)
}

// CheckProof checks, in constant time, the proof that came over a connection
// together with a certificate request. It fails with ErrProof.
func (t Token) CheckProof(cs tls.ConnectionState, csr, proof []byte) error {
	want, err := t.proof(cs, csr)
	if err != nil {
		return err
	}
	if !hmac.Equal(want, proof) {
		return fmt.Errorf("check the proof for token %s: %w: wrong secret, or somebody is between node and controller", t.id, ErrProof)
	}
	return nil
}

func (t Token) proof(cs tls.ConnectionState, csr []byte) ([]byte, error) {
	if t.secret == nil {
		return nil, fmt.Errorf("prove the token: %w", ErrNotToken)
	}
	if !cs.HandshakeComplete || cs.Version != tls.VersionTLS13 {
		return nil, fmt.Errorf("prove the token: %w, or it is not TLS 1.3", errUnfinished)
	}
	exported, err := cs.ExportKeyingMaterial(proofLabel, nil, exporterLen)
	if err != nil {
		return nil, fmt.Errorf("prove the token: export from the connection: %w", err)
	}
	secret := t.secret()
	h := hmac.New(sha256.New, secret[:])
	h.Write(exported)
	h.Write(csr)
	return h.Sum(nil), nil
}
