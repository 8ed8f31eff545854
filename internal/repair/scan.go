package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// scanRows bounds the rows of the catalog that one step of the scan looks at.
	scanRows = 5000
	// scanLook is the interval of the looks at nodes: one that hangs tells nobody.
	scanLook = 5 * time.Second
	// A scan is done again after scanAgain, and each time after twice as long, up to scanAgainMost.
	// It is done sooner when what it left was held up by something that passes, and no sooner than
	// scanRest times as long as it took.
	scanAgain     = time.Minute
	scanAgainMost = 6 * time.Hour
	scanRest      = 20
)

// scan looks through the catalog for what lost nodes hold, and what is wished elsewhere,
// and has it made again. Nothing of it is kept: after a start it begins anew, and passes
// quickly over what is done.
type scan struct {
	lost   []raid.NodeID // sorted
	wished []raid.NodeID // sorted
	room   uint64        // see view
	done   bool          // it was gone through
	left   bool          // and something was not made
	worth  bool          // another one might find something, as far as can be told without
	pause  time.Duration // before it is done again
	ended  time.Time
	took   time.Duration
	told   bool // that copies are made again
	made   amount
	began  time.Time
}

// lostNodes are the nodes that are lost, sorted.
func (r *Repairer) lostNodes() (out []raid.NodeID) {
	for _, n := range r.cfg.Nodes.Nodes() {
		if n.Kind == raid.Native && r.Lost(n.ID) {
			out = append(out, n.ID)
		}
	}
	slices.Sort(out)
	return out
}

func (r *Repairer) wishedNodes() (out []raid.NodeID) {
	for _, w := range r.cfg.Wishes {
		out = append(out, w.Nodes()...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// scanLoop keeps a scan going while nodes are lost or copies wished elsewhere.
func (r *Repairer) scanLoop(ctx context.Context) error {
	s := &scan{}
	tick := time.NewTicker(scanLook)
	defer tick.Stop()
	for {
		changed := r.cfg.Nodes.Changed()
		if r.renew(s); s.done && !s.worth && r.worth(s) {
			s.done = false // a file came, or came back, with a copy on a lost node
		}
		if s.due(time.Now()) && r.mayWork() {
			err := r.scanPass(ctx, s)
			switch {
			case errors.Is(err, raid.ErrCatalogBroken):
				return err
			case ctx.Err() != nil:
				return nil
			case err != nil:
				r.cfg.Log.Warn("what lost nodes hold could not be looked through; it is tried again", "error", err)
				s.rest(true, true)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-tick.C:
		}
		r.sayMade()
	}
}

// renew begins a scan anew when other nodes are lost. It does so too when there is other room
// than before, but no sooner than after scanRest times as long as the last scan took.
func (r *Repairer) renew(s *scan) {
	v := r.look()
	lost, wished := r.lostNodes(), r.wishedNodes()
	same := slices.Equal(lost, s.lost) && slices.Equal(wished, s.wished)
	switch {
	case same && (v.room == s.room || !s.left):
		s.room = v.room
		return
	case same && time.Since(s.ended) < scanRest*s.took:
		return // room that comes and goes all the time is looked at later
	}
	told, made, began := s.told, s.made, s.began
	*s = scan{lost: lost, wished: wished, room: v.room, told: told, made: made, began: began}
	if len(lost) == 0 {
		r.endLost(s, newTally())
	}
	if len(wished) == 0 {
		r.progress.leave(ofMoved, amount{})
		r.progress.block(ofMoved, "")
	}
}

// due reports whether the scan is to be done, or done again.
func (s *scan) due(now time.Time) bool {
	if len(s.lost) == 0 && len(s.wished) == 0 {
		return false
	}
	return !s.done || now.Sub(s.ended) >= s.pause
}

// rest has the scan done again after a while.
func (s *scan) rest(left, soon bool) {
	first, most := scanAgain, scanAgainMost
	if soon {
		first, most = retryAfter, retryMax
	}
	s.done, s.left, s.ended = true, left, time.Now()
	s.pause = max(min(max(2*s.pause, first), most), scanRest*s.took)
}

// scanPass goes through the catalog once for each number of good copies that parts may
// have left, the fewest first, then for what is wished elsewhere. It returns early when
// other nodes are lost.
func (r *Repairer) scanPass(ctx context.Context, s *scan) error {
	began, lost, wished := time.Now(), newTally(), newTally()
	over, err := r.makeLost(ctx, s, lost)
	if err == nil && over {
		over, err = r.makeWished(ctx, s, wished)
	}
	if err != nil || !over {
		return err
	}
	lost.wait(ctx)
	wished.wait(ctx)
	s.took = time.Since(began)
	left := r.endLost(s, lost)
	r.progress.leave(ofMoved, wished.left())
	r.progress.block(ofMoved, r.blockedBy(wished))
	s.worth = r.worth(s)
	s.rest(left.parts+wished.left().parts > 0 || wished.isUneven(), lost.passes() || wished.passes())
	return nil
}

// passes are the numbers of good copies that some part on a lost node may have left, the
// fewest first. It looks at no part.
func (r *Repairer) passes(s *scan) (out []int) {
	there := func(id raid.NodeID) bool { return !r.Lost(id) }
	for n := range r.cfg.PerPart {
		if len(s.lost) > 0 && r.cfg.Held.MayHave(n, there) {
			out = append(out, n)
		}
	}
	return out
}

func (r *Repairer) worth(s *scan) bool { return len(r.passes(s)) > 0 }

// makeLost has made what lost nodes hold.
func (r *Repairer) makeLost(ctx context.Context, s *scan, t *tally) (over bool, err error) {
	passes := r.passes(s)
	if len(passes) == 0 {
		return true, nil
	}
	if over, err := r.countLost(ctx, s); err != nil || !over {
		return over, err
	}
	for _, n := range passes {
		over, err := r.walk(ctx, s, s.lost, func(v *view, w *raid.Repair) {
			switch {
			case r.countThere(&w.Part) != n:
			case n == 0 && !r.cfg.Spare:
				t.addUnreachable(&w.Part)
			case n == 0 && r.lanes.offer(ctx, r.group, "", task{repair: *w, tally: t}): // its own nodes are lost
			case n == 0:
				t.missed(w.Part.Length)
			default:
				r.offer(ctx, v, w, t)
			}
		})
		if err != nil || !over {
			return over, err
		}
		t.wait(ctx)
	}
	return true, nil
}

// makeWished has made what is wished elsewhere.
func (r *Repairer) makeWished(ctx context.Context, s *scan, t *tally) (over bool, err error) {
	r.progress.beginCount(ofMoved)
	for _, w := range r.cfg.Wishes {
		nodes := w.Nodes()
		over, err := r.walk(ctx, s, nodes, func(v *view, w *raid.Repair) {
			if m, found := r.pick(&w.Part); found && m.Wished {
				r.offer(ctx, v, w, t)
			}
		})
		if err != nil || !over {
			return over, err
		}
	}
	return true, nil
}

// countLost counts what lost nodes hold.
func (r *Repairer) countLost(ctx context.Context, s *scan) (over bool, err error) {
	r.progress.beginCount(ofLost)
	var found amount
	var at raid.PartCursor
	for more := true; more; {
		if !slices.Equal(s.lost, r.lostNodes()) {
			return false, nil
		}
		var n amount
		end, err := r.cfg.Pace.Begin(ctx)
		if err != nil {
			return false, err
		}
		n.parts, n.bytes, at, more, err = r.cfg.Held.CountOn(ctx, s.lost, at, scanRows)
		if end(); err != nil {
			return false, err
		}
		found = found.plus(n)
		r.progress.counted(ofLost, found, !more)
	}
	if found.parts > 0 && !s.told {
		s.told, s.began, s.made = true, time.Now(), r.progress.sum()
		r.cfg.Tell(raid.Event{Kind: raid.HealBegan, Node: s.lost[0],
			Text: fmt.Sprintf("%d copies of %s are made again, since %s", found.parts, humanBytes(found.bytes), r.areLost(s.lost))})
	}
	return true, nil
}

// areLost says which nodes are lost.
func (r *Repairer) areLost(nodes []raid.NodeID) string {
	if len(nodes) == 1 {
		return "node " + r.cfg.Name(nodes[0]) + " is lost"
	}
	return fmt.Sprintf("node %s and %d more are lost", r.cfg.Name(nodes[0]), len(nodes)-1)
}

// walk goes through the parts on nodes, and ends early when other nodes are lost.
func (r *Repairer) walk(ctx context.Context, s *scan, nodes []raid.NodeID, take func(*view, *raid.Repair)) (over bool, err error) {
	var at raid.PartCursor
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if !slices.Equal(s.lost, r.lostNodes()) || r.isStale() {
			return false, nil
		}
		var page []raid.Repair
		end, err := r.cfg.Pace.Begin(ctx)
		if err != nil {
			return false, err
		}
		page, at, more, err = r.cfg.Held.PartsOn(ctx, nodes, at, scanRows)
		if end(); err != nil {
			return false, err
		}
		v := r.look()
		for i := range page {
			take(v, &page[i])
		}
		r.sayMade()
	}
	return true, nil
}

// offer has a part of a scan made in the lane of a node that it can be read from.
func (r *Repairer) offer(ctx context.Context, v *view, w *raid.Repair, t *tally) {
	p := r.source(v, &w.Part, time.Now())
	if p.node == "" || p.waits || p.last || !r.lanes.offer(ctx, r.group, p.node, task{repair: *w, tally: t}) {
		t.missed(w.Part.Length)
	}
}

// endLost notes what of the lost nodes' copies could not be made.
func (r *Repairer) endLost(s *scan, t *tally) (left amount) {
	left = t.left()
	r.progress.leave(ofLost, left)
	why := r.blockedBy(t)
	if r.progress.block(ofLost, why) && why != "" {
		r.cfg.Tell(raid.Event{Kind: raid.HealBlocked, Text: "not all copies could be made again", Advice: why})
		r.cfg.Log.Warn("not all copies can be made again", "because", why)
	}
	if s.told && left.parts == 0 {
		s.told = false
		made := r.progress.sum().less(s.made)
		r.cfg.Tell(raid.Event{Kind: raid.HealEnded, Text: fmt.Sprintf("%d copies of %s were made again in %v", made.parts, humanBytes(made.bytes), max(time.Since(s.began).Round(time.Second), time.Second))})
		r.cfg.Log.Info("what lost nodes held was made again", "copies", made.parts, "bytes", made.bytes, "took", time.Since(s.began).Round(time.Millisecond))
	}
	return left
}

// scanTask makes a copy that the scan has found in a node's lane, unless it is not needed
// any more: its node may be back.
func (r *Repairer) scanTask(ctx context.Context, node raid.NodeID, t task) (silent bool, err error) {
	p := &t.repair.Part
	var o outcome
	for range anew {
		if m, found := r.pick(p); !found || !m.Kept && !m.Wished {
			return false, nil
		}
		if o, err = r.repairPart(ctx, &t.repair); err != nil || o.ok || !o.placed {
			break
		}
	}
	switch {
	case errors.Is(err, raid.ErrCatalogBroken):
		return false, err
	case err != nil:
		r.fail(t.tally, p, outcome{cause: err})
		return false, nil
	case o.ok:
		r.heard(node, true)
		return false, nil
	case o.cause == nil || ctx.Err() != nil:
		t.tally.missed(p.Length) // the row is another one now
		return false, nil
	}
	if silentNode(node, p, o.cause) != "" {
		r.heard(node, false)
		t.tally.missed(p.Length)
		return true, nil
	}
	r.fail(t.tally, p, o)
	return false, nil
}
