package object

import (
	"io"

	"github.com/raidpi/raidpi/internal/raid"
)

// Upload has what a client sends.
type Upload struct {
	// Size is the exact number of bytes of Body, or -1 when unknown. A body of
	// another length ends the upload with raid.ErrInvalid.
	Size int64
	// Bound is an upper bound of the number of bytes, or -1 when unknown; it
	// only helps to take smaller buffers.
	Bound int64
	// Body is the file. Its errors come back wrapped.
	Body io.Reader
	// Describe tells what the file is called. It is called once, after Body's
	// EOF and before the last stripe is sent, since in a JSON upload the name may
	// follow the contents. Its error ends the upload with nothing stored.
	Describe func() (Description, error)
	// SHA256 is the digest that the client expects, when it is known before the
	// body is; a different one ends the upload with raid.ErrInvalid.
	SHA256 *[32]byte
	// Idempotency, when set, is recorded in the transaction that makes the file.
	Idempotency *raid.IdempotencyKey
}

// Description has what an upload says of its file.
type Description struct {
	Filename    string
	ContentType string
	SHA256      *[32]byte // the digest that the client expects, if any
}
