package raid

import "errors"

// Sentinel errors that cross package borders. They are matched with errors.Is;
// the text that wraps them tells what happened, to what, and what to do.
var (
	// ErrNotFound: no such file or chunk.
	ErrNotFound = errors.New("not found")
	// ErrCorrupt: stored bytes fail their checksum or do not say what they should.
	ErrCorrupt = errors.New("corrupt")
	// ErrNoSpace: a disk has no room beyond its reserve.
	ErrNoSpace = errors.New("no space left")
	// ErrReadOnly: a disk takes no writes, after a failed write or by its mount.
	ErrReadOnly = errors.New("read only")
	// ErrBusy: a peer can't do it now and may later.
	ErrBusy = errors.New("busy")
	// ErrUnsupported: a peer does not know the request.
	ErrUnsupported = errors.New("unsupported")
	// ErrExpired: the request's time was over before it was done.
	ErrExpired = errors.New("time is over")
	// ErrPeerGone: the session or connection ended before an answer came.
	ErrPeerGone = errors.New("peer gone")
	// ErrTooFewNodes: not enough nodes are up for what was asked.
	ErrTooFewNodes = errors.New("too few nodes")
	// ErrArrayFull: no node that is up has room.
	ErrArrayFull = errors.New("array full")
	// ErrCatalogBehind: a node has seen a newer catalog than the controller's.
	ErrCatalogBehind = errors.New("catalog is behind the nodes")
	// ErrCatalogBroken: a write to the catalog failed and its outcome is unknown;
	// the process must end.
	ErrCatalogBroken = errors.New("catalog is broken")
	// ErrCatalogDamaged: bytes of the catalog are not what was written. What is read
	// from its other pages is right; what it does not know may exist all the same.
	ErrCatalogDamaged = errors.New("catalog is damaged")
	// ErrInvalid: the caller's input is not acceptable.
	ErrInvalid = errors.New("invalid")
	// ErrTooLarge: the caller's input is over a limit.
	ErrTooLarge = errors.New("too large")
	// ErrConflict: what is asked for does not fit how things are now.
	ErrConflict = errors.New("not possible as things are")
	// ErrPrecondition: a condition that the caller named does not hold.
	ErrPrecondition = errors.New("precondition failed")
	// ErrUnauthorized: the caller has not proved who it is, or its token is over.
	ErrUnauthorized = errors.New("not authorized")
	// ErrForbidden: the caller is known, and may not do this.
	ErrForbidden = errors.New("not allowed")
	// ErrGone: a node was removed from the array, which it never is again under this id.
	ErrGone = errors.New("removed for good")
	// ErrUpgrade: a peer's version is too old or too new.
	ErrUpgrade = errors.New("versions do not fit")
	// ErrShutdown: the daemon is stopping.
	ErrShutdown = errors.New("shutting down")
)
