package wire

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
)

// maxErrorText bounds the text of an error on the wire, in bytes.
const maxErrorText = 1024

// errorCodes mirrors the protocol's error enum, the one place that does. The
// first sentinel that an error wraps gives its code.
var errorCodes = [...]struct {
	code     wirepb.Error
	sentinel error
}{
	{wirepb.Error_NOT_FOUND, raid.ErrNotFound},
	{wirepb.Error_CORRUPT, raid.ErrCorrupt},
	{wirepb.Error_NO_SPACE, raid.ErrNoSpace},
	{wirepb.Error_READ_ONLY, raid.ErrReadOnly},
	{wirepb.Error_BUSY, raid.ErrBusy},
	{wirepb.Error_BUSY, raid.ErrShutdown},
	{wirepb.Error_UNSUPPORTED, raid.ErrUnsupported},
	{wirepb.Error_EXPIRED, raid.ErrExpired},
	{wirepb.Error_EXPIRED, context.DeadlineExceeded},
	{wirepb.Error_INVALID, raid.ErrInvalid},
	{wirepb.Error_INVALID, raid.ErrTooLarge},
}

// errInternal stands for INTERNAL and for codes that a newer node may know.
var errInternal = errors.New("internal error")

// RemoteError is an error that a node answered. It wraps the raid sentinel that
// its code stands for.
type RemoteError struct {
	Text     string // the node's own words
	sentinel error
}

// Error gives the node's words, or the code's when it sent none.
func (e *RemoteError) Error() string {
	if e.Text == "" {
		return "node answers: " + e.sentinel.Error()
	}
	return "node answers: " + e.Text
}

// Unwrap is the sentinel.
func (e *RemoteError) Unwrap() error { return e.sentinel }

// encodeError turns a handler's error into code and text; nil is OK.
func encodeError(err error) (wirepb.Error, string) {
	if err == nil {
		return wirepb.Error_OK, ""
	}
	text := strings.ToValidUTF8(err.Error(), "?")
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "")
	}
	for _, m := range errorCodes {
		if errors.Is(err, m.sentinel) {
			return m.code, text
		}
	}
	return wirepb.Error_INTERNAL, text
}

// decodeError turns a code and a text from the wire into an error; OK is nil.
func decodeError(code wirepb.Error, text string) error {
	if code == wirepb.Error_OK {
		return nil
	}
	e := &RemoteError{Text: clip(text, maxErrorText), sentinel: errInternal}
	for _, m := range errorCodes {
		if m.code == code {
			e.sentinel = m.sentinel
			break
		}
	}
	return e
}

// contextError says why ctx ended: a deadline is raid.ErrExpired, anything else
// is ctx's own error.
func contextError(ctx context.Context, doing string) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", doing, raid.ErrExpired)
	}
	return fmt.Errorf("%s: %w", doing, ctx.Err())
}

// gone is raid.ErrPeerGone with the reason that the session ended for.
func gone(doing string, why error) error {
	if why == nil {
		return fmt.Errorf("%s: %w", doing, raid.ErrPeerGone)
	}
	return fmt.Errorf("%s: %w: %v", doing, raid.ErrPeerGone, why)
}
