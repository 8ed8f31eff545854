package reconcile

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/inventory"
	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// pageLimit bounds the chunks that a node is asked for at once. It may answer fewer.
const pageLimit = 250

// node says how far a connected node was compared. What is not said to be under
// Reconciler.mu belongs to the goroutine that compares.
type node struct {
	r          *Reconciler
	session    raid.SessionID
	connection <-chan struct{} // Done of its peer
	ended      chan struct{}   // closed when the goroutine is over

	result result // under Reconciler.mu, but its own goroutine alone writes it

	list  *inventory.Listing // nil: none is begun
	sums  *sums              // of what was listed
	spans []span             // what is to be looked at closely; nil: not known yet
	part  bool               // spans are only what had something unexplained
	look  look

	older bool // some of it is of an earlier session

	due       time.Time     // zero: now
	full      time.Time     // when all of it was compared last
	pause     time.Duration // the last rest after a failure, or before another look
	notBefore time.Time     // no earlier, whoever comes back
}

// result is that of the last comparison.
type result struct {
	session raid.SessionID // that was compared; empty: none was
	done    time.Time
	running bool
	refused bool
	outcome outcome
	strayed int64  // chunks that nothing explains
	strayAt []span // where those are
}

// outcome counts what a comparison found wrong.
type outcome struct {
	missing, wrong, revived, unclear int64
	files                            map[raid.FileID]bool // some of those concerned
}

// serve compares a node for as long as its connection lasts. before is who did that last,
// or nil.
func (n *node) serve(ctx context.Context, p *membership.Peer, before *node) error {
	if before != nil {
		<-before.ended
		n.notBefore = before.notBefore
		n.r.mu.Lock()
		n.result = before.result
		n.r.mu.Unlock()
		if before.list != nil || before.spans != nil && !before.part {
			// What was begun goes on where it broke off, or a node with a bad connection
			// would never be done. It may be another disk now, so all of it follows.
			n.list, n.sums, n.spans, n.look, n.older = before.list, before.sums, before.spans, before.look, true
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-p.Done():
			cancel()
		case <-ctx.Done():
		}
	})
	defer watch.Wait()
	defer cancel()
	for {
		wait := max(time.Until(n.due), time.Until(n.notBefore))
		if wait <= 0 && !n.ready(p) {
			wait = lookEvery
		}
		if wait > 0 {
			if sleep(ctx, wait) != nil {
				return nil
			}
			continue
		}
		began := time.Now()
		n.running(true)
		err := n.compare(ctx, p)
		n.running(false)
		if errors.Is(err, raid.ErrCatalogBroken) {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		n.plan(p, err, time.Since(began))
	}
}

// ready reports whether the node can be compared now.
func (n *node) ready(p *membership.Peer) bool {
	nodes := n.r.cfg.Nodes
	return p.Scanned() && !p.Suspect() && !p.ClaimsNewer() && nodes.StaleCatalog() == nil && nodes.WarmUp() == 0 && n.r.cfg.Leftovers.Cleaned(p)
}

func (n *node) running(on bool) {
	n.r.mu.Lock()
	defer n.r.mu.Unlock()
	n.result.running = on
}

// plan says when the node is compared again, after a comparison that took some time.
func (n *node) plan(p *membership.Peer, err error, took time.Duration) {
	now := time.Now()
	if err == nil && !n.part {
		n.full, n.notBefore = now, now.Add(min(restFactor*took, n.r.interval))
	}
	older := n.older && err == nil
	n.older = n.older && !older
	switch {
	case older:
		n.due = now
	case errors.Is(err, inventory.ErrLies):
		n.list, n.sums, n.spans = nil, nil, nil
		n.refuse(p, err)
		n.due = now.Add(math.MaxInt64 - time.Hour) // its next connection begins anew
	case err != nil:
		n.pause = max(restMin, min(2*n.pause, restMax))
		n.due = now.Add(min(max(n.pause, restFactor*took), n.r.interval))
		n.r.cfg.Log.Debug("a node could not be compared with the catalog", "node", p.ID(), "again_in", time.Until(n.due), "cause", err)
	case n.result.strayed > 0 && n.result.strayed < strayedAtMost:
		n.pause = min(max(2*n.pause, againMin), againMax)
		n.due = now.Add(min(n.pause, time.Until(n.full.Add(n.r.interval))))
		if time.Until(n.due) > 0 { // else all of it is due
			n.spans, n.part = n.result.strayAt, true
		}
	default:
		n.pause = 0
		n.due = n.full.Add(n.r.interval)
	}
}

func (n *node) refuse(p *membership.Peer, why error) {
	n.r.mu.Lock()
	n.result.refused = true
	n.r.mu.Unlock()
	p.Accuse(fmt.Sprintf("its chunks could not be compared with the catalog: %v. What is missing there is not noticed before somebody reads it", why))
	if n.r.logLimit.due() {
		n.r.cfg.Log.Warn("a node is not compared with the catalog until it connects again", "node", p.ID(), "cause", why)
	}
}

// compare compares the node, or what is left of that.
func (n *node) compare(ctx context.Context, p *membership.Peer) error {
	if n.spans == nil {
		if err := n.find(ctx, p); err != nil {
			return err
		}
	}
	if err := n.lookAt(ctx, p); err != nil {
		return err
	}
	return n.conclude(ctx, p)
}

// find lists the node's chunks and has the catalog walked through, and so finds what is to
// be looked at closely.
func (n *node) find(ctx context.Context, p *membership.Peer) error {
	if n.list == nil {
		n.sums = &sums{seed: maphash.MakeSeed(), ranges: make([]sum, rangesFor(p.Heartbeat().Chunks))}
		n.list = &inventory.Listing{Request: wire.ListRequest{Limit: pageLimit, MaxRun: math.MaxUint32}, Describe: true}
	}
	room := int64(2 * sumSize * len(n.sums.ranges))
	if err := n.r.room.Acquire(ctx, room); err != nil {
		return err
	}
	defer n.r.room.Release(room)
	if err := n.listAll(ctx, p); err != nil {
		return err
	}
	should, err := n.r.walk(ctx, p.ID(), n.sums)
	if err != nil {
		return err
	}
	n.spans, n.part = append([]span{}, n.sums.differences(should)...), false
	n.look = look{}
	n.list, n.sums = nil, nil
	return nil
}

// listAll adds up all chunks that the node lists, or the rest of them.
func (n *node) listAll(ctx context.Context, p *membership.Peer) error {
	select {
	case n.r.lists <- struct{}{}:
		defer func() { <-n.r.lists }()
	case <-ctx.Done():
		return ctx.Err()
	}
	n.r.isListing(1)
	defer n.r.isListing(-1)
	for !n.list.Over() {
		next := *n.list // a page that fails is asked for again
		next.Node = p
		var page []inventory.Chunk
		err := n.r.piece(ctx, func() (err error) {
			page, err = next.Next(ctx)
			return err
		})
		if err != nil {
			return fmt.Errorf("list chunks of node %s: %w", p.ID(), err)
		}
		if n.list.Request.After == "" && len(page) > 0 {
			n.sums.described = page[0].Described
		}
		for i := range page {
			c := &page[i]
			if c.Described != n.sums.described {
				return fmt.Errorf("list chunks of node %s: %w: it describes some and others not", p.ID(), inventory.ErrLies)
			}
			upload := string(c.Name[:raid.IDLen])
			if c.Err != nil {
				n.sums.markDifferent(upload)
				continue
			}
			n.sums.add(chunkSum{upload, c.Key.Stripe, c.Key.Part, c.Key.Attempt, c.Length, c.CRC})
		}
		n.list = &next
	}
	return nil
}
