package repair

import (
	"slices"

	"github.com/raidpi/raidpi/internal/raid"
)

// Wish is a reason to make copies elsewhere that no row of the catalog tells, such as
// that a node is drained. Its functions do no I/O and may be called concurrently.
type Wish struct {
	// Nodes are those that hold copies which may be wished elsewhere. What they hold is
	// looked through, page by page, as long as there are any.
	Nodes func() []raid.NodeID
	// Pick says which copy of a part is wished elsewhere, if any is. All copies of the
	// part are good, and on nodes that are not lost.
	Pick func(part *raid.Part) (m raid.Move, ok bool)
	// Instead says which nodes should get a copy in place of one on a node that is lost;
	// nil: any may.
	Instead func(part *raid.Part, lost raid.NodeID) (fits func(raid.NodeID) bool)
	// Begin is Pick for a copy that is made at once. end is told whether it was, and is
	// where the new copy is.
	Begin func(part *raid.Part) (m raid.Move, end func(fresh raid.Copy, ok bool), found bool)
	// Left is about how much is yet to be made, in parts and bytes; nil: it can't be told.
	Left func() (parts, bytes int64)
	// Moved is told of each other copy that is on another node than it was, the part as it
	// was before.
	Moved func(part *raid.Part, old, fresh raid.Copy)
}

// pick says which copy of a part is to be made elsewhere, if any is. A bad one
// comes first, then one whose node is lost, then the second
// of two on one node, then one that somebody wishes elsewhere. It asks memory alone.
func (r *Repairer) pick(p *raid.Part) (m raid.Move, found bool) {
	m.Missing = r.Lost
	c, isFlawed := flawed(p)
	if isFlawed && c.Bad {
		m.Old = c
		return m, true
	}
	for _, k := range p.Copies {
		if k.Node.IsNative() && r.Lost(k.Node) {
			m.Old, m.Kept = k, true
			for _, w := range r.cfg.Wishes {
				if m.Fits == nil && w.Instead != nil {
					m.Fits = w.Instead(p, k.Node)
				}
			}
			return m, true
		}
	}
	if isFlawed {
		m.Old = c
		return m, true
	}
	for _, w := range r.cfg.Wishes {
		if m, ok := w.Pick(p); ok {
			m.Missing, m.Wished = r.Lost, true
			return m, true
		}
	}
	return m, false
}

// begin is pick for a copy that is wished elsewhere, and made at once.
func (r *Repairer) begin(p *raid.Part) (m raid.Move, end func(fresh raid.Copy, ok bool), found bool) {
	for _, w := range r.cfg.Wishes {
		if m, end, found = w.Begin(p); found {
			m.Missing, m.Wished = r.Lost, true
			return m, end, true
		}
	}
	return m, nil, false
}

// kindOf returns the kind of work that a move is.
func kindOf(m raid.Move) int {
	switch {
	case m.Old.Bad || !m.Kept && !m.Wished:
		return ofFlawed
	case m.Kept:
		return ofLost
	}
	return ofMoved
}

// flawed is the copy of a part that its row calls flawed: a bad one, else the second of
// two on one node.
func flawed(p *raid.Part) (raid.Copy, bool) {
	on := map[raid.NodeID]bool{}
	twin := -1
	for i, c := range p.Copies {
		if c.Bad {
			return c, true
		}
		if c.Node.IsNative() && on[c.Node] {
			twin = i
		}
		on[c.Node] = true
	}
	if twin < 0 {
		return raid.Copy{}, false
	}
	return p.Copies[twin], true
}

// countThere counts the good copies of a part on nodes that are not lost, two on one node as one.
// They are counted so where no part is looked at.
func (r *Repairer) countThere(p *raid.Part) (n int) {
	for i, c := range p.Copies {
		twin := slices.ContainsFunc(p.Copies[:i], func(o raid.Copy) bool { return !o.Bad && o.Node == c.Node && c.Node.IsNative() })
		if !c.Bad && !twin && !r.Lost(c.Node) {
			n++
		}
	}
	return n
}
