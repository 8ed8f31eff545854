package zmtp

import (
	"errors"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

var (
	// ErrProtocol: the peer does not speak ZMTP 3 as it must, or sent more than
	// the limits allow.
	ErrProtocol = errors.New("protocol error")
	// ErrRefused: the peer answered the handshake with ERROR; see RefusedError.
	ErrRefused = errors.New("refused by the peer")
	// ErrTLS: there is no TLS with the peer, because it speaks none or because
	// one side does not accept the other's certificate.
	ErrTLS = errors.New("TLS failed")
	// ErrUnwelcome is an ErrTLS: the peer does not accept our certificate.
	ErrUnwelcome = fmt.Errorf("%w: the peer does not accept our certificate", ErrTLS)
	// ErrClosed: our side closed the connection.
	ErrClosed = errors.New("connection closed")
	// ErrSilent: the peer did not send anything in time.
	ErrSilent = errors.New("peer is silent")
)

// RefusedError carries the words with which a peer refused us. It is an ErrRefused.
type RefusedError struct {
	Reason string // as sent: up to 255 bytes that may be anything
}

func (e *RefusedError) Error() string { return fmt.Sprintf("refused by the peer: %q", e.Reason) }

// Unwrap makes errors.Is(err, ErrRefused) true.
func (e *RefusedError) Unwrap() error { return ErrRefused }

// malformed is a protocol error in the words of format.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}

// gone describes why op on a connection that has ended failed. It is a
// raid.ErrPeerGone as well as what ended the connection.
func gone(op string, peer Peer, cause error) error {
	if errors.Is(cause, raid.ErrPeerGone) {
		return fmt.Errorf("%s %s: %w", op, peer.Addr, cause)
	}
	return fmt.Errorf("%s %s: %w: %w", op, peer.Addr, raid.ErrPeerGone, cause)
}
