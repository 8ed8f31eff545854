package catalog

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/raidpi/raidpi/internal/raid"
)

// manual is where a person reads on.
const manual = "/usr/share/doc/raid-controller/catalog.md"

// health holds what is known of whether the catalog's bytes are what was written. Any
// goroutine may find out that they are not; that stays so until the process ends.
type health struct {
	log     *slog.Logger
	damaged atomic.Pointer[error]
	first   sync.Once
	older   atomic.Pointer[error] // it lacks what was committed before; see past

	// doubt: pages without a seal were met, which another program must have written.
	// They may be right. It ends when everything was checked; see checker.
	doubt   atomic.Bool
	checked atomic.Bool // everything was, once, since the start
	wake    chan struct{}
	cleared chan struct{} // see Catalog.Cleared
}

func newHealth(log *slog.Logger) *health {
	return &health{log: log, wake: make(chan struct{}, 1), cleared: make(chan struct{}, 1)}
}

func (h *health) tellCleared() {
	select {
	case h.cleared <- struct{}{}:
	default:
	}
}

// damage notes that the catalog is damaged. what is for a person: where, and how it shows.
func (h *health) damage(what string) {
	h.first.Do(func() {
		err := fmt.Errorf("%w: %s. Nothing is stored or removed any more; what can be read still is. Stop raid-controller and put your newest backup of the catalog in its place, "+
			"or, without one, try: sudo -u raid-controller raid-controller --rebuild-catalog. %s says how (A damaged catalog)", raid.ErrCatalogDamaged, what, manual)
		h.damaged.Store(&err)
		h.log.Error("the catalog is damaged: uploads and deletes stop, nothing is removed from nodes", "found", what)
	})
}

// notice notes what an error tells of damage that a call has met; nil tells nothing.
func (h *health) notice(during string, err error) {
	if err != nil && damaged(err) {
		h.damage(fmt.Sprintf("%s: %v", during, err))
	}
}

// page notes what is wrong with a page.
func (h *health) page(number uint32, v verdictOfPage) {
	switch v {
	case pageForeign:
		if !h.doubt.Swap(true) {
			h.log.Warn("pages of the catalog have no checksum: a program other than raid-controller wrote them. All of it is checked before anything is stored or removed", "page", number)
		}
		select {
		case h.wake <- struct{}{}:
		default:
		}
	case pageRotten:
		h.damage(fmt.Sprintf("page %d does not match its checksum", number))
	case pageZero:
		h.damage(fmt.Sprintf("page %d is empty", number))
	}
}

// frame notes a page of the log that is not what was written.
func (h *health) frame(number int64) {
	h.damage(fmt.Sprintf("frame %d of the log, catalog.db-wal, does not match its checksum", number+1))
}

// errDoubt is the reason while pages without checksums are looked into.
var errDoubt = fmt.Errorf("%w: the catalog was written to by another program and is being checked; nothing is stored or removed until that is done", raid.ErrBusy)

// err tells why the catalog is not to be believed, if it is not.
func (h *health) err() error {
	if err := h.damaged.Load(); err != nil {
		return *err
	}
	if err := h.older.Load(); err != nil {
		return *err
	}
	if h.doubt.Load() {
		return errDoubt
	}
	return nil
}

// errUnchecked is the reason before everything was checked once.
var errUnchecked = fmt.Errorf("%w: the catalog is being checked since the start", raid.ErrBusy)

// Damaged returns an error that wraps raid.ErrCatalogDamaged once bytes of the catalog
// turned out not to be what was written, and one that wraps raid.ErrCatalogBehind when
// it lacks what was committed. It stays so until the process ends. While pages that
// another program wrote are being checked, the error wraps raid.ErrBusy. No I/O.
func (c *Catalog) Damaged() error { return c.health.err() }

// Cleared gets a value whenever a check has ended well that removals, or everything,
// waited for. It has one reader.
func (c *Catalog) Cleared() <-chan struct{} { return c.health.cleared }

// Vouched returns nil once the whole catalog was checked since the start and found
// good. Until then nothing may be removed on its word. No I/O.
func (c *Catalog) Vouched() error {
	if err := c.health.err(); err != nil {
		return err
	}
	if !c.health.checked.Load() {
		return errUnchecked
	}
	return nil
}
