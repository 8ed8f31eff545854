package repair

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// cleanPass removes what is on record from the nodes that are there.
func (r *Repairer) cleanPass(ctx context.Context) (left bool, err error) {
	if r.cfg.Nodes.Behind() != nil {
		return false, nil
	}
	if r.cfg.Nodes.Gathering() > 0 || r.cfg.Vouched() != nil {
		return true, nil
	}
	for more := true; more; {
		if more, err = r.cfg.Queue.Sweep(ctx, sweepBatch); err != nil {
			return true, fmt.Errorf("turn deleted files into removals: %w", err)
		}
	}
	peers := r.cfg.Nodes.Natives()
	results := make([]bool, len(peers))
	g, gctx := errgroup.WithContext(ctx)
	for i, p := range peers {
		g.Go(func() (err error) {
			results[i], err = r.cleanNode(gctx, p)
			return err
		})
	}
	err = g.Wait()
	for _, l := range results {
		left = left || l
	}
	return left, err
}

// cleanNode brings one node up to date. Its own failures only postpone the work;
// the catalog's are returned.
func (r *Repairer) cleanNode(ctx context.Context, p *membership.Peer) (left bool, err error) {
	if p.Suspect() {
		return true, nil
	}
	if r.cfg.Nodes.CleanedRun(p.ID()) < r.cfg.Run {
		done, err := r.findLeftovers(ctx, p)
		if err != nil {
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
	if r.cfg.Nodes.Behind() != nil || r.cfg.Vouched() != nil {
		return 0, nil
	}
	names := make([]raid.ChunkName, len(batch))
	for i := range batch {
		names[i] = batch[i].Key.Name()
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	errs, err := p.Delete(call, names)
	if err != nil || len(errs) != len(names) {
		r.cfg.Log.Debug("removal postponed", "node", p.ID(), "chunks", len(names), "cause", err)
		return 0, nil
	}
	gone := make([]raid.Removal, 0, len(batch))
	for i, e := range errs {
		if e == nil || errors.Is(e, raid.ErrNotFound) {
			gone = append(gone, batch[i])
		}
	}
	if err := r.cfg.Queue.Removed(ctx, gone); err != nil {
		return 0, fmt.Errorf("record removals: %w", err)
	}
	if len(gone) > 0 {
		r.cfg.Log.Info("chunks removed", "node", p.ID(), "chunks", len(gone))
	}
	return len(gone), nil
}

// findLeftovers records for removal what uploads of earlier runs left on a node
// and the catalog does not know. It waits until the node has read all its
// trailers, since only then it is sure that the catalog is not the older one.
func (r *Repairer) findLeftovers(ctx context.Context, p *membership.Peer) (done bool, err error) {
	if !p.Scanned() {
		return false, nil
	}
	req := wire.ListRequest{Limit: listBatch, MinRun: r.cfg.Nodes.CleanedRun(p.ID()), MaxRun: r.cfg.Run}
	if req.MinRun > 0 {
		req.MinRun-- // a write that hung on the node's disk may have come through since
	}
	found := 0
	for {
		call, cancel := context.WithTimeout(ctx, listTimeout)
		names, more, err := p.List(call, req)
		cancel()
		if err != nil {
			r.cfg.Log.Debug("listing postponed", "node", p.ID(), "cause", err)
			return false, nil
		}
		n, err := r.recordUnknown(ctx, p.ID(), names)
		if err != nil {
			return false, err
		}
		found += n
		if !more || len(names) == 0 {
			break
		}
		req.After = names[len(names)-1]
	}
	if found > 0 {
		r.cfg.Log.Info("found chunks of unfinished uploads of earlier runs", "node", p.ID(), "chunks", found)
	}
	r.cfg.Nodes.SetCleanedRun(p.ID(), r.cfg.Run)
	return true, nil
}

// recordUnknown records those of the names whose upload no row of the catalog
// has.
func (r *Repairer) recordUnknown(ctx context.Context, node raid.NodeID, names []raid.ChunkName) (int, error) {
	keys := make([]raid.ChunkKey, 0, len(names))
	asked := map[raid.UploadID]bool{}
	var ids []raid.UploadID
	for _, n := range names {
		k, err := raid.ParseChunkName(n)
		if err != nil || k.Upload.Run() >= r.cfg.Run {
			continue
		}
		keys = append(keys, k)
		if !asked[k.Upload] {
			asked[k.Upload] = true
			ids = append(ids, k.Upload)
		}
	}
	if len(ids) == 0 {
		return 0, nil
	}
	unknown, err := r.cfg.Queue.UnknownUploads(ctx, ids)
	if err != nil {
		return 0, fmt.Errorf("look up uploads: %w", err)
	}
	gone := map[raid.UploadID]bool{}
	for _, u := range unknown {
		gone[u] = true
	}
	var removals []raid.Removal
	for _, k := range keys {
		if gone[k.Upload] {
			removals = append(removals, raid.Removal{Node: node, Key: k})
		}
	}
	if len(removals) == 0 || r.cfg.Nodes.Behind() != nil {
		return 0, nil
	}
	return len(removals), r.cfg.Queue.Record(ctx, removals)
}
