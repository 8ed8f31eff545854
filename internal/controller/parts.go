package controller

import (
	"context"
	"errors"
	"net"
)

// healthProbes are what of a controller has to move, and how each is asked. None waits for a
// node, and none writes: an idle array leaves its card alone.
//
// Repair is not among them. What it waits for, for minutes, are nodes, whose calls
// have limits of their own; whatever else it needs is one of these.
func (c *Controller) healthProbes() map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"the catalog's writer":   c.catalog.WriterMoves,
		"the catalog's readers":  c.catalog.ReaderMoves,
		"the list of nodes":      taken(func() { c.members.Nodes() }),
		"the nodes' connections": c.hub.Moves,
		"the memory for files":   taken(func() { c.pool.InUse() }),
		"REST": func(ctx context.Context) error {
			if err := c.rest.Alive(ctx); !errors.Is(err, net.ErrClosed) {
				return err
			}
			return nil // it has ended, and requests under way are waited for
		},
	}
}

// taken asks a part that answers once its locks could be had.
func taken(look func()) func(context.Context) error {
	return func(context.Context) error {
		look()
		return nil
	}
}
