package repair

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
)

// SurplusCopies is the record of surplus copies.
type SurplusCopies interface {
	Surpluses(ctx context.Context, node raid.NodeID, after raid.SurplusCursor, limit int) (found []raid.Surplus, next raid.SurplusCursor, more bool, err error)
	CountSurplus(ctx context.Context, node raid.NodeID, after raid.SurplusCursor, limit int) (copies, bytes int64, next raid.SurplusCursor, more bool, err error)
	// SurplusBad notes that a surplus copy is bad.
	SurplusBad(ctx context.Context, s raid.Surplus) error
	SettleSurplus(ctx context.Context, all []raid.Settlement) (done []bool, err error)
	MarkBad(ctx context.Context, file raid.FileID, stripe int64, part, index, attempt int) error
}

const (
	// surplusPage bounds the surplus copies that are settled with one write, and surplusAtOnce
	// how many of them are read at the same time.
	surplusPage   = 64
	surplusAtOnce = 8
	surplusCount  = 5000
	// surplusPause lies between two looks that nodes bring about.
	surplusPause = time.Second
	// muchFuller is by how much of its disk, in a hundred, another node must be fuller
	// before its copy goes instead of the surplus one.
	muchFuller = 5
)

// surplusLoop settles the surplus copies of nodes that are back. Of all copies of a part those stay
// that spread best, and one goes only after the others were read.
func (r *Repairer) surplusLoop(ctx context.Context) error {
	pause := retryAfter
	for {
		changed := r.cfg.Nodes.Changed()
		left, err := r.surplusPass(ctx)
		if errors.Is(err, raid.ErrCatalogBroken) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			r.cfg.Log.Warn("surplus copies could not be settled; it is tried again", "error", err)
		}
		var again <-chan time.Time
		if left || err != nil {
			again = time.After(pause)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.surplusWake:
			pause = retryAfter
		case <-changed:
			pause = retryAfter
		case <-again:
			pause = min(2*pause, retryMax)
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(surplusPause):
		}
	}
}

// surplusPass goes through the surplus copies of all nodes that are there.
func (r *Repairer) surplusPass(ctx context.Context) (left bool, err error) {
	if !r.mayRemove() {
		return true, nil
	}
	var there []*membership.Peer
	var found amount
	r.progress.beginCount(ofSurplus)
	for _, p := range r.cfg.Nodes.Natives() {
		if p.Suspect() || r.Lost(p.ID()) {
			left = true
			continue
		}
		n, err := r.countSurplus(ctx, p.ID())
		if err != nil {
			return true, err
		}
		if n.parts > 0 {
			there, found = append(there, p), found.plus(n)
		}
	}
	r.progress.counted(ofSurplus, found, true)
	for _, p := range there {
		some, err := r.settleNode(ctx, p)
		if err != nil {
			return true, err
		}
		left = left || some
	}
	return left, nil
}

func (r *Repairer) countSurplus(ctx context.Context, node raid.NodeID) (found amount, err error) {
	var at raid.SurplusCursor
	for more := true; more; {
		var n amount
		if n.parts, n.bytes, at, more, err = r.cfg.Surplus.CountSurplus(ctx, node, at, surplusCount); err != nil {
			return found, err
		}
		found = found.plus(n)
	}
	return found, nil
}

// settleNode settles the surplus copies on one node, page by page. left says that some
// could not be.
func (r *Repairer) settleNode(ctx context.Context, p *membership.Peer) (left bool, err error) {
	var at raid.SurplusCursor
	settled, began := amount{}, time.Now()
	for more := true; more; {
		if ctx.Err() != nil || !r.mayWork() || p.Suspect() || r.Lost(p.ID()) {
			return true, nil
		}
		var page []raid.Surplus
		if page, at, more, err = r.cfg.Surplus.Surpluses(ctx, p.ID(), at, surplusPage); err != nil {
			return true, err
		}
		done, err := r.settlePage(ctx, page)
		if err != nil {
			return true, err
		}
		settled = settled.plus(done)
		left = left || done.parts < int64(len(page))
	}
	if settled.parts > 0 {
		r.cfg.Log.Info("copies that became surplus while a node was away are settled", "node", p.ID(), "copies", settled.parts, "took", time.Since(began).Round(time.Second))
	}
	return left, nil
}

// settlePage decides, reads and settles some surplus copies.
func (r *Repairer) settlePage(ctx context.Context, page []raid.Surplus) (settled amount, err error) {
	var all []raid.Settlement
	results := make([]*raid.Settlement, len(page))
	places := r.places()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(surplusAtOnce)
	for i := range page {
		g.Go(func() error {
			s, err := r.verified(gctx, page[i], places)
			results[i] = s
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return settled, err
	}
	for _, s := range results {
		if s != nil {
			all = append(all, *s)
		}
	}
	if len(all) == 0 {
		return settled, nil
	}
	done, err := r.cfg.Surplus.SettleSurplus(ctx, all)
	if err != nil {
		return settled, fmt.Errorf("settle surplus copies: %w", err)
	}
	for i, ok := range done {
		if ok {
			settled = settled.plus(amount{1, all[i].Part.Length})
			r.progress.made(ofSurplus, all[i].Part.Length)
			if isOtherBad(&all[i]) {
				wake(r.wakeRepair) // it was tried in vain, maybe, and has a good copy to be made from now
			}
		}
	}
	wake(r.wakeCollect)
	return settled, nil
}

// verified decides what becomes of a surplus copy and reads what stays. It returns nil
// when that can't be told now. The error is the catalog's.
func (r *Repairer) verified(ctx context.Context, s raid.Surplus, places map[raid.NodeID]placeInfo) (*raid.Settlement, error) {
	f, err := r.cfg.Copies.Stored(ctx, s.File)
	if errors.Is(err, raid.ErrNotFound) {
		return nil, nil // it goes with the file
	} else if err != nil {
		return nil, err
	}
	end, err := r.cfg.Pace.Begin(ctx)
	if err != nil {
		return nil, nil
	}
	defer end()
	for _, usable := range []bool{true, false} {
		out, wait := r.decide(s, places, usable)
		if wait && !usable { // it was read, and can't help: to read it again is no use either
			return nil, r.cfg.Surplus.SurplusBad(ctx, s)
		}
		if wait {
			return nil, nil
		}
		if out.Instead != 0 {
			switch err := r.cfg.Maker.Check(ctx, f, s.Part, s.Copy); {
			case errors.Is(err, raid.ErrCorrupt), errors.Is(err, raid.ErrNotFound):
				continue // it is of no use: what if it goes?
			case err != nil:
				return nil, nil
			}
			if c := copyOf(&s.Part, out.Instead); c.Bad || out.Lost {
				return &out, nil // nothing good is given up
			}
		}
		return r.readOthers(ctx, f, &out)
	}
	return nil, nil
}

// readOthers reads all copies of a part but the one that a settlement gives up. One that
// proves bad is noted, and nothing is given up.
func (r *Repairer) readOthers(ctx context.Context, f raid.File, out *raid.Settlement) (*raid.Settlement, error) {
	for _, c := range out.Part.Copies {
		if c.Index == out.Instead {
			continue
		}
		switch err := r.cfg.Maker.Check(ctx, f, out.Part, c); {
		case errors.Is(err, raid.ErrCorrupt), errors.Is(err, raid.ErrNotFound):
			wake(r.wakeRepair)
			return nil, r.cfg.Surplus.MarkBad(ctx, f.ID, out.Part.Stripe, out.Part.Number, c.Index, c.Attempt)
		case err != nil:
			return nil, nil
		}
	}
	return out, nil
}

// isOtherBad reports whether a part has a bad copy that a settlement leaves.
func isOtherBad(s *raid.Settlement) bool {
	return slices.ContainsFunc(s.Part.Copies, func(c raid.Copy) bool { return c.Bad && c.Index != s.Instead })
}

func copyOf(p *raid.Part, index int) raid.Copy {
	for _, c := range p.Copies {
		if c.Index == index {
			return c
		}
	}
	return raid.Copy{}
}

// placeInfo tells whether a node is a good place for a copy.
type placeInfo struct {
	zone  string
	up    bool  // it takes copies
	there bool  // and can be read
	full  int64 // of its disk, in a hundred
}

func (r *Repairer) places() map[raid.NodeID]placeInfo {
	out := map[raid.NodeID]placeInfo{}
	for _, n := range r.cfg.Nodes.Nodes() {
		i := placeInfo{zone: n.Zone, up: n.State == raid.Up && !n.ReadOnly, there: n.State == raid.Up || n.State == raid.Draining}
		if n.TotalBytes > 0 {
			i.full = 100 - 100*min(n.FreeBytes, n.TotalBytes)/n.TotalBytes
		}
		out[n.ID] = i
	}
	return out
}

// decide says what becomes of a surplus copy, if its bytes are good and may be used, or
// not. wait says that it can't be told now. A copy that may be good
// is on a node that is away, or nothing but this one could help.
func (r *Repairer) decide(s raid.Surplus, places map[raid.NodeID]placeInfo, usable bool) (out raid.Settlement, wait bool) {
	out.Surplus = s
	twin, here, away := 0, false, false
	on := map[raid.NodeID]bool{}
	for _, c := range s.Part.Copies {
		switch {
		case c.Bad:
			out.Instead, out.Lost = c.Index, false
			continue
		case c.Node.IsNative() && r.Lost(c.Node):
			if out.Instead == 0 {
				out.Instead, out.Lost = c.Index, true
			}
			continue
		case on[c.Node]:
			twin = c.Index
		}
		on[c.Node] = true
		here = here || c.Node == s.Copy.Node
		away = away || !places[c.Node].there
	}
	switch {
	case out.Instead != 0: // a copy is missing
		return out, here || !usable
	case away:
		return out, true
	case here:
		return out, false
	case twin != 0:
		out.Instead = twin
		return out, !usable
	case usable:
		out.Instead = worstPlace(s, places)
	}
	return out, false
}

// worstPlace is the index of the copy without which the others of a part, and the surplus
// one, are spread best: over zones first, then by room. 0: the surplus one.
func worstPlace(s raid.Surplus, places map[raid.NodeID]placeInfo) int {
	all := append([]raid.Copy{{Node: s.Copy.Node}}, s.Part.Copies...)
	rate := func(without int) (zones int, up int, full int64) {
		seen := map[string]bool{}
		for i, c := range all {
			if i != without {
				seen[places[c.Node].zone] = true
			}
		}
		p := places[all[without].Node]
		if !p.up {
			up = 1
		}
		full = p.full
		if without == 0 {
			full += muchFuller
		}
		return len(seen), up, full
	}
	best := 0
	for i := 1; i < len(all); i++ {
		z, u, f := rate(i)
		bz, bu, bf := rate(best)
		if cmp.Or(cmp.Compare(z, bz), cmp.Compare(u, bu), cmp.Compare(f, bf)) > 0 {
			best = i
		}
	}
	return all[best].Index
}
