package identity

import "errors"

// Errors are matched with errors.Is. Their texts hold no key, secret or proof.
var (
	// ErrDamaged: a file is half-written or is none of ours.
	ErrDamaged = errors.New("damaged")
	// ErrExposed: a file with a key can be read or written by others.
	ErrExposed = errors.New("open to other users")
	// ErrForeign: something belongs to another array, node or key.
	ErrForeign = errors.New("belongs to another")
	// ErrNotJoined: there is no identity in the directory.
	ErrNotJoined = errors.New("not joined")
	// ErrClone: the identity was made on another machine.
	ErrClone = errors.New("this card is a clone")
	// ErrCSR: a certificate request is not acceptable.
	ErrCSR = errors.New("certificate request refused")
	// ErrStranger: a peer's certificate was not made by this array's CA.
	ErrStranger = errors.New("not a member of this array")
	// ErrRole: a peer's certificate is genuine, but for something else.
	ErrRole = errors.New("certificate is for another role")
	// ErrRemoved: the peer's node was removed from the array.
	ErrRemoved = errors.New("node was removed")
	// ErrWrongPin: a controller is not the one that a token was made for, or whose
	// fingerprint is known.
	ErrWrongPin = errors.New("not the controller that the token was made for")
	// ErrEnded: a controller's certificate is over, by the clock that was asked.
	ErrEnded = errors.New("its certificate has ended")
	// ErrNotToken: a text does not look like a token.
	ErrNotToken = errors.New("not a token")
	// ErrMistyped: a text looks like a token, and its check digits don't fit.
	ErrMistyped = errors.New("token was mistyped")
	// ErrFingerprint: a text is no fingerprint of a CA.
	ErrFingerprint = errors.New("not a fingerprint")
	// ErrProof: a proof was made with another secret, on another connection or
	// for another certificate request.
	ErrProof = errors.New("proof does not fit")
)
