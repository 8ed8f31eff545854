package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// pollEvery is the time that the waits sleep between two looks.
const pollEvery = 5 * time.Millisecond

// WaitReady waits until /readyz answers 200 and at least so many nodes are up.
// It fails when the controller ends meanwhile, or after the array's timeout.
func (c *Cluster) WaitReady(ctx context.Context, nodes int) error {
	var last error
	err := c.Wait(ctx, fmt.Sprintf("the array to be ready with %d nodes", nodes), func(ctx context.Context) bool {
		up, err := c.UpNodes(ctx)
		switch {
		case err != nil:
			last = err
		case up < nodes:
			last = fmt.Errorf("%d of %d nodes are up", up, nodes)
		case nodes == 0: // without nodes it is alive and rightly not ready
			return true
		default:
			last = c.API.Ready(ctx)
		}
		return last == nil
	})
	if err != nil && last != nil {
		return fmt.Errorf("%w: %w", err, last)
	}
	return err
}

// UpNodes counts the nodes that the controller calls up.
func (c *Cluster) UpNodes(ctx context.Context) (int, error) {
	nodes, err := c.API.Nodes(ctx)
	up := 0
	for _, n := range nodes {
		if n.State == "up" {
			up++
		}
	}
	return up, err
}

// AllExplained restarts the controller, which then compares the chunks on the nodes that are up
// with its catalog. It fails unless a row explains each chunk.
func (c *Cluster) AllExplained(ctx context.Context) error {
	up, err := c.UpNodes(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(c.Controller.Terminate(c.timeout), c.Controller.Start()); err != nil {
		return err
	}
	if err := c.WaitUp(ctx, up); err != nil {
		return err
	}
	var last *int64
	err = c.Wait(ctx, "all chunks to be explained", func(ctx context.Context) bool {
		last, err = c.API.Unexplained(ctx)
		return err == nil && last != nil
	})
	switch {
	case err != nil:
		return err
	case *last != 0:
		return fmt.Errorf("%d chunks on the nodes belong to nothing that the catalog knows", *last)
	}
	return nil
}

// WaitUp waits until exactly so many nodes are up.
func (c *Cluster) WaitUp(ctx context.Context, nodes int) error {
	return c.Wait(ctx, fmt.Sprintf("%d nodes to be up", nodes), func(ctx context.Context) bool {
		up, err := c.UpNodes(ctx)
		return err == nil && up == nodes
	})
}

// Wait looks every few milliseconds whether what happened, for as long as the
// array's timeout and the controller last.
func (c *Cluster) Wait(ctx context.Context, what string, happened func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var ended <-chan struct{}
	if c.Controller != nil {
		ended = c.Controller.Exited()
	}
	for {
		if happened(ctx) {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("wait for %s: the controller %w, status %d; its log:\n%s",
				what, errEnded, c.Controller.ExitCode(), c.Controller.LogTail(20))
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: not within %v", what, c.timeout)
		case <-time.After(pollEvery):
		}
	}
}
