package node

import (
	"context"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/scrub"
)

// newScrub makes what reads a session's chunks now and then.
func (d *daemon) newScrub(l *session) *scrub.Scrubber {
	return scrub.New(scrub.Config{
		Disk: l.store, ID: string(d.disk.ID) + " " + string(d.disk.Node()), QuietFor: l.store.QuietFor,
		Chunks: func() int64 { return l.store.Stats().Chunks }, Now: d.cfg.Now, Log: l.log,
	})
}

// scrubs runs it until ctx ends.
func (l *session) scrubs(ctx context.Context) error {
	l.scrub.Run(ctx)
	return nil
}

// scrubHandler does what a native controller wants of the scrub.
type scrubHandler struct {
	store *chunkstore.Store
	scrub *scrub.Scrubber
}

// Order implements wire.ScrubHandler.
func (h scrubHandler) Order(o raid.ScrubOrder) {
	h.store.KeepCorrupt(o.Keep)
	h.scrub.Order(o)
}

// Start implements wire.ScrubHandler.
func (h scrubHandler) Start() { h.scrub.Start() }

// Bad implements wire.ScrubHandler.
func (h scrubHandler) Bad(after raid.ChunkName, limit int) ([]raid.ChunkName, bool) {
	return h.store.CorruptNames(after, limit)
}
