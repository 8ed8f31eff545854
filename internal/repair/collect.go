package repair

import (
	"context"
	"errors"
	"fmt"

	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
)

// collectPass has what is on record removed from the nodes that are there.
func (r *Repairer) collectPass(ctx context.Context) (left bool, err error) {
	if r.isStale() {
		return false, nil
	}
	if !r.mayRemove() {
		return true, nil
	}
	for more := true; more; {
		if more, err = r.cfg.Queue.Sweep(ctx, sweepBatch); err != nil {
			return true, fmt.Errorf("turn deleted files into removals: %w", err)
		}
	}
	peers := r.cfg.Nodes.Natives()
	r.endSearches(peers)
	for _, p := range peers {
		r.collectSoon(ctx, p)
	}
	return false, nil
}

// collectNode brings one node up to date. Its own failures only postpone the work;
// the catalog's are returned.
func (r *Repairer) collectNode(ctx context.Context, p *membership.Peer) (left bool, err error) {
	if p.Suspect() {
		return true, nil
	}
	if p.ClaimsNewer() {
		return false, nil // until the claim ends
	}
	if r.cfg.Nodes.CleanedRun(p.ID()) < r.cfg.Run {
		done, err := r.findLeftovers(ctx, p)
		if err != nil && !errors.Is(err, errLater) {
			return true, err
		}
		left = !done
	}
	for {
		batch, err := r.cfg.Queue.Removals(ctx, p.ID(), removalBatch)
		if err != nil || len(batch) == 0 {
			return left, err
		}
		done, err := r.remove(ctx, p, batch)
		if err != nil {
			return true, err
		}
		if done < len(batch) {
			return true, nil
		}
	}
}

// remove asks a node to delete a batch and takes what is gone off the record.
func (r *Repairer) remove(ctx context.Context, p *membership.Peer, batch []raid.Removal) (int, error) {
	keys := make([]raid.ChunkKey, len(batch))
	for i := range batch {
		keys[i] = batch[i].Key
	}
	gone := r.delete(ctx, p, keys)
	done := make([]raid.Removal, len(gone))
	for i, k := range gone {
		done[i] = raid.Removal{Node: p.ID(), Key: k}
	}
	if err := r.cfg.Queue.Removed(ctx, done); err != nil {
		return 0, fmt.Errorf("record removals: %w", err)
	}
	if len(done) > 0 {
		r.cfg.Log.Info("chunks removed", "node", p.ID(), "chunks", len(done))
	}
	return len(done), nil
}

// delete asks a node to delete chunks and returns those that are gone from it.
func (r *Repairer) delete(ctx context.Context, p *membership.Peer, keys []raid.ChunkKey) (gone []raid.ChunkKey) {
	if !r.mayRemove() {
		return nil
	}
	names := namesOf(keys)
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	errs, err := p.Delete(call, names)
	if err != nil || len(errs) != len(names) {
		r.cfg.Log.Debug("removal postponed", "node", p.ID(), "chunks", len(names), "cause", err)
		return nil
	}
	for i, e := range errs {
		if e == nil || errors.Is(e, raid.ErrNotFound) {
			gone = append(gone, keys[i])
		}
	}
	return gone
}
