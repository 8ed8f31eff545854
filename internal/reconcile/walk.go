package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// walkCopies bounds the copies that one look at the catalog takes, so that others get
	// their turn.
	walkCopies = 2000
	// gatherFor is the time that a walk waits for other nodes that are listing, and
	// gatherLook how often it looks whether some are.
	gatherFor  = 30 * time.Second
	gatherLook = 100 * time.Millisecond
)

// walk is a node's wish to have the catalog added up.
type walk struct {
	node   raid.NodeID
	should *sums
	done   chan error // gets one result
}

// isListing counts the nodes that list.
func (r *Reconciler) isListing(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listing += n
}

func (r *Reconciler) anyLists() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.listing > 0
}

// walk adds up what a node should hold, as its own sums are.
func (r *Reconciler) walk(ctx context.Context, node raid.NodeID, like *sums) (*sums, error) {
	w := &walk{node, &sums{seed: like.seed, described: like.described, ranges: make([]sum, len(like.ranges))}, make(chan error, 1)}
	select {
	case r.walks <- w:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case err := <-w.done:
		return w.should, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// walkLoop walks through the catalog whenever a node wants it, once for all that do.
func (r *Reconciler) walkLoop(ctx context.Context) error {
	for {
		var all []*walk
		select {
		case w := <-r.walks:
			all = append(all, w)
		case <-ctx.Done():
			return nil
		}
		for began := time.Now(); r.anyLists() && time.Since(began) < gatherFor && ctx.Err() == nil; {
			t := time.NewTimer(gatherLook)
			select {
			case w := <-r.walks:
				all = append(all, w)
			case <-t.C:
			case <-ctx.Done():
			}
			t.Stop()
		}
		for more := true; more; {
			select {
			case w := <-r.walks:
				all = append(all, w)
			default:
				more = false
			}
		}
		err := r.walkFor(ctx, all)
		for _, w := range all {
			w.done <- err
		}
		if errors.Is(err, raid.ErrCatalogBroken) {
			return err
		}
	}
}

func (r *Reconciler) walkFor(ctx context.Context, all []*walk) error {
	should := map[raid.NodeID]*sums{}
	var nodes []raid.NodeID
	for _, w := range all {
		should[w.node] = w.should
		nodes = append(nodes, w.node)
	}
	var at raid.PartCursor
	for more := true; more; {
		err := r.piece(ctx, func() (err error) {
			at, more, err = r.cfg.Catalog.EachHeld(ctx, nodes, at, walkCopies, func(h *raid.Held) {
				if len(h.Upload) == raid.IDLen {
					should[h.Node].add(chunkSum{h.Upload, h.Stripe, h.Part, h.Attempt, h.Length, h.CRC})
				}
			})
			return err
		})
		if err != nil {
			return fmt.Errorf("add up what nodes should hold: %w", err)
		}
	}
	return nil
}
