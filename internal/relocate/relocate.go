// Package relocate decides which good copies are to be on other nodes than they are. These are
// those on nodes that a person drains or replaces, those of parts whose copies are all in
// one zone, and those on nodes that hold more than their share.
//
// Package repair makes the moves. It asks a [Relocator] which nodes to look through and
// which copy of a part is to go where, and tells it what was moved. A copy goes only when
// the one that takes its place was read back, so no part has fewer copies meanwhile.
//
// # Balance
//
// A [Plan] is pure: from how much nodes hold and can hold it takes what each is to
// hold. That is the same share of every disk, as far as copies on distinct nodes and in
// distinct zones allow that. It begins when two nodes are apart by a tenth of their disks,
// or when a node has less than half of its share, as one that was added does, and ends
// well below that. A node either gives or takes. What a plan can't make even it leaves
// alone.
//
// How much nodes hold is counted from the catalog and not asked of them. A node
// that claims to be empty, or full, moves nothing by that. The count is taken anew when files
// came or went that matter, and never while nothing changes.
//
// # Draining
//
// That a node drains is durable, and so is who takes its place. All else is found again
// after a start: what it still holds is what the catalog says.
package relocate

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/placement"
	"github.com/raidpi/raidpi/internal/raid"
)

// Record has what the catalog knows of where copies are.
type Record interface {
	// Holdings sums up which nodes hold how much, page by page.
	Holdings(ctx context.Context, after raid.PartCursor, rows int) (sums []raid.Holding, next raid.PartCursor, more bool, err error)
	// Resting tells what rests on a node; Intends, whether a copy is on its way there.
	Resting(id raid.NodeID) raid.Resting
	Intends(ctx context.Context, id raid.NodeID) (bool, error)
	Counts(ctx context.Context) (raid.Totals, error)
	RemovalCounts(ctx context.Context) (map[raid.NodeID]int64, error)
}

// Wishes is the record of what is to become of nodes.
type Wishes interface {
	Nodes(ctx context.Context) ([]raid.NodeRecord, error)
	Relocate(ctx context.Context, id raid.NodeID, change func(raid.Relocation) (raid.Relocation, error)) error
}

// Array has what else a Relocator knows of the nodes. None of it waits.
type Array interface {
	Nodes() []raid.NodeInfo // with their names
	Candidates() []placement.Candidate
	Changed() <-chan struct{}
	// Reconsider follows what the catalog has of a node.
	Reconsider(id raid.NodeID)
}

// Config configures a Relocator.
type Config struct {
	Record Record
	Wishes Wishes
	Array  Array
	// Lost reports whether a node is lost, so that its copies are made again elsewhere.
	Lost func(raid.NodeID) bool
	// Uploads returns a function that reports whether all uploads are over that are under
	// way now. Those may place chunks by what they knew of the nodes before.
	Uploads func() (over func() bool)
	// Remove takes a node out of the array, unless files rest on it.
	Remove func(ctx context.Context, id raid.NodeID) error
	// Revoke takes the join tokens back that replace a node.
	Revoke   func(id raid.NodeID)
	Copies   int   // of each part
	Overhead int64 // bytes that a chunk takes beside its payload
	Tell     raid.Tell
	Log      *slog.Logger
}

const (
	// lookEvery is the interval of the looks at nodes that drain, and restEvery of all
	// looks without an event.
	lookEvery = 2 * time.Second
	restEvery = 30 * time.Second
	// lookPause lies between two looks that events bring about.
	lookPause = 200 * time.Millisecond
	// failedMost bounds the pause after a look that failed, which doubles from lookEvery on.
	// One line of the log tells of all that fail within logEvery.
	failedMost = 5 * time.Minute
	logEvery   = time.Minute
	// inVain is after how long without a move a plan for balance is given up.
	inVain = 30 * time.Minute
)

// Relocator keeps the plan, and ends drains. Its methods may be called concurrently.
type Relocator struct {
	cfg  Config
	wake chan struct{}

	counting chan struct{} // of 1: held by who counts

	mu    sync.Mutex
	count count
	plan  *Plan
	seen  []Node // that plan was made for
	waits map[raid.NodeID]*wait
	// orders counts what persons have ordered.
	orders int
	// successors are the nodes that take the place of others.
	successors map[raid.NodeID]raid.NodeID
	moved      moved
	filled     time.Time         // when it was noted last which nodes get their share; zero: never
	totals     map[Reason]Amount // moved since the start
	// lastMove is when a copy moved last, or the plan was made.
	lastMove time.Time
	// lastChosen is the time of the last move for the sake of zones or balance. A plan with
	// more such moves than the one before sets it too.
	lastChosen time.Time
}

// wait holds what is known of a node that drains.
type wait struct {
	over  func() bool // whether the uploads are over that may know it as one that takes chunks
	text  string      // what is waited for, for a person
	tried time.Time   // its removal was, in vain
}

// New makes a Relocator; Run does its work.
func New(cfg Config) *Relocator {
	if cfg.Tell == nil {
		cfg.Tell = func(raid.Event) {}
	}
	return &Relocator{
		cfg: cfg, wake: make(chan struct{}, 1), counting: make(chan struct{}, 1),
		plan: NewPlan(nil, nil, 0), waits: map[raid.NodeID]*wait{}, totals: map[Reason]Amount{},
	}
}

// Run looks after drains and balance until ctx ends, or the catalog is broken.
func (r *Relocator) Run(ctx context.Context) error {
	failed, logged := time.Duration(0), time.Time{}
	for {
		changed := r.cfg.Array.Changed()
		busy, err := r.look(ctx)
		again := restEvery
		switch {
		case errors.Is(err, raid.ErrCatalogBroken):
			return err
		case err != nil:
			failed = min(max(2*failed, lookEvery), failedMost)
			again = failed
			if ctx.Err() == nil && (logged.IsZero() || time.Since(logged) >= logEvery) {
				logged = time.Now()
				r.cfg.Log.Warn("what is to move could not be looked at; it is tried again", "error", err)
			}
		case busy:
			again = lookEvery
		}
		if err == nil {
			failed = 0
		}
		if !r.rest(ctx, changed, again) {
			return nil
		}
	}
}

// rest waits for an event, or for so long. It returns false when ctx ends.
func (r *Relocator) rest(ctx context.Context, changed <-chan struct{}, again time.Duration) bool {
	pause := time.NewTimer(again)
	defer pause.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-pause.C:
		return true
	case <-r.wake:
	case <-changed:
	}
	pause.Reset(lookPause)
	select {
	case <-ctx.Done():
		return false
	case <-pause.C:
		return true
	}
}

// look does what is to be done now. busy says that something is under way.
func (r *Relocator) look(ctx context.Context) (busy bool, err error) {
	r.mu.Lock()
	orders := r.orders
	r.mu.Unlock()
	records, err := r.cfg.Wishes.Nodes(ctx)
	if err != nil {
		return false, err
	}
	r.replan(records)
	r.forgetOthers(records, orders)
	for _, rec := range records {
		if !rec.Draining && !rec.Replaced {
			r.forget(rec.ID, orders)
			continue
		}
		busy = busy || !rec.Drained
		if err := r.attend(ctx, rec, orders); err != nil {
			return busy, err
		}
	}
	if r.stale(ctx) {
		if err := r.recount(ctx); err != nil {
			return busy, err
		}
		r.replan(records)
	}
	if err := r.noteFilling(ctx, records); err != nil {
		return busy, err
	}
	r.sayMoved()
	r.giveUp()
	return busy || len(r.Sources()) > 0, nil
}

// replan makes the plan anew when the nodes are other ones than it was made for.
func (r *Relocator) replan(records []raid.NodeRecord) {
	nodes := r.nodes(records)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.successors = map[raid.NodeID]raid.NodeID{}
	for _, rec := range records {
		if rec.Successor != "" {
			r.successors[rec.ID] = rec.Successor
		}
	}
	if !r.count.fresh && slices.EqualFunc(nodes, r.seen, alike) {
		return
	}
	_, zone, balance := r.plan.Left()
	r.plan, r.seen, r.count.fresh = NewPlan(nodes, r.count.sums(), r.cfg.Overhead), nodes, false
	r.lastMove = time.Now()
	// What did not move by the last plan, and is in this one, is not believed to move now.
	if _, z, b := r.plan.Left(); z.Parts > zone.Parts || b.Parts > balance.Parts {
		r.lastChosen = r.lastMove
	}
}

// giveUp ends a plan for balance that moves nothing for long.
func (r *Relocator) giveUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.lastMove) > inVain {
		r.plan.GiveUp()
	}
}

// alike reports whether two looks at a node make the same plan, but for a little room.
func alike(a, b Node) bool {
	room := a.Free - b.Free
	a.Free = b.Free
	const little = 32 // parts of the room
	return a == b && room <= b.Free/little && -room <= b.Free/little
}

// nodes are the native nodes as a plan sees them.
func (r *Relocator) nodes(records []raid.NodeRecord) (all []Node) {
	free := map[raid.NodeID]int64{}
	for _, c := range r.cfg.Array.Candidates() {
		if !c.Lab {
			free[c.ID] = c.Free
		}
	}
	known := map[raid.NodeID]raid.NodeRecord{}
	for _, rec := range records {
		known[rec.ID] = rec
	}
	for _, info := range r.cfg.Array.Nodes() {
		if info.Kind != raid.Native || r.cfg.Lost(info.ID) {
			continue // what lost ones hold is made again by others
		}
		room, takes := free[info.ID]
		rec := known[info.ID] // without TLS nodes are known from their first chunk on
		n := Node{ID: info.ID, Zone: info.Zone, Free: room, Takes: takes, Gives: info.IsThere(), Filling: rec.Filling}
		if rec.Draining {
			n.Drains, n.Takes = true, false
			if rec.Successor != "" && !r.cfg.Lost(rec.Successor) {
				n.Successor = rec.Successor
			}
			n.Gives = n.Gives && !(rec.Drained && r.isEmpty(rec.ID))
		}
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b Node) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return all
}

// isEmpty reports whether no file rests on a node, nor one in the trash.
func (r *Relocator) isEmpty(id raid.NodeID) bool { return r.cfg.Record.Resting(id).None() }

// Wake has the nodes looked at again soon.
func (r *Relocator) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Sources are the nodes that hold copies which are to move. It does no I/O.
func (r *Relocator) Sources() []raid.NodeID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.plan.Sources()
}

// Pick says which copy of a part is to move, if any is, and which nodes may get it. All
// copies of the part are good, and on nodes that are not lost. It does no I/O.
func (r *Relocator) Pick(part *raid.Part) (m raid.Move, found bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, _, _, found = r.pick(part)
	return m, found
}

// Begin is Pick for a copy that is moved at once. Room for it is set aside until end is
// called, with where it is now and whether it was moved.
func (r *Relocator) Begin(part *raid.Part) (m raid.Move, end func(fresh raid.Copy, ok bool), found bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, to, why, found := r.pick(part)
	if !found {
		return m, nil, false
	}
	// More moves are begun before this one is over.
	plan, aside, size, was := r.plan, to[0], part.Length+r.cfg.Overhead, *part
	was.Copies = slices.Clone(part.Copies)
	if why == Balance {
		plan.Moved(m.Old.Node, aside, size)
	}
	return m, func(fresh raid.Copy, ok bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if why == Balance {
			plan.Moved(aside, m.Old.Node, size)
		}
		if ok {
			r.noteMoved(&was, m.Old, fresh)
			if why != Drain {
				r.lastChosen = r.lastMove
			}
			r.moved.add(was.Length)
			r.totals[why] = r.totals[why].plus(1, was.Length)
		}
	}, true
}

// pick is Pick. mu is held.
func (r *Relocator) pick(part *raid.Part) (m raid.Move, to []raid.NodeID, why Reason, found bool) {
	on := make([]raid.NodeID, 0, len(part.Copies))
	for _, c := range part.Copies {
		if c.Bad {
			return m, nil, "", false
		}
		if c.Node.IsNative() && !slices.Contains(on, c.Node) {
			on = append(on, c.Node)
		}
	}
	from, to, why := r.plan.Move(on, part.Length+r.cfg.Overhead)
	i := slices.IndexFunc(part.Copies, func(c raid.Copy) bool { return from != "" && c.Node == from })
	if i < 0 || len(to) == 0 {
		return m, nil, "", false
	}
	return raid.Move{Old: part.Copies[i], Wished: true, Even: why == Balance, Fits: func(id raid.NodeID) bool { return slices.Contains(to, id) }}, to, why, true
}

// Instead says which nodes should get a copy in place of one on a node that is lost. That is the one
// that takes its place, if there is one with room; nil: any may. It does no I/O.
func (r *Relocator) Instead(part *raid.Part, lost raid.NodeID) (fits func(raid.NodeID) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	to := r.successors[lost]
	if to == "" || slices.ContainsFunc(part.Copies, func(c raid.Copy) bool { return c.Node == to }) || !r.plan.HasRoom(to, part.Length+r.cfg.Overhead) {
		return nil
	}
	return func(id raid.NodeID) bool { return id == to }
}

// Moved tells that a copy of a part is on another node now for other reasons.
func (r *Relocator) Moved(part *raid.Part, old, fresh raid.Copy) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.noteMoved(part, old, fresh)
}

// noteMoved counts a copy where it is now. mu is held.
func (r *Relocator) noteMoved(part *raid.Part, old, fresh raid.Copy) {
	var before, after []raid.NodeID
	for _, c := range part.Copies {
		if c.Node.IsNative() && !c.Bad {
			before = append(before, c.Node)
		}
		if c.Index == old.Index {
			c = fresh
		}
		if c.Node.IsNative() && !c.Bad {
			after = append(after, c.Node)
		}
	}
	r.count.moveBytes(before, after, part.Length)
	r.plan.Moved(old.Node, fresh.Node, part.Length+r.cfg.Overhead)
	r.plan.Spread(before, after, part.Length+r.cfg.Overhead)
	r.lastMove = time.Now()
}

// movingFor bounds the time after the last move for the sake of zones or balance in which
// others are believed to follow. What is too large to fit is left where it is.
const movingFor = 15 * time.Second

// Left is about how much is yet to move. It does no I/O.
func (r *Relocator) Left() (drain, zone, balance Amount) {
	r.mu.Lock()
	defer r.mu.Unlock()
	drain, zone, balance = r.plan.Left()
	if time.Since(r.lastChosen) > movingFor {
		zone, balance = Amount{}, Amount{}
	}
	return drain, zone, balance
}

// Stuck tells about how much has all copies in one zone, and finds no room in another. It
// does no I/O.
func (r *Relocator) Stuck() Amount {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.plan.Stuck()
}

// Totals sums up what was moved since the start, by why.
func (r *Relocator) Totals() map[Reason]Amount {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.totals)
}
