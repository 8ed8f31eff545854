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
	// exporterLen is the number of bytes that are exported. The length is fixed, so that what
	// follows them in the proof can't be taken for a part of them.
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

// ClientTLS is the configuration of a node that is about to join. The node knows the CA's pin and
// nothing else. The handshake fails before the node has sent anything of its own. Its error is
// ErrWrongPin (a [PinError]) when no CA with this pin is presented. It is ErrStranger or ErrRole
// when the certificate beside that CA is not its controller's. No clock is asked.
func (t Token) ClientTLS() *tls.Config { return pinned(t.match, nil) }

func (t Token) match(ca Pin) error {
	if got := ca.Short(); got != t.pin {
		return wrongPin(t.pin, got)
	}
	return nil
}

// Prove makes the proof that a node knows the token's secret, for a connection
// and a certificate request. It is HMAC-SHA-256(secret, exporter of the connection ||
// CSR). It is worth nothing on another connection or with another request. It
// checks the pin again, so that no connection made in another way gets a proof.
func (t Token) Prove(cs tls.ConnectionState, csr []byte) ([]byte, error) {
	if _, err := verifyPinned(cs, t.match, nil); err != nil {
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
