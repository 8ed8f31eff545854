package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/raidpi/raidpi/internal/raid"
)

// tally counts the results of the parts that one pass of the scan has found. A nil one counts
// nothing.
type tally struct {
	mu               sync.Mutex
	idle             sync.Cond
	open             int                  // parts in lanes
	noRoom           amount               // no node without a copy has room
	noNode           amount               // there is no node without a copy
	unread           amount               // no good copy can be read
	late             amount               // for a reason that passes: a node did not answer, the catalog is busy
	unreachable      amount               // copies of parts that have none on a node that is there
	full             amount               // the disk of the catalog has no room
	uneven           int64                // parts that find no place where they would be held more evenly
	unreachableParts int64                // these parts
	on               map[raid.NodeID]bool // nodes that hold them
}

// nodesNamed bounds the nodes that a sentence names.
const nodesNamed = 5

func newTally() *tally {
	t := &tally{on: map[raid.NodeID]bool{}}
	t.idle.L = &t.mu
	return t
}

func (t *tally) begin() {
	if t != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.open++
	}
}

func (t *tally) end() {
	if t != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.open--
		t.idle.Broadcast()
	}
}

// wait returns when no part is in a lane.
func (t *tally) wait(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { t.mu.Lock(); defer t.mu.Unlock(); t.idle.Broadcast() })
	defer stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.open > 0 && ctx.Err() == nil {
		t.idle.Wait()
	}
}

// missed counts a part that is tried again later.
func (t *tally) missed(bytes int64) {
	if t != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.late = t.late.plus(amount{1, bytes})
	}
}

// fail counts a part in a tally by why it could not be made. When no good copy of it can
// be read, that is for want of the nodes that have them, and not of one that takes another.
func (r *Repairer) fail(t *tally, p *raid.Part, o outcome) {
	switch {
	case t == nil || o.cause == nil:
	case errors.Is(o.cause, raid.ErrTooFewNodes) && r.isUnreachable(p):
		t.addUnreachable(p)
	default:
		t.failed(p.Length, o)
	}
}

// isUnreachable reports whether all nodes that have a good copy of a part are away.
func (r *Repairer) isUnreachable(p *raid.Part) (dark bool) {
	for _, c := range p.Copies {
		if c.Bad || !c.Node.IsNative() {
			continue
		}
		if _, there := r.cfg.Nodes.Peer(c.Node); there {
			return false
		}
		dark = true
	}
	return dark
}

// failed counts a part by why it could not be made.
func (t *tally) failed(bytes int64, o outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	of, cause := &t.late, o.cause
	switch {
	case o.even && errors.Is(cause, raid.ErrArrayFull):
		t.uneven++ // it is as safe where it is
		return
	case errors.Is(cause, raid.ErrNoSpace) && !o.placed:
		of = &t.full
	case errors.Is(cause, raid.ErrArrayFull):
		of = &t.noRoom
	case errors.Is(cause, raid.ErrTooFewNodes):
		of = &t.noNode
	case errors.Is(cause, raid.ErrCorrupt), errors.Is(cause, raid.ErrNotFound):
		of = &t.unread
	}
	*of = of.plus(amount{1, bytes})
}

// addUnreachable counts a part that has no good copy on a node that is there.
func (t *tally) addUnreachable(p *raid.Part) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unreachableParts++
	for _, c := range p.Copies {
		if c.Bad || !c.Node.IsNative() {
			continue
		}
		t.unreachable = t.unreachable.plus(amount{1, p.Length})
		if len(t.on) < nodesNamed {
			t.on[c.Node] = true
		}
	}
}

// left sums up what was not made.
func (t *tally) left() amount {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.noRoom.plus(t.noNode).plus(t.unread).plus(t.late).plus(t.unreachable).plus(t.full)
}

// isUneven reports whether some part is not where nodes would hold the same share.
func (t *tally) isUneven() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.uneven > 0
}

// passes reports whether all that was not made is held up by something that passes.
func (t *tally) passes() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.late.parts+t.full.parts > 0 && t.noRoom.parts == 0 && t.noNode.parts == 0
}

// blockedBy says why parts were not made and what would help, for a person; empty: it
// ends by itself.
func (r *Repairer) blockedBy(t *tally) string {
	takers := 0
	for _, c := range r.cfg.Nodes.Candidates() {
		if !c.Lab {
			takers++
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []string
	if t.full.parts > 0 {
		all = append(all, "the disk of the controller's state_dir is full: free some space there")
	}
	if n := t.noRoom; n.parts > 0 {
		all = append(all, fmt.Sprintf("%d copies find no room on a node that has none of their part: add a node, or free %s", n.parts, humanBytes(n.bytes+n.parts*chunkOverhead)))
	}
	if n := t.noNode; n.parts > 0 {
		all = append(all, fmt.Sprintf("%d copies find no node that has none of their part, since %d nodes take copies now and each part wants %d: add a node", n.parts, takers, r.cfg.PerPart))
	}
	if t.unreachableParts > 0 {
		var names []string
		for id := range t.on {
			names = append(names, r.cfg.Name(id))
		}
		slices.Sort(names)
		all = append(all, fmt.Sprintf("the good copies of %d parts are all on nodes that are away: start %s again", t.unreachableParts, strings.Join(names, " or ")))
	}
	return strings.Join(all, "; ")
}

// chunkOverhead bounds what a chunk takes on a disk beside its payload, in bytes, generously.
const chunkOverhead = 16 << 10
