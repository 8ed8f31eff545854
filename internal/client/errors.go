package client

import (
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/mdns"
	"github.com/raidpi/raidpi/internal/reason"
)

var (
	// ErrStalled: no byte moved for Config.Stall.
	ErrStalled = errors.New("no progress")
	// ErrChanged: the file is not the one that an earlier part was read of.
	ErrChanged = errors.New("not the same file as before")
	// ErrSource: reading an upload's body failed.
	ErrSource = errors.New("read what to upload")
	// ErrDestination: writing a download failed.
	ErrDestination = errors.New("write what was downloaded")
)

// Error is an answer with a status that means failure.
type Error struct {
	Call       string // "GET /files/7"
	Status     int    // of HTTP
	Message    string // the controller's words, or what stood in their place
	RetryAfter time.Duration
	Lose       int64 // files that would be lost, where that is why
}

// Error is the controller's message.
func (e *Error) Error() string { return e.Message }

// StatusOf is the HTTP status of the [*Error] in err, 0 when there is none.
func StatusOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// UnreachableError says that no connection to the controller came about.
type UnreachableError struct {
	URL string // of the controller, or its socket
	Err error
}

// Error names the controller and the cause.
func (e *UnreachableError) Error() string { return fmt.Sprintf("connect to %s: %v", e.URL, e.Err) }

// Unwrap returns the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// WrongControllerError says that another controller answers than the one whose
// pin is known. No request was sent to it.
type WrongControllerError struct {
	URL       string
	Want, Got identity.Pin // Got: of the last certificate that was shown; zero when there was none
	Err       error
}

// Error tells the cause.
func (e *WrongControllerError) Error() string {
	return fmt.Sprintf("%s is not the controller with the fingerprint %s: %v", e.URL, e.Want.Fingerprint(), e.Err)
}

// Unwrap returns the cause.
func (e *WrongControllerError) Unwrap() error { return e.Err }

// UntrustedError says that a certificate is by none that this machine trusts. No
// request was sent.
type UntrustedError struct {
	URL string
	Err error
}

// Error names the controller and the cause.
func (e *UntrustedError) Error() string {
	return fmt.Sprintf("the certificate of %s is not known here: %v", e.URL, e.Err)
}

// Unwrap returns the cause.
func (e *UntrustedError) Unwrap() error { return e.Err }

// EndedError says that the certificate of the known controller is over. No request
// was sent.
type EndedError struct {
	URL string
	Err *identity.EndedError
}

// Error tells when it ended.
func (e *EndedError) Error() string {
	return fmt.Sprintf("the certificate of %s ended on %s", e.URL, e.Err.End.Format(time.DateOnly))
}

// Unwrap returns the cause.
func (e *EndedError) Unwrap() error { return e.Err }

// endedError is nil for other errors.
func endedError(where string, err error) error {
	var ended *identity.EndedError
	if !errors.As(err, &ended) {
		return nil
	}
	return &EndedError{URL: where, Err: ended}
}

// DigestError says that bytes were damaged on their way.
type DigestError struct {
	What      string // "file 7 as it was stored", …
	Got, Want [32]byte
}

// Error tells both digests.
func (e *DigestError) Error() string {
	return fmt.Sprintf("%s has the SHA-256 %s, expected was %s", e.What, hex.EncodeToString(e.Got[:]), hex.EncodeToString(e.Want[:]))
}

// explain makes an error of net/http readable. The caller may have cancelled, this package may have
// seen a stall, or something happened to the connection.
func (c *Client) explain(err error, w *watch) error {
	var op *net.OpError
	var wrong *WrongControllerError
	var ended *EndedError
	var untrusted *tls.CertificateVerificationError
	switch {
	case w.parent.Err() != nil:
		return reason.Worded("interrupted", w.parent.Err())
	case w.stalled():
		return fmt.Errorf("%s: %w for %v: the network or the controller hangs", c.where(), ErrStalled, c.stall)
	case errors.Is(err, errNotOurs):
		return err
	case errors.As(err, &wrong):
		return wrong
	case errors.As(err, &ended):
		return ended
	case errors.As(err, &untrusted):
		return &UntrustedError{URL: c.name, Err: reason.Worded(reason.OfCertificate(untrusted.Err), untrusted.Err)}
	case errors.As(err, &op) && op.Op == "dial":
		return unreachable(c.where(), op)
	case errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("%s does not speak TLS: %w", c.where(), errNotOurs)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return c.brokeOff("", io.ErrUnexpectedEOF)
	}
	return c.brokeOff(reason.Of(err), unwrapURL(err))
}

// brokeOff says that a connection came about and ended too early.
func (c *Client) brokeOff(why string, err error) error {
	text := "the connection to " + c.where() + " broke off"
	if why != "" {
		text += ": " + why
	}
	return reason.Worded(text, err)
}

// unreachable tells why a connection did not come about.
func unreachable(where string, dial *net.OpError) *UnreachableError {
	if errors.Is(dial.Err, ErrPlainToken) {
		return &UnreachableError{URL: where, Err: dial.Err}
	}
	why := reason.Of(dial)
	switch {
	case errors.Is(dial, mdns.ErrNoAnswer):
		why = mdns.ErrNoAnswer.Error()
	case errors.Is(dial, mdns.ErrNotRunning):
		why += ", and " + mdns.ErrNotRunning.Error()
	case why == "":
		why = "it can't be reached"
	}
	return &UnreachableError{URL: where, Err: reason.Worded(why, dial.Err)}
}
