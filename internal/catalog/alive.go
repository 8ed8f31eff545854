package catalog

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/raidpi/raidpi/internal/raid"
)

// WriterMoves returns once the writer's goroutine has got to its next step: at once
// when it waits for work, else when the statement, the fsync or the checkpoint that
// it is at is over. Nothing is written. It fails with the context's error.
func (c *Catalog) WriterMoves(ctx context.Context) error {
	select {
	case c.writer.looks <- struct{}{}:
		return nil
	case <-c.writer.stopped: // the catalog is closed: whoever closed it goes on
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ReaderMoves returns once one reader was free and has read something. A disk that
// answers with an error answers all the same. It fails with the context's error.
func (c *Catalog) ReaderMoves(ctx context.Context) error {
	err := c.read(ctx, "read one row", func(r *conn) error {
		return r.query(func([]driver.Value) error { return nil }, "SELECT run FROM meta")
	})
	if ctx.Err() != nil && !errors.Is(err, raid.ErrShutdown) {
		return ctx.Err()
	}
	return nil
}
