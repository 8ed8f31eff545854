package relocate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// countWithin is the time that a person who drains a node waits for a count.
	countWithin = 20 * time.Second
	// removeAgain is the time until a node is taken out again that could not be.
	removeAgain = 30 * time.Second
)

// Drain has everything moved off a node, durably: it gets nothing new from then on. Once
// more is fine. It fails with raid.ErrNotFound, and with raid.ErrPrecondition, which says
// what is missing, when the others can't take what the node holds.
func (r *Relocator) Drain(ctx context.Context, id raid.NodeID) error {
	rec, info, err := r.find(ctx, id)
	if err != nil || rec.Draining {
		return err
	}
	if err := r.fits(ctx, id, called(info)); err != nil {
		return err
	}
	err = r.order(ctx, id, func(to raid.Relocation) (raid.Relocation, error) {
		to.Draining, to.Drained, to.Filling = true, false, false
		return to, nil
	})
	if err != nil {
		return fmt.Errorf("drain node %s: %w", called(info), err)
	}
	r.ordered(id, "what rests on it is being looked at")
	r.cfg.Tell(raid.Event{Kind: raid.DrainBegan, Node: id, Text: "everything moves off " + called(info),
		Advice: "leave it on until it holds nothing any more; raidctl nodes shows that"})
	return nil
}

// Undrain has a node take copies again, and ends its replacement, durably. It fails with
// raid.ErrNotFound.
func (r *Relocator) Undrain(ctx context.Context, id raid.NodeID) error {
	rec, info, err := r.find(ctx, id)
	if err != nil || !rec.Draining && !rec.Replaced {
		return err
	}
	if r.cfg.Revoke != nil {
		r.cfg.Revoke(id)
	}
	err = r.order(ctx, id, func(to raid.Relocation) (raid.Relocation, error) {
		return raid.Relocation{Filling: to.Filling}, nil
	})
	if err != nil {
		return fmt.Errorf("undrain node %s: %w", called(info), err)
	}
	r.ordered(id, "")
	r.cfg.Tell(raid.Event{Kind: raid.DrainStopped, Node: id, Text: called(info) + " stays, and gets copies again"})
	return nil
}

// Replace says that another node will take the place of one, durably. That one drains from when
// that one has joined, and leaves the array when nothing rests on it any more. Until then
// it may be said again. It fails with raid.ErrNotFound, and with raid.ErrPrecondition when
// its successor has joined already.
func (r *Relocator) Replace(ctx context.Context, id raid.NodeID) error {
	_, info, err := r.find(ctx, id)
	if err != nil {
		return err
	}
	err = r.order(ctx, id, func(to raid.Relocation) (raid.Relocation, error) {
		if to.Replaced && to.Successor != "" {
			return to, fmt.Errorf("%w: node %s is replaced by %s already; to end that: raidctl node undrain %s",
				raid.ErrPrecondition, called(info), r.name(to.Successor), raid.NodeArg(info.ID, info.Name))
		}
		to.Replaced = true
		return to, nil
	})
	if err != nil {
		return fmt.Errorf("replace node %s: %w", called(info), err)
	}
	r.ordered(id, waitsForSuccessor)
	return nil
}

// find is a native node of the array.
func (r *Relocator) find(ctx context.Context, id raid.NodeID) (rec raid.NodeRecord, info raid.NodeInfo, err error) {
	records, err := r.cfg.Wishes.Nodes(ctx)
	if err != nil {
		return rec, info, err
	}
	i := slices.IndexFunc(records, func(n raid.NodeRecord) bool { return n.ID == id })
	if i < 0 {
		return rec, info, fmt.Errorf("%w: there is no node %.40q that has joined or holds files", raid.ErrNotFound, id)
	}
	return records[i], r.info(id), nil
}

func (r *Relocator) info(id raid.NodeID) raid.NodeInfo {
	for _, n := range r.cfg.Array.Nodes() {
		if n.ID == id {
			return n
		}
	}
	return raid.NodeInfo{ID: id, State: raid.Down}
}

func (r *Relocator) name(id raid.NodeID) string { return called(r.info(id)) }

// called is the name that people know a node by.
func called(n raid.NodeInfo) string {
	if n.Name == "" {
		return string(n.ID)
	}
	return n.Name
}

// follow has what was just written down followed.
func (r *Relocator) follow(id raid.NodeID) {
	r.cfg.Array.Reconsider(id)
	r.Wake()
}

// waitsForSuccessor is the state of a node that is to be replaced by one that has not joined.
const waitsForSuccessor = "waits for the Pi that is to take its place: raidctl node replace shows the line for it"

// order writes down what a person orders of a node. What was found before that, under an
// earlier order, is of no use from then on.
func (r *Relocator) order(ctx context.Context, id raid.NodeID, change func(raid.Relocation) (raid.Relocation, error)) error {
	return r.cfg.Wishes.Relocate(ctx, id, func(to raid.Relocation) (raid.Relocation, error) {
		r.mu.Lock()
		r.orders++
		r.mu.Unlock()
		return change(to)
	})
}

// isLast reports that nobody has ordered anything since orders.
func (r *Relocator) isLast(orders int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.orders == orders
}

// ordered has what a person ordered followed. text stands until it was looked at: what was
// said of an earlier order does not hold any more.
func (r *Relocator) ordered(id raid.NodeID, text string) {
	r.mu.Lock()
	delete(r.waits, id)
	if text != "" {
		r.waits[id] = &wait{text: text}
	}
	r.mu.Unlock()
	r.follow(id)
}

// fits fails when the other nodes can't take what a node holds.
func (r *Relocator) fits(ctx context.Context, id raid.NodeID, name string) error {
	records, err := r.cfg.Wishes.Nodes(ctx)
	if err != nil {
		return err
	}
	var others int
	nodes := r.nodes(records)
	for _, n := range nodes {
		if n.ID != id && n.Takes && !n.Drains {
			others++
		}
	}
	if others < r.cfg.Copies {
		return fmt.Errorf("%w: %d other nodes take chunks now, and %d copies need as many; add a node, or start those that are away (raidctl nodes)",
			raid.ErrPrecondition, others, r.cfg.Copies)
	}
	if r.stale(ctx) {
		counting, cancel := context.WithTimeout(ctx, countWithin)
		defer cancel()
		if err := r.recount(counting); errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return fmt.Errorf("%w: it takes longer to count what %s holds; try again in some minutes", raid.ErrBusy, name)
		} else if err != nil {
			return err
		}
	}
	r.mu.Lock()
	held := r.count.sums()
	r.mu.Unlock()
	if holds, room := Room(nodes, held, r.cfg.Overhead, id); room < holds {
		return fmt.Errorf("%w: %s holds %s, and the others can take %s of it with %d copies on different nodes: add a node, or free %s",
			raid.ErrPrecondition, name, bytes(holds), bytes(room), r.cfg.Copies, bytes(holds-room))
	}
	return nil
}

// bytes writes a size for a person.
func bytes(n int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= 10*u.size {
			return fmt.Sprintf("%d %s", (n+u.size/2)/u.size, u.name)
		}
		if n >= u.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}

// State tells what a node waits for that drains or is replaced, for a person; empty: it does
// neither. It does no I/O.
func (r *Relocator) State(id raid.NodeID) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.waits[id]; w != nil {
		return w.text
	}
	return ""
}

// forget is for a node that does not drain, or not any more, as long as nobody has ordered
// anything since.
func (r *Relocator) forget(id raid.NodeID, orders int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.orders == orders {
		delete(r.waits, id)
	}
}

// forgetOthers is forget for nodes that are not in the array any more.
func (r *Relocator) forgetOthers(records []raid.NodeRecord, orders int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.orders != orders {
		return
	}
	maps.DeleteFunc(r.waits, func(id raid.NodeID, _ *wait) bool {
		return !slices.ContainsFunc(records, func(rec raid.NodeRecord) bool { return rec.ID == id })
	})
}

// attend looks at a node that drains or is replaced, and ends that when nothing rests on
// it any more.
// What a person has ordered since, at orders, is not in rec.
func (r *Relocator) attend(ctx context.Context, rec raid.NodeRecord, orders int) error {
	if info := r.info(rec.ID); info.Draining != rec.Draining { // who joined just now takes its place
		r.cfg.Array.Reconsider(rec.ID)
	}
	w := r.waitOf(rec)
	text, empty, err := r.progress(ctx, rec, w)
	if err != nil {
		return err
	}
	if empty {
		if text, err = r.emptied(ctx, rec, w, orders); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.orders == orders {
		w.text = text
	}
	return nil
}

// waitOf holds what is known of a node that drains.
func (r *Relocator) waitOf(rec raid.NodeRecord) *wait {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.waits[rec.ID]
	if w == nil {
		w = &wait{}
		r.waits[rec.ID] = w
	}
	if w.over == nil && rec.Draining {
		w.over = r.cfg.Uploads()
	}
	return w
}

// progress says what a node waits for, or that nothing rests on it.
func (r *Relocator) progress(ctx context.Context, rec raid.NodeRecord, w *wait) (text string, empty bool, err error) {
	if rec.Replaced && rec.Successor == "" {
		return waitsForSuccessor, false, nil
	}
	to := ""
	if rec.Successor != "" {
		to = " to " + r.name(rec.Successor)
	}
	over := w.over() // before the look for copies that are on their way
	coming, err := r.cfg.Record.Intends(ctx, rec.ID)
	if err != nil {
		return "", false, err
	}
	rests := r.cfg.Record.Resting(rec.ID) // after both: what was on its way may rest on it by now
	removals, err := r.cfg.Record.RemovalCounts(ctx)
	if err != nil {
		return "", false, err
	}
	info := r.info(rec.ID)
	switch {
	case rests.Partial:
		return "it is being counted what rests on it", false, nil
	case !rests.None() && r.cfg.Lost(rec.ID):
		return fmt.Sprintf("is away, and its copies are made again%s: %s", to, resting(rests)), false, nil
	case !rests.None() && !info.IsThere():
		return fmt.Sprintf("is away while its copies are to move%s: start it. %s", to, resting(rests)), false, nil
	case !rests.None():
		return fmt.Sprintf("its copies move%s: %s", to, resting(rests)), false, nil
	case !over:
		return "no file rests on it; uploads that began before are waited for", false, nil
	case coming:
		return "no file rests on it; a copy that was on its way is waited for", false, nil
	case removals[rec.ID] > 0 && info.IsThere() && !info.ReadOnly: // a worn card may never delete them
		return fmt.Sprintf("no file rests on it; %d chunks are yet to be deleted there", removals[rec.ID]), false, nil
	}
	return "", true, nil
}

// resting says what rests on a node yet. What is in the trash is told apart: it may be
// news to a person that it counts.
func resting(r raid.Resting) string {
	verb := "rest"
	if r.Files+r.Trash == 1 {
		verb = "rests"
	}
	deleted := number(r.Trash, "deleted file") + " that can be put back"
	switch {
	case r.Files == 0:
		return fmt.Sprintf("%s %s on it yet (raidctl trash ls)", deleted, verb)
	case r.Trash > 0:
		return fmt.Sprintf("%s and %s %s on it yet", number(r.Files, "file"), deleted, verb)
	}
	return fmt.Sprintf("%s %s on it yet", number(r.Files, "file"), verb)
}

// number counts things in words.
func number(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// emptied is for a node on which nothing rests any more: that is told, once, and one that
// was replaced leaves the array.
func (r *Relocator) emptied(ctx context.Context, rec raid.NodeRecord, w *wait, orders int) (text string, err error) {
	name := r.name(rec.ID)
	if !rec.Drained {
		told := false
		err := r.cfg.Wishes.Relocate(ctx, rec.ID, func(to raid.Relocation) (raid.Relocation, error) {
			// Else a person stopped it just now, or began it once more: then it is looked at anew.
			told = to.Draining && !to.Drained && r.isLast(orders)
			to.Drained = to.Drained || told
			return to, nil
		})
		if err != nil {
			return "", fmt.Errorf("note that node %s holds nothing any more: %w", name, err)
		}
		r.follow(rec.ID)
		if told {
			r.cfg.Tell(raid.Event{Kind: raid.DrainEnded, Node: rec.ID, Text: name + " holds nothing any more", Advice: advice(rec, r.info(rec.ID).Name)})
			r.cfg.Log.Info("node holds nothing any more", "node", rec.ID, "name", name, "replaced_by", rec.Successor)
		}
	}
	if !rec.Replaced {
		return "holds nothing any more: " + advice(rec, r.info(rec.ID).Name), nil
	}
	if time.Since(w.tried) >= removeAgain {
		w.tried = time.Now()
		switch err := r.cfg.Remove(ctx, rec.ID); {
		case errors.Is(err, raid.ErrCatalogBroken):
			return "", err
		case err != nil:
			r.cfg.Log.Info("a node that was replaced could not be taken out yet; it is tried again", "node", rec.ID, "cause", err)
		default:
			r.cfg.Log.Info("node was replaced and left the array", "node", rec.ID, "name", name, "by", rec.Successor)
			r.Wake()
		}
	}
	return "holds nothing any more, and leaves the array", nil
}

// advice tells what to do with a node that holds nothing any more, whose name may be anything.
func advice(rec raid.NodeRecord, name string) string {
	if rec.Replaced {
		return "it leaves the array now; unplug it then"
	}
	arg := raid.NodeArg(rec.ID, name)
	return "it may be unplugged. To take it out for good: raidctl node remove " + arg + "; to keep it: raidctl node undrain " + arg
}

// fillingLeast is the least time between two notes of that kind. Nodes that say another room
// all the time could have one written with each look.
const fillingLeast = time.Minute

// noteFilling writes down which nodes get copies for the sake of balance, where that has
// changed.
func (r *Relocator) noteFilling(ctx context.Context, records []raid.NodeRecord) error {
	r.mu.Lock()
	filling := r.plan.Filling()
	known := !r.count.ended.IsZero() && (r.filled.IsZero() || time.Since(r.filled) >= fillingLeast)
	r.mu.Unlock()
	for _, rec := range records {
		if fills := slices.Contains(filling, rec.ID); known && fills != rec.Filling {
			r.mu.Lock()
			r.filled = time.Now()
			r.mu.Unlock()
			err := r.cfg.Wishes.Relocate(ctx, rec.ID, func(to raid.Relocation) (raid.Relocation, error) {
				to.Filling = fills && !to.Draining
				return to, nil
			})
			if err != nil && !errors.Is(err, raid.ErrNotFound) {
				return fmt.Errorf("note that node %s gets its share: %w", r.name(rec.ID), err)
			}
		}
	}
	return nil
}

// moved sums up what moved, for one event now and then.
type moved struct {
	copies, bytes int64
	last          time.Time
}

// movedQuiet is the time without a move after which it is told what moved.
const movedQuiet = time.Minute

func (m *moved) add(bytes int64) {
	m.copies, m.bytes, m.last = m.copies+1, m.bytes+bytes, time.Now()
}

// sayMoved tells what moved once that is over.
func (r *Relocator) sayMoved() {
	r.mu.Lock()
	m := r.moved
	over := m.copies > 0 && (len(r.plan.Sources()) == 0 || time.Since(m.last) >= movedQuiet)
	if over {
		r.moved = moved{}
	}
	r.mu.Unlock()
	if over {
		r.cfg.Tell(raid.Event{Kind: raid.CopiesMoved, Text: fmt.Sprintf("%d copies of %s moved to other nodes", m.copies, bytes(m.bytes))})
		r.cfg.Log.Info("copies moved to other nodes", "copies", m.copies, "bytes", m.bytes)
	}
}
