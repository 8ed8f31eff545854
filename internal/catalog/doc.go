// Package catalog keeps in SQLite what files exist and which chunks on which
// nodes make them. docs/catalog.md describes the schema.
//
// # States
//
// An upload is uploading, complete, trashed or going. Only a complete one is a file. A
// trashed one was deleted, and can be put back. One that is going never comes back: it
// waits until Sweep has turned its chunks into removals. An upload has a row from Begin
// on; a small one gets its row with Finish.
//
//	(none) --Begin--> uploading --Finish--> complete --Delete--> trashed
//	   \                   \                 ^    \  <--Undelete--  /
//	    +-------------------|----Finish------+     \               /
//	                        +--Abandon--> going <--Purge, Discard-+
//	                                        +--Sweep--> (none)
//
// With no time to keep them, Delete does what Purge does.
//
// # Durability
//
// A write that returned nil is on disk: WAL, synchronous=FULL. Writes go through
// one goroutine that puts those which wait into one transaction, each under a
// savepoint of its own, so that they share an fsync and one that fails does not
// fail the others. Each transaction raises the commit number by one.
//
// A write that fails for its own reasons, such as [raid.ErrNotFound], has changed
// nothing. [raid.ErrNoSpace] means that nothing was written because the disk is
// full up to the reserve. When a COMMIT fails, or anything reports an I/O error,
// the outcome is unknown. Broken is closed, every call returns
// [raid.ErrCatalogBroken], and nothing is written any more. The process must end;
// the next start believes what it reads.
//
// A call whose context ends while it waits for its turn has changed nothing and
// returns the context's error. Once its turn has come it waits for the outcome.
//
// # Caveats
//
//   - One process at a time: Open holds a lock on a file beside the database.
//     Other programs may read it; one that holds a write lock for longer than
//     two seconds makes writes fail with [raid.ErrBusy].
//   - Nothing is written while nothing changes.
//   - Times are monotonic and counted anew from each start, but for the end of REST
//     tokens and the age of nodes' keys; see wallClock.
//   - A node that was removed keeps its row and its key: it must stay known.
//   - Chunk names have no column: they follow from the upload and three numbers.
package catalog
