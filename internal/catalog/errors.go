package catalog

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/raidpi/raidpi/internal/raid"
)

// advised is an error that says what a person can do.
type advised struct{ error }

func (a advised) Unwrap() error { return a.error }

// Advised reports whether an error of Open says already what a person can do about
// the folder or its disk.
func Advised(err error) bool {
	var a advised
	return errors.As(err, &a)
}

// verdict says how far an error reaches.
type verdict int

const (
	callFailed    verdict = iota // that call changed nothing; others are not concerned
	groupFailed                  // the transaction is rolled back, nothing was written
	catalogBroken                // the outcome is unknown
)

// judge classifies an error of a statement before COMMIT. An error that is not
// SQLite's is the call's own.
func judge(err error) verdict {
	switch primaryCode(err) {
	case sqlite3.SQLITE_OK, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG,
		sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE:
		return callFailed
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return groupFailed
	}
	return catalogBroken
}

// primaryCode is SQLite's result code without its extension, 0 for other errors.
func primaryCode(err error) int {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return sqlite3.SQLITE_OK
	}
	return e.Code() & 0xff
}

// inWords puts SQLite's reasons into the words of raid.
func inWords(err error) error {
	switch primaryCode(err) {
	case sqlite3.SQLITE_OK:
		return err
	case sqlite3.SQLITE_CONSTRAINT:
		return fmt.Errorf("%w: %w", raid.ErrPrecondition, err)
	case sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH:
		return fmt.Errorf("%w: %w", raid.ErrInvalid, err)
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w on the catalog's disk, nothing was stored; free some: %w", raid.ErrNoSpace, err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("%w: another program holds a lock on the catalog's database; end it: %w", raid.ErrBusy, err)
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w: %w", raid.ErrCatalogDamaged, err)
	case sqlite3.SQLITE_IOERR:
		return fmt.Errorf("the catalog's disk can't be read or written, see journalctl -k: %w", err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return fmt.Errorf("the catalog's files can't be opened for writing; they must belong to the user raid-controller, on a disk that is not read-only: %w", err)
	}
	return err
}
