package catalog

import (
	"context"
	"fmt"
)

// committed and publish are the writer's access to the state.
func (c *Catalog) committed() state { return c.state }

func (c *Catalog) publish(t *tx) {
	c.mu.Lock()
	c.state.apply(t)
	c.mu.Unlock()
	c.commit.Store(t.meta.commit)
	for _, f := range t.after {
		f()
	}
}

// write has the writer do o.
func (c *Catalog) write(ctx context.Context, o *op) error { return c.writer.do(ctx, o) }

// read runs f with a connection that reads.
func (c *Catalog) read(ctx context.Context, name string, f func(*conn) error) error {
	if err := c.writer.check(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	select {
	case <-c.closing:
		return errClosed(name)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", name, ctx.Err())
	default:
	}
	select {
	case <-c.closing:
		return errClosed(name)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", name, ctx.Err())
	case r := <-c.readers:
		defer func() { c.readers <- r }()
		c.reading.RLock()
		defer c.reading.RUnlock()
		if err := f(r); err != nil {
			c.health.notice(name, err)
			return fmt.Errorf("%s: %w", name, inWords(err))
		}
		return nil
	}
}
