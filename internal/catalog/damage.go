package catalog

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/raidpi/raidpi/internal/raid"
)

// health is what is known of whether the catalog's bytes are what was written. Any
// goroutine may find out that they are not; that stays so until the process ends.
type health struct {
	log     *slog.Logger
	damaged atomic.Pointer[error]
	first   sync.Once
}

// damage notes that the catalog is damaged. what is for a person: where, and how it shows.
func (h *health) damage(what string) {
	h.first.Do(func() {
		err := fmt.Errorf("%w: %s. Nothing is stored or removed any more. Stop raid-controller and put your newest backup of the catalog in its place: "+
			"/usr/share/doc/raid-controller/catalog.md says how (A damaged catalog)", raid.ErrCatalogDamaged, what)
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

func (h *health) err() error {
	if err := h.damaged.Load(); err != nil {
		return *err
	}
	return nil
}

// Damaged returns an error that wraps raid.ErrCatalogDamaged once bytes of the catalog
// turned out not to be what was written. It stays so until the process ends. No I/O.
func (c *Catalog) Damaged() error { return c.health.err() }

// Vouched returns nil once the whole catalog was checked since the start and found
// good. Until then nothing may be removed on its word. No I/O.
func (c *Catalog) Vouched() error { return c.Damaged() }
