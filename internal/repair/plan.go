package repair

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strconv"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// silentFor is the time for which a node is left alone that did not answer a task, and
	// silentMost what that grows to. A new session is asked at once.
	silentFor  = 30 * time.Second
	silentMost = 5 * time.Minute
	// maxFailed bounds the parts that are remembered as tried in vain, for some 8 MiB.
	// When there are more, all are tried once again.
	maxFailed = 100_000
	// tryAgain is when a part is tried again that failed for a reason that ends without
	// an event of a node, and tryAgainMost what that grows to.
	tryAgain     = time.Minute
	tryAgainMost = 30 * time.Minute
	// roomCounts is the free space, in MiB, above which a node's is no news.
	roomCounts = 64
)

// view has what repair depends on of the nodes, at one moment. Another one is an event:
// a node that came, went, hangs, answers again, or has room again.
type view struct {
	nodes map[raid.NodeID]nodeView // that are connected
	room  uint64                   // of nodes that take copies, and about how much
	sign  uint64                   // of the nodes, and not of their room
}

type nodeView struct {
	session raid.SessionID
	suspect bool
}

// look takes a view. It asks memory alone.
func (r *Repairer) look() *view {
	v := &view{nodes: map[raid.NodeID]nodeView{}}
	var all []string
	for _, p := range r.cfg.Nodes.Natives() {
		n := nodeView{p.Session(), p.Suspect()}
		v.nodes[p.ID()] = n
		r.noteSuspect(p.ID(), n.suspect)
		all = append(all, string(p.ID())+" "+string(n.session)+" "+strconv.FormatBool(n.suspect))
	}
	var room []string
	for _, c := range r.cfg.Nodes.Candidates() {
		if !c.Lab {
			session := string(v.nodes[c.ID].session)
			room = append(room, string(c.ID)+" "+session+" "+strconv.FormatInt(min(c.Free>>20, roomCounts), 10))
		}
	}
	v.room = sum(room)
	v.sign = sum(all)
	return v
}

// sum is a checksum of lines in any order.
func sum(lines []string) uint64 {
	slices.Sort(lines)
	h := fnv.New64a()
	for _, l := range lines {
		_, _ = h.Write([]byte(l)) // never fails
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64()
}

// signOf is the sign of what a part's repair depends on: its rows, and its nodes.
func (v *view) signOf(p *raid.Part) uint64 {
	lines := make([]string, 0, len(p.Copies))
	for _, c := range p.Copies {
		n := v.nodes[c.Node]
		lines = append(lines, strconv.Itoa(c.Index)+" "+strconv.Itoa(c.Attempt)+" "+strconv.FormatBool(c.Bad)+" "+
			string(c.Node)+" "+string(n.session)+" "+strconv.FormatBool(n.suspect))
	}
	return sum(lines)
}

// plan says what is to be done for a part.
type plan struct {
	node        raid.NodeID   // whose lane it waits in; empty: nobody's in particular
	waits       bool          // for an event, or the clock
	after       time.Duration // when the clock says so; 0: it does not
	last        bool          // it has no copy that counts as good and can be read
	done        bool          // nothing is to be done
	lastOutcome outcome       // of the last try, when it waits since that was in vain
}

// plan says what is to be done for a part, from memory alone. 10,000 parts that can't
// be repaired cost no more than to look at them.
func (r *Repairer) plan(v *view, w *raid.Repair, now time.Time) plan {
	m, found := r.pick(&w.Part)
	if !found {
		return plan{done: true}
	}
	c := m.Old
	if failed, o, rest := r.failedBefore(v, w, now); failed {
		return plan{waits: true, after: rest, lastOutcome: o}
	}
	p := r.source(v, &w.Part, now)
	if !c.Bad || !c.Node.IsNative() || r.cfg.Losses.Gone(c.Node) {
		return p
	}
	n, there := v.nodes[c.Node]
	if r.isOut(c.Node, now) {
		return p
	}
	left := r.cfg.Grace - r.outFor(c.Node, now)
	rest := r.silence(c.Node, n.session, now)
	if there && !n.suspect && rest == 0 {
		if p.waits && p.after > 0 {
			return p // the others would be asked for more than it has
		}
		p.node, p.waits = c.Node, false // it is asked first whether its copy is good after all
		return p
	}
	p.waits, p.after = true, left
	if there && rest > 0 {
		p.after = min(left, rest)
	}
	return p
}

// source finds the node that a part is read from: one with a good copy, else one with a
// copy of which some blocks may be good.
func (r *Repairer) source(v *view, part *raid.Part, now time.Time) (p plan) {
	for _, bad := range []bool{false, true} {
		for _, c := range part.Copies {
			n, there := v.nodes[c.Node]
			if !there || c.Bad != bad {
				continue
			}
			rest := r.silence(c.Node, n.session, now)
			if !n.suspect && rest == 0 {
				return plan{node: c.Node, last: bad}
			}
			p = plan{waits: true, after: rest, last: bad}
		}
		if p.waits && p.after > 0 {
			return p // who has a good copy was asked just now, in vain
		}
	}
	p.last = true
	return p
}

// failure has what a part depended on when it was tried in vain.
type failure struct {
	sign    uint64
	room    uint64        // 0: it does not depend on room elsewhere
	pause   time.Duration // 0: it waits for an event; else no longer than that
	until   time.Time     // the end of pause
	outcome outcome
}

// failedBefore reports whether a part need not be tried, as it was in vain and nothing has happened
// since. rest is the time for which the clock says so, 0: for ever.
func (r *Repairer) failedBefore(v *view, w *raid.Repair, now time.Time) (failed bool, o outcome, rest time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, ok := r.failed[w.Cursor()]
	if !ok || f.sign != v.signOf(&w.Part) || f.room != 0 && f.room != v.room {
		return false, o, 0
	}
	if f.pause == 0 {
		return true, f.outcome, 0
	}
	rest = f.until.Sub(now)
	return rest > 0, f.outcome, max(rest, 0)
}

// failedNow notes that a part was tried in vain. Where no event of a node will tell that another
// try is worth it, as the catalog or a node was too busy, or the catalog's disk full, the clock
// does. It does so each time after twice as long.
func (r *Repairer) failedNow(w *raid.Repair, f failure, clock bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := w.Cursor()
	if clock {
		f.pause = min(cmp.Or(2*r.failed[key].pause, tryAgain), tryAgainMost)
		f.until = time.Now().Add(f.pause)
		if r.again.IsZero() || f.until.Before(r.again) {
			r.again = f.until
		}
	}
	if len(r.failed) >= maxFailed {
		clear(r.failed)
	}
	r.failed[key] = f
}

// isAgain reports whether the clock wants a part to be tried again that failed since the
// last pass began.
func (r *Repairer) isAgain() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.again.IsZero() && !time.Now().Before(r.again)
}

// repaired forgets that a part was tried in vain.
func (r *Repairer) repaired(w *raid.Repair) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.failed, w.Cursor())
}

// trouble notes what a node did not answer.
type trouble struct {
	session raid.SessionID
	since   time.Time     // it has answered no task; zero: it has
	until   time.Time     // it is left alone
	pause   time.Duration // the last one
	suspect time.Time     // since when it is; zero: it is not
}

// troubleOf returns what is known of a node. Callers hold mu.
func (r *Repairer) troubleOf(node raid.NodeID) *trouble {
	t := r.troubles[node]
	if t == nil {
		t = &trouble{}
		r.troubles[node] = t
	}
	return t
}

// silence is for how long a session of a node is left alone yet.
func (r *Repairer) silence(node raid.NodeID, session raid.SessionID, now time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.troubles[node]
	if t == nil || t.since.IsZero() || t.session != session {
		return 0
	}
	return max(0, t.until.Sub(now))
}

// heard notes whether a node answered what it was asked for.
func (r *Repairer) heard(node raid.NodeID, answered bool) {
	p, ok := r.cfg.Nodes.Peer(node)
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.troubleOf(node)
	if answered {
		t.since = time.Time{}
		return
	}
	if t.since.IsZero() {
		t.since, t.pause = time.Now(), 0
	}
	t.session = p.Session()
	t.pause = min(cmp.Or(2*t.pause, silentFor), silentMost)
	t.until = time.Now().Add(t.pause)
}

// noteSuspect notes whether a node is suspect.
func (r *Repairer) noteSuspect(node raid.NodeID, suspect bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch t := r.troubles[node]; {
	case !suspect && t != nil:
		t.suspect = time.Time{}
	case suspect && (t == nil || t.suspect.IsZero()):
		r.troubleOf(node).suspect = time.Now()
	}
}

// outFor is for how long a node has been away, or hangs.
func (r *Repairer) outFor(node raid.NodeID, now time.Time) time.Duration {
	out := r.cfg.Nodes.AwayFor(node)
	p, there := r.cfg.Nodes.Peer(node)
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.troubles[node]; t != nil {
		// What another life of it did not answer, or was not asked again for long, says
		// nothing: a node that holds nothing which counts may never be asked.
		if there && (t.session != p.Session() || now.Sub(t.until) > tryAgainMost) {
			t.since = time.Time{}
		}
		for _, since := range []time.Time{t.since, t.suspect} {
			if !since.IsZero() {
				out = max(out, now.Sub(since))
			}
		}
	}
	return out
}

// Lost reports whether a node is lost: away, or hanging, for longer than grace, as this
// controller has seen it since its start. Its copies count as missing until it is back.
// No I/O.
func (r *Repairer) Lost(id raid.NodeID) bool { return r.isOut(id, time.Now()) }

// isOut reports whether a node has been away, or hangs, for longer than grace.
func (r *Repairer) isOut(node raid.NodeID, now time.Time) bool {
	out := r.outFor(node, now)
	return out > 0 && out >= r.cfg.Grace
}
