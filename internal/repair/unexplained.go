package repair

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// Record is what the catalog knows of chunks.
type Record interface {
	// Unexplained returns those of the chunks on a node of which nothing is on record.
	Unexplained(ctx context.Context, node raid.NodeID, keys []raid.ChunkKey) ([]raid.ChunkKey, error)
}

// A node's chunks are compared with the catalog once it was cleaned in a session, and
// then rarely, as that has it read all its directories.
const (
	countEvery = 24 * time.Hour
	countAgain = time.Minute // as long as something is unexplained: it may have come between
	countLook  = time.Second // until a node that came is cleaned
	countLimit = time.Hour   // for one node
	// After a count that failed a node rests: twice as long as the last time, up to an
	// hour, and restOfCount times as long as it was tried.
	countRetry  = 5 * time.Second
	restOfCount = 20
	// suspectsAtMost bounds the chunks that are looked at a second time, and
	// strayedAtMost what is counted: a node may make up names without end.
	suspectsAtMost = 1000
	strayedAtMost  = 20_000
)

// count is how many chunks of a node nothing explains.
type count struct {
	session raid.SessionID
	at      time.Time
	chunks  int64
	rest    time.Duration // it could not be counted, and is not tried again before; 0: it was
}

// Unexplained is how many chunks on the nodes that are there nothing explains: no copy,
// no recorded removal, no upload under way. Nothing is removed on that account. known is
// false while a node was not compared yet.
func (r *Repairer) Unexplained() (chunks int64, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.cfg.Nodes.Natives() {
		c, ok := r.counts[p.ID()]
		if !ok || c.session != p.Session() || c.rest > 0 {
			return 0, false
		}
		chunks += c.chunks
	}
	return chunks, true
}

// countLoop keeps the counts.
func (r *Repairer) countLoop(ctx context.Context) error {
	for {
		changed := r.cfg.Nodes.Changed()
		next, err := r.countPass(ctx)
		if errors.Is(err, raid.ErrCatalogBroken) {
			return err
		}
		if err != nil {
			r.cfg.Log.Debug("chunks could not be compared with the catalog", "cause", err)
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-changed:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// countPass counts on the nodes that are due, and returns when the next one is.
func (r *Repairer) countPass(ctx context.Context) (next time.Duration, err error) {
	if r.cfg.Record == nil || r.cfg.Nodes.Behind() != nil {
		return countEvery, nil
	}
	peers := r.cfg.Nodes.Natives()
	r.forgetCounts(peers)
	next = countEvery
	g := &errgroup.Group{} // a node that fails at once ends no other's count
	for _, p := range peers {
		switch due := r.countDue(p); {
		case due > 0:
			next = min(next, due)
		case p.Suspect() || !r.cleaned(p):
			next = min(next, countLook)
		default:
			next = min(next, countAgain)
			g.Go(func() error { return r.countNode(ctx, p) })
		}
	}
	if err = g.Wait(); err != nil {
		next = min(next, countRetry)
	}
	return next, err
}

// countDue is the time until the node is to be compared.
func (r *Repairer) countDue(p *membership.Peer) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.counts[p.ID()]
	switch {
	case !ok || c.session != p.Session():
		return 0
	case c.rest > 0:
		return c.rest - time.Since(c.at)
	case c.chunks > 0 && c.chunks < strayedAtMost:
		return countAgain - time.Since(c.at)
	}
	return countEvery - time.Since(c.at)
}

// cleaned reports whether nothing is to be found on the node any more that an earlier
// run has left, or it is not looked for.
func (r *Repairer) cleaned(p *membership.Peer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.searches[p.ID()]
	return r.cfg.Nodes.CleanedRun(p.ID()) >= r.cfg.Run || s != nil && s.session == p.Session() && s.ended
}

func (r *Repairer) forgetCounts(there []*membership.Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.counts {
		if !slices.ContainsFunc(there, func(p *membership.Peer) bool { return p.ID() == id }) {
			delete(r.counts, id)
		}
	}
}

// countNode counts on a node. One on which that fails rests, and for longer the longer it
// was tried: it is read through from the beginning.
func (r *Repairer) countNode(ctx context.Context, p *membership.Peer) error {
	began := time.Now()
	err := r.compareNode(ctx, p)
	if err != nil && ctx.Err() == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		c := count{session: p.Session(), at: time.Now(), rest: countRetry}
		if last := r.counts[p.ID()]; last.session == c.session {
			c.rest = max(c.rest, min(2*last.rest, time.Hour))
		}
		c.rest = min(max(c.rest, restOfCount*time.Since(began)), countEvery)
		r.counts[p.ID()] = c
	}
	return err
}

// compareNode compares a node's chunks with the catalog, page by page.
func (r *Repairer) compareNode(ctx context.Context, p *membership.Peer) error {
	ctx, cancel := context.WithTimeout(ctx, countLimit)
	defer cancel()
	var suspects []raid.ChunkKey
	more := int64(0) // beyond those
	l := listing{node: p, req: wire.ListRequest{Limit: listBatch, MaxRun: math.MaxUint32}}
	for !l.over && more < strayedAtMost {
		page, err := l.next(ctx)
		if err != nil {
			return fmt.Errorf("list chunks of node %s: %w", p.ID(), err)
		}
		found, err := r.unexplained(ctx, p, page)
		if err != nil {
			return err
		}
		fit := min(len(found), suspectsAtMost-len(suspects))
		suspects, more = append(suspects, found[:fit]...), more+int64(len(found)-fit)
	}
	left, err := r.stillThere(ctx, p, suspects)
	if err != nil {
		return err
	}
	c := count{session: p.Session(), at: time.Now(), chunks: int64(len(left)) + more}
	r.mu.Lock()
	before := r.counts[p.ID()].chunks
	r.counts[p.ID()] = c
	r.mu.Unlock()
	if c.chunks > 0 && c.chunks != before && r.strays.due() {
		r.cfg.Log.Warn("a node holds chunks that nothing explains; they stay", "node", p.ID(), "chunks", c.chunks, "such_as", someName(left))
	}
	return nil
}

// unexplained returns the chunks that neither an upload under way nor the catalog
// explains. Uploads are asked first: one that ends in between is in the catalog then.
func (r *Repairer) unexplained(ctx context.Context, p *membership.Peer, keys []raid.ChunkKey) ([]raid.ChunkKey, error) {
	keys = slices.DeleteFunc(slices.Clone(keys), func(k raid.ChunkKey) bool { return r.cfg.Maker.UnderWay(k.Upload) })
	if len(keys) == 0 {
		return nil, nil
	}
	return r.cfg.Record.Unexplained(ctx, p.ID(), keys)
}

// stillThere asks for suspects once more: a chunk may have been removed since it was
// listed. A node that can't tell is believed to have them.
func (r *Repairer) stillThere(ctx context.Context, p *membership.Peer, suspects []raid.ChunkKey) (left []raid.ChunkKey, err error) {
	for batch := range slices.Chunk(suspects, inspectBatch) {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		got, err := p.Inspect(call, namesOf(batch))
		cancel()
		switch {
		case errors.Is(err, raid.ErrUnsupported):
			left = append(left, batch...)
			continue
		case err != nil:
			return nil, err
		}
		for i, in := range got {
			if !errors.Is(in.Err, raid.ErrNotFound) {
				left = append(left, batch[i])
			}
		}
	}
	return r.unexplained(ctx, p, left)
}

func someName(keys []raid.ChunkKey) raid.ChunkName {
	if len(keys) == 0 {
		return ""
	}
	return keys[0].Name()
}
