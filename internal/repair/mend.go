package repair

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/raidpi/raidpi/internal/catalog"
	"github.com/raidpi/raidpi/internal/raid"
)

// errLater says that a copy can't be mended now.
var errLater = errors.New("not now")

// mendPass goes through all copies that are bad or share a node.
func (r *Repairer) mendPass(ctx context.Context) (left bool, err error) {
	if r.cfg.Nodes.Behind() != nil {
		return false, nil
	}
	if r.cfg.Nodes.Gathering() > 0 {
		return true, nil
	}
	var after catalog.RepairCursor
	for {
		batch, err := r.cfg.Copies.Repairs(ctx, after, repairBatch)
		if err != nil {
			return true, fmt.Errorf("look for copies to repair: %w", err)
		}
		for i := range batch {
			ok, err := r.mendPart(ctx, batch[i])
			if err != nil {
				return true, err
			}
			left = left || !ok
		}
		if len(batch) < repairBatch {
			return left, nil
		}
		after = catalog.Cursor(batch[len(batch)-1])
	}
}

// mendPart mends one copy of a part; a part with several bad ones comes again in
// the next pass.
func (r *Repairer) mendPart(ctx context.Context, w raid.Repair) (ok bool, err error) {
	c, found := worst(w.Part)
	if !found {
		return true, nil
	}
	f, err := r.cfg.Copies.File(ctx, w.File)
	if errors.Is(err, raid.ErrNotFound) {
		return true, nil
	} else if err != nil {
		return false, err
	}
	fresh, err := r.mendCopy(ctx, f, w.Part, c)
	if err == nil {
		return r.record(ctx, f, w.Part, c, fresh)
	}
	if errors.Is(err, raid.ErrCatalogBroken) {
		return false, err
	}
	level := slog.LevelWarn
	for _, usual := range []error{errLater, raid.ErrTooFewNodes, raid.ErrArrayFull, raid.ErrPeerGone, context.Canceled} {
		if errors.Is(err, usual) {
			level = slog.LevelDebug
		}
	}
	r.cfg.Log.Log(ctx, level, "a copy could not be repaired yet; it is tried again", "file", f.ID, "stripe", w.Part.Stripe, "part", w.Part.Number, "copy", c.Index, "cause", err)
	return false, r.forget(ctx, f, w.Part, fresh)
}

// forget records a copy for removal that may lie on a node and is not wanted.
// The catalog keeps those that a file rests on after all.
func (r *Repairer) forget(ctx context.Context, f raid.File, p raid.Part, c raid.Copy) error {
	if c.Node == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	if err := r.cfg.Copies.Record(ctx, []raid.Removal{{Node: c.Node, Key: p.Key(f.Upload, c)}}); err != nil {
		return fmt.Errorf("record a copy that was made in vain: %w", err)
	}
	wake(r.clean) // not mend: what failed just now would fail again
	return nil
}

// record puts the new copy in place of the old one, or has it removed again when
// the file went or the row changed meanwhile.
func (r *Repairer) record(ctx context.Context, f raid.File, p raid.Part, old, fresh raid.Copy) (bool, error) {
	err := r.cfg.Copies.ReplaceCopy(ctx, f.ID, p.Stripe, p.Number, old, fresh)
	moved := fresh.Attempt != old.Attempt || fresh.Node != old.Node
	switch {
	case errors.Is(err, raid.ErrCatalogBroken):
		return false, err
	case err != nil && moved:
		return false, errors.Join(r.forget(ctx, f, p, fresh), ignore(err, raid.ErrPrecondition))
	case err != nil:
		return false, ignore(err, raid.ErrPrecondition)
	}
	r.cfg.Log.Info("copy repaired", "file", f.ID, "stripe", p.Stripe, "part", p.Number, "copy", old.Index, "from", old.Node, "to", fresh.Node, "moved", moved)
	r.Wake() // the old chunk has to go, and the part may have another bad copy
	return true, nil
}

func ignore(err, target error) error {
	if errors.Is(err, target) {
		return nil
	}
	return err
}

// worst picks the copy to mend: a bad one, else the second of two on one node.
func worst(p raid.Part) (raid.Copy, bool) {
	on := map[raid.NodeID]bool{}
	twin := -1
	for i, c := range p.Copies {
		if c.Bad {
			return c, true
		}
		if c.Node != "" && on[c.Node] {
			twin = i
		}
		on[c.Node] = true
	}
	if twin < 0 {
		return raid.Copy{}, false
	}
	return p.Copies[twin], true
}

// mendCopy returns what the copy should be: itself without the flag when its bytes
// are good after all, or a new one. A node that is away is given grace: after a
// reboot its chunks are usually good. One that was removed is not asked.
func (r *Repairer) mendCopy(ctx context.Context, f raid.File, p raid.Part, c raid.Copy) (raid.Copy, error) {
	if !c.Bad || c.Node == "" || r.cfg.Losses.Gone(c.Node) {
		return r.cfg.Maker.Remake(ctx, f, p, c)
	}
	peer, ok := r.cfg.Nodes.Peer(c.Node)
	if !ok && r.cfg.Nodes.AwayFor(c.Node) < r.cfg.Grace || ok && peer.Suspect() {
		return raid.Copy{}, errLater
	}
	if ok {
		name := p.Key(f.Upload, c).Name()
		if r.mayClear(peer, name) {
			err := r.cfg.Maker.Check(ctx, f, p, c)
			if err == nil {
				r.cleared(peer, name)
				c.Bad = false
				return c, nil
			}
			if !errors.Is(err, raid.ErrNotFound) && !errors.Is(err, raid.ErrCorrupt) {
				return raid.Copy{}, fmt.Errorf("%w: the copy on node %s could not be checked: %w", errLater, c.Node, err)
			}
		}
		if r.distrusts(peer) {
			elsewhere := c
			elsewhere.Bad = false // as if it were to be moved
			fresh, err := r.cfg.Maker.Remake(ctx, f, p, elsewhere)
			if fresh.Node != "" || !errors.Is(err, raid.ErrTooFewNodes) && !errors.Is(err, raid.ErrArrayFull) {
				return fresh, err
			}
		}
	}
	return r.cfg.Maker.Remake(ctx, f, p, c)
}
