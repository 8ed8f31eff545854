package repair

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// errLater says that a copy can't be repaired now.
var errLater = errors.New("not now")

// repairLoop looks for parts to repair whenever it is woken or something happened to the
// nodes, and when the clock makes a difference. It does when a node was away for long enough. What
// can't be repaired waits for that, and is not tried all the time.
func (r *Repairer) repairLoop(ctx context.Context) error {
	pause := retryAfter
	for ctx.Err() == nil {
		changed := r.cfg.Nodes.Changed()
		r.mu.Lock()
		r.again, r.roomNews = time.Time{}, false
		r.mu.Unlock()
		v := r.look()
		p, err := r.repairPass(ctx, v)
		if errors.Is(err, raid.ErrCatalogBroken) {
			return err
		}
		if err == nil {
			pause = retryAfter
		} else if ctx.Err() == nil {
			r.cfg.Log.Warn("repair pass failed; it is tried again", "error", err)
			p.after(pause)
			pause = min(2*pause, retryMax)
		}
		p.ended = time.Now()
		r.awaitEvent(ctx, v, changed, p)
	}
	return nil
}

// awaitEvent returns when another pass can do more than the last one. For other room alone it
// waits scanRest times as long as the table of repairs took to read.
func (r *Repairer) awaitEvent(ctx context.Context, v *view, changed <-chan struct{}, p pass) {
	var clock, poll <-chan time.Time
	if p.next > 0 {
		clock = time.After(p.next)
	}
	if p.waits { // a node that falls silent, or answers again, tells nobody
		t := time.NewTicker(lookEvery)
		defer t.Stop()
		poll = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wakeRepair:
			return
		case <-clock:
			return
		case <-changed:
			changed = r.cfg.Nodes.Changed()
		case <-poll:
		}
		now := r.look()
		if now.sign != v.sign || r.isAgain() || r.isRoomNew(now, v) && time.Since(p.ended) >= scanRest*p.read {
			return
		}
	}
}

// isRoomNew reports whether there is other room than before. It reports too whether that was
// so for a part that failed meanwhile.
func (r *Repairer) isRoomNew(now, before *view) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return now.room != before.room || r.roomNews
}

// noteNews has another pass come when something happened since a view was taken.
// What happens while a part fails is no event for who looks later.
func (r *Repairer) noteNews(v *view) {
	now := r.look()
	if now.sign != v.sign {
		wake(r.wakeRepair)
	}
	if now.room != v.room { // which changes all the time, and so wakes nobody
		r.mu.Lock()
		defer r.mu.Unlock()
		r.roomNews = true
	}
}

// pass is the result of a look for parts to repair.
type pass struct {
	waits bool          // some parts may wait for an event
	next  time.Duration // for the clock; 0: it does not matter
	read  time.Duration // spent on reading the catalog's table
	ended time.Time
}

// after has the next pass come no later than d from now.
func (p *pass) after(d time.Duration) {
	if d > 0 && (p.next == 0 || d < p.next) {
		p.next = d
	}
}

// repairPass has all parts repaired that have a copy that is bad or shares a node with
// another. It returns when those are that have a good copy, but for what slow nodes hold
// up. The others follow in their lanes, and give way when there is something new.
func (r *Repairer) repairPass(ctx context.Context, v *view) (p pass, err error) {
	if r.isStale() {
		return p, nil
	}
	if left := r.cfg.Nodes.WarmUp(); left > 0 {
		p.after(left)
		return p, nil
	}
	left, err := r.repairThose(ctx, v, false, &p)
	if err != nil {
		return p, err
	}
	if !r.lanes.settle(ctx) {
		p.after(retryAfter)
	}
	if left {
		_, err = r.repairThose(ctx, v, true, &p)
	}
	return p, err
}

// repairThose has the parts repaired that have a good copy, or those that have none. left
// says that there are others.
func (r *Repairer) repairThose(ctx context.Context, v *view, last bool, p *pass) (left bool, err error) {
	var after raid.PartCursor
	var found amount
	vain := newTally()
	if !last {
		r.progress.beginCount(ofFlawed)
		defer func() { r.progress.fails(ofFlawed, vain) }()
	}
	for ctx.Err() == nil && !(last && len(r.wakeRepair) > 0) {
		began := time.Now()
		batch, err := r.cfg.Copies.Repairs(ctx, after, repairBatch)
		p.read += time.Since(began)
		if err != nil {
			return false, fmt.Errorf("look for copies to repair: %w", err)
		}
		for i := range batch {
			p.waits = true
			w := &batch[i]
			found = found.plus(amount{1, w.Part.Length})
			do := r.plan(v, w, time.Now())
			r.fail(vain, &w.Part, do.lastOutcome)
			switch {
			case do.done:
			case do.waits:
				p.after(do.after)
			case do.last != last:
				left = true
			case !r.lanes.offer(ctx, r.group, do.node, task{repair: *w}):
				p.after(retryAfter) // its node is slow
			}
		}
		if over := len(batch) < repairBatch; !last {
			r.progress.counted(ofFlawed, found, over)
		}
		if len(batch) < repairBatch {
			break
		}
		after = batch[len(batch)-1].Cursor()
	}
	return left, nil
}

// anew bounds how often a copy is made anew when the nodes fail that are to take it: another
// one may do better.
const anew = 3

// outcome is the result of repairing one copy.
type outcome struct {
	ok     bool
	moot   bool  // ok without a new copy: the file is gone, or nothing is wrong with it now
	placed bool  // a node was given a new copy, in vain
	even   bool  // it was to move so that nodes hold the same share, and no better reason
	cause  error // why it is not ok; nil: the row is another one now
}

// repairTask repairs a part in a node's lane, and notes what came of it.
func (r *Repairer) repairTask(ctx context.Context, node raid.NodeID, t task) (silent bool, err error) {
	v := r.look() // now: much may have happened to the nodes since it was planned
	if r.plan(v, &t.repair, time.Now()).waits {
		wake(r.wakeRepair) // for what it waits is seen then
		return false, nil
	}
	f := failure{sign: v.signOf(&t.repair.Part), room: v.room}
	var o outcome
	for left := anew + len(t.repair.Part.Copies); left > 0; left-- { // several may be bad
		o, err = r.repairPart(ctx, &t.repair)
		if _, more := r.pick(&t.repair.Part); err != nil || !more || !o.ok && !o.placed {
			break
		}
	}
	switch {
	case errors.Is(err, raid.ErrCatalogBroken):
		return false, err
	case err != nil && r.vain.due():
		r.cfg.Log.Warn("a part could not be repaired; it waits until something changes", "file", t.repair.File, "error", err)
	case o.ok:
		r.repaired(&t.repair)
		r.heard(node, true)
		if o.moot {
			r.progress.over(ofFlawed, t.repair.Part.Length)
		}
		return false, nil
	}
	if errors.Is(o.cause, raid.ErrCorrupt) && !o.placed {
		f.room = 0 // room elsewhere brings no byte back
	}
	who := silentNode(node, &t.repair.Part, o.cause)
	if who != "" && ctx.Err() == nil {
		r.heard(who, false) // it is the node's fault, and not the part's
		if who == node {
			wake(r.wakeRepair) // its lane is given up
			return true, nil
		}
	}
	f.outcome = o
	r.fail(r.progress.failuresOf(ofFlawed), &t.repair.Part, o)
	r.failedNow(&t.repair, f, err != nil || who != "" || eventless(o.cause))
	r.noteNews(v)
	return false, nil
}

// silentNode is the node that did not answer when a part was repaired in a node's lane, or
// "": the lane's, unless that one has just said of its own copy that it is bad. Then it
// is one that the part is read from.
func silentNode(lane raid.NodeID, p *raid.Part, cause error) raid.NodeID {
	if !errors.Is(cause, raid.ErrExpired) {
		return ""
	}
	checked, _ := flawed(p)
	if errors.Is(cause, errLater) || !checked.Bad || checked.Node != lane {
		return lane
	}
	var who raid.NodeID
	for _, c := range p.Copies {
		if c.Node != lane && (who == "" || !c.Bad) {
			who = c.Node
		}
	}
	return cmp.Or(who, lane)
}

// eventless reports whether what an error tells of ends without any event of a node.
func eventless(err error) bool {
	if err == nil || errors.Is(err, raid.ErrBusy) {
		return err != nil
	}
	return !usual(err) && !errors.Is(err, raid.ErrCorrupt) && !errors.Is(err, raid.ErrNotFound)
}

// repairPart repairs one copy of a part, and puts it into w. The error is the catalog's.
func (r *Repairer) repairPart(ctx context.Context, w *raid.Repair) (o outcome, err error) {
	m, found := r.pick(&w.Part)
	if !found {
		return outcome{ok: true, moot: true}, nil
	}
	f, err := r.recent.get(ctx, w.File, r.cfg.Copies.Stored)
	if errors.Is(err, raid.ErrNotFound) {
		return outcome{ok: true, moot: true}, nil
	} else if err != nil {
		return o, err
	}
	var fresh raid.Copy
	if m.Wished {
		var end func(raid.Copy, bool)
		if m, end, found = r.begin(&w.Part); !found {
			return outcome{ok: true, moot: true}, nil // others have moved enough meanwhile
		}
		defer func() { end(fresh, o.ok) }()
	}
	c := m.Old
	var cause error
	fresh, cause = r.repairCopy(ctx, f, w.Part, m)
	if cause == nil {
		if o.ok, err = r.record(ctx, f, w.Part, m, fresh); o.ok {
			w.Part.Copies[slices.Index(w.Part.Copies, c)] = fresh
		} else if err == nil && r.isGone(ctx, w.File) {
			return outcome{ok: true, moot: true}, nil
		} else if err == nil {
			wake(r.wakeRepair) // the row is another one now
		}
		return o, err
	}
	if (errors.Is(cause, raid.ErrNotFound) || errors.Is(cause, raid.ErrCorrupt)) && r.isGone(ctx, w.File) {
		return outcome{ok: true, moot: true}, r.forget(ctx, f, w.Part, fresh)
	}
	if errors.Is(cause, raid.ErrCatalogBroken) {
		return o, cause
	}
	level := slog.LevelDebug
	if !usual(cause) && r.vain.due() {
		level = slog.LevelWarn
	}
	r.cfg.Log.Log(ctx, level, "a copy could not be repaired yet; it waits until something changes", "file", f.ID, "stripe", w.Part.Stripe, "part", w.Part.Number, "copy", c.Index, "cause", cause)
	return outcome{placed: fresh.Node != "", even: m.Even, cause: cause}, r.forget(ctx, f, w.Part, fresh)
}

// usual reports whether an error only says that something is not possible now.
func usual(err error) bool {
	for _, u := range []error{errLater, raid.ErrTooFewNodes, raid.ErrArrayFull, raid.ErrPeerGone, raid.ErrExpired, context.Canceled} {
		if errors.Is(err, u) {
			return true
		}
	}
	return false
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
	wake(r.wakeCollect) // not repair: what failed just now would fail again
	return nil
}

// record puts the new copy in place of the old one, or has it removed again when
// the file went or the row changed meanwhile.
func (r *Repairer) record(ctx context.Context, f raid.File, p raid.Part, m raid.Move, fresh raid.Copy) (bool, error) {
	old, put := m.Old, r.cfg.Copies.ReplaceCopy
	if m.Kept {
		put = r.cfg.Copies.ReplaceLost
	}
	err := put(ctx, f.ID, p.Stripe, p.Number, old, fresh)
	moved := fresh.Attempt != old.Attempt || fresh.Node != old.Node
	switch {
	case errors.Is(err, raid.ErrCatalogBroken):
		return false, err
	case err != nil && moved:
		return false, errors.Join(r.forget(ctx, f, p, fresh), ignore(err, raid.ErrPrecondition))
	case err != nil:
		return false, ignore(err, raid.ErrPrecondition)
	}
	r.cfg.Log.Debug("copy repaired", "file", f.ID, "stripe", p.Stripe, "part", p.Number, "copy", old.Index, "from", old.Node, "to", fresh.Node, "moved", moved)
	r.progress.made(kindOf(m), p.Length)
	for _, w := range r.cfg.Wishes {
		if moved && !m.Wished && w.Moved != nil {
			w.Moved(&p, old, fresh)
		}
	}
	if m.Kept {
		if _, there := r.cfg.Nodes.Peer(old.Node); there { // it came back meanwhile
			wake(r.surplusWake)
		}
		return true, nil
	}
	wake(r.wakeCollect) // the old chunk has to go
	return true, nil
}

func ignore(err, target error) error {
	if errors.Is(err, target) {
		return nil
	}
	return err
}

// repairCopy returns what the copy should be: itself without the flag when its bytes
// are good after all, or a new one. A node that is away, or hangs, is given grace: after
// a reboot its chunks are usually good. One that was removed is not asked.
func (r *Repairer) repairCopy(ctx context.Context, f raid.File, p raid.Part, m raid.Move) (raid.Copy, error) {
	c := m.Old
	if !c.Bad || !c.Node.IsNative() || r.cfg.Losses.Gone(c.Node) {
		return r.cfg.Maker.Rereplicate(ctx, f, p, m)
	}
	peer, ok := r.cfg.Nodes.Peer(c.Node)
	out := r.isOut(c.Node, time.Now())
	if !out && (!ok || peer.Suspect()) {
		return raid.Copy{}, errLater
	}
	if !out {
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
			elsewhere := m
			elsewhere.Old.Bad = false // as if it were to be moved
			fresh, err := r.cfg.Maker.Rereplicate(ctx, f, p, elsewhere)
			if fresh.Node != "" || !errors.Is(err, raid.ErrTooFewNodes) && !errors.Is(err, raid.ErrArrayFull) {
				return fresh, err
			}
		}
	}
	return r.cfg.Maker.Rereplicate(ctx, f, p, m)
}
