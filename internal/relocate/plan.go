package relocate

import (
	"cmp"
	"math"
	"slices"

	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// unevenAt is by how much the shares of their disks that two nodes have in use may
	// differ, of 1, beyond what can't be otherwise, and evenAt when they are even again.
	unevenAt = 0.10
	evenAt   = 0.05
	// lacksAt is the part of its share below which a node lacks copies, as one that was
	// added does, and hasAt from which on it has got its share.
	lacksAt = 0.5
	hasAt   = 0.9
	// fewParts is a share, in parts, that chance alone may leave a node without.
	fewParts = 16
	// spareRoom is the part of a disk that copies leave free which need not move.
	spareRoom = 0.05
)

// Node is a node as a Plan sees it.
type Node struct {
	ID   raid.NodeID
	Zone string
	Free int64 // bytes that it may still get
	// Takes says that copies may move to it now, and Gives that they may be read from it.
	Takes, Gives bool
	Drains       bool
	// Successor is the node that takes the place of one that drains; empty: none does.
	Successor raid.NodeID
	// Filling says that it was found to lack copies, and has not got its share yet.
	Filling bool
}

// Reason is why a copy moves.
type Reason string

// The reasons, the strongest first.
const (
	Drain   Reason = "drain"   // its node is to hold nothing any more
	Zone    Reason = "zone"    // all copies of the part are in one zone
	Balance Reason = "balance" // its node holds more than its share
)

// Plan is which copies are to move where. It holds for one count of what nodes hold;
// moves that are made since are told to it. Nothing in it depends on the order in which
// parts are looked at, and no node both gives and takes for the sake of balance. So it
// comes to an end.
type Plan struct {
	nodes map[raid.NodeID]*share
	zones bool // several zones have nodes that take copies
	// mixed counts parts that are in one zone alone and may leave it, by that zone.
	mixed  map[string]Amount
	uneven bool
	idle   bool // see GiveUp
}

// share is one node's part in a Plan.
type share struct {
	Node
	used, parts int64   // bytes and parts that it holds
	size        int64   // bytes that it can hold
	target      float64 // bytes that it is to hold
	mixed       bool    // it has parts of which all copies are in its zone
	gives       bool    // for the sake of balance; so does takes
	takes       bool
}

// off is by how much of its size a node holds more than its target.
func (s *share) off() float64 {
	if s.size <= 0 {
		return 0
	}
	return (float64(s.used) - s.target) / float64(s.size)
}

// isBelow reports whether a node holds less than such a part of its share.
func (s *share) isBelow(part float64) bool { return float64(s.used) < part*s.target }

// NewPlan makes a plan for nodes that hold so much. overhead is what a chunk takes on a disk
// beside its payload, in bytes.
func NewPlan(nodes []Node, held []raid.Holding, overhead int64) *Plan {
	p := &Plan{nodes: map[raid.NodeID]*share{}}
	for _, n := range nodes {
		p.nodes[n.ID] = &share{Node: n}
	}
	zones := map[string]bool{}
	for _, s := range p.nodes {
		if s.Takes {
			zones[s.Zone] = true
		}
	}
	p.zones = len(zones) > 1
	var oneCopy int64 // bytes of all parts
	for _, h := range held {
		size := h.Bytes + h.Parts*overhead
		oneCopy += size
		p.mix(h.Nodes, h.Parts, size)
		for _, id := range h.Nodes {
			if s := p.nodes[id]; s != nil {
				s.used, s.parts = s.used+size, s.parts+h.Parts
				s.mixed = s.mixed || p.isMixed(h.Nodes)
			}
		}
	}
	for _, s := range p.nodes {
		s.size, s.target = s.used+max(s.Free, 0), float64(s.used)
	}
	p.level(float64(oneCopy))
	p.balance()
	return p
}

// isMixed reports whether copies on these nodes are in one zone, while there are others.
func (p *Plan) isMixed(on []raid.NodeID) bool {
	return p.zones && len(on) > 1 && p.countZones(on) == 1
}

// sharing are the nodes that have their part in what is to be even.
func (p *Plan) sharing() (all []*share) {
	for _, s := range p.nodes {
		if s.Takes && s.Gives && !s.Drains && s.size > 0 {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *share) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// level sets the targets of nodes. They are the same share of each disk, as far as copies of a part
// on distinct nodes, and in distinct zones, allow that. So a node is to hold no more than
// one copy of everything, and so is a zone where there are others. What drains goes to
// the others.
func (p *Plan) level(oneCopy float64) {
	sharing := p.sharing()
	total, zone := 0.0, map[string]float64{}
	for _, s := range p.nodes {
		if slices.Contains(sharing, s) {
			total += float64(s.used)
			s.target = 0
			continue
		}
		if s.Drains {
			total += float64(s.used)
		} else {
			zone[s.Zone] += float64(s.used) // which stays
		}
	}
	if p.zones {
		total = fill(sharing, total, oneCopy, zone)
	}
	fill(sharing, total, oneCopy, nil)
}

// fill raises the targets of nodes together until they come to total, or can't rise, and
// returns what is left. No node gets above most, nor above its size. With zones, none of
// those gets above most either, of which it has so much already.
func fill(nodes []*share, total, most float64, zones map[string]float64) (left float64) {
	in := map[string]float64{}
	for z, has := range zones {
		in[z] = has
	}
	rises := func(s *share) bool {
		return s.target < min(most, float64(s.size)) && (zones == nil || in[s.Zone] < most)
	}
	for range 4 * (len(nodes) + 1) { // each round but the last ends the rise of a node or zone
		sizes, ofZone := 0.0, map[string]float64{}
		for _, s := range nodes {
			if rises(s) {
				sizes += float64(s.size)
				ofZone[s.Zone] += float64(s.size)
			}
		}
		if sizes == 0 || total < 1 {
			break
		}
		step := total / sizes // of each disk
		for _, s := range nodes {
			if !rises(s) {
				continue
			}
			step = min(step, (min(most, float64(s.size))-s.target)/float64(s.size))
			if zones != nil {
				step = min(step, (most-in[s.Zone])/ofZone[s.Zone])
			}
		}
		var up []*share
		for _, s := range nodes {
			if rises(s) {
				up = append(up, s)
			}
		}
		for _, s := range up {
			add := step * float64(s.size)
			s.target += add
			in[s.Zone] += add
			total -= add
		}
		// What is left to a limit by rounding is no room.
		for _, s := range up {
			if top := min(most, float64(s.size)); top-s.target < 1 {
				s.target = top
			}
			if most-in[s.Zone] < 1 {
				in[s.Zone] = most
			}
		}
	}
	return max(total, 0)
}

// balance decides whether copies move for the sake of balance, and who gives and takes.
func (p *Plan) balance() {
	sharing := p.sharing()
	high, low, all, parts := 0.0, 0.0, 0.0, 0.0
	for _, s := range sharing {
		high, low = max(high, s.off()), min(low, s.off())
		all, parts = all+s.target, parts+float64(s.parts)
	}
	p.uneven = high-low > unevenAt
	for _, s := range sharing {
		usual := parts * s.target / max(all, 1) // parts that its share comes to
		p.uneven = p.uneven || usual >= fewParts && s.isBelow(lacksAt) && float64(s.parts) < usual ||
			s.Filling && (s.isBelow(hasAt) || high-low > evenAt)
	}
	for _, s := range sharing {
		s.gives, s.takes = p.uneven && float64(s.used) > s.target, p.uneven && float64(s.used) < s.target
	}
}

// Uneven reports whether copies are to move for the sake of balance.
func (p *Plan) Uneven() bool { return p.uneven && !p.idle && !p.even() }

// GiveUp ends what is not a drain: no part was found that can move.
func (p *Plan) GiveUp() { p.idle = true }

// Filling are the nodes that get copies for the sake of balance. A plan that knows of them
// goes on where another one was cut off.
func (p *Plan) Filling() (ids []raid.NodeID) {
	uneven := p.Uneven()
	for id, s := range p.nodes {
		if uneven && s.takes {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// even reports whether the nodes are even enough again.
func (p *Plan) even() bool {
	high, low := 0.0, 0.0
	for _, s := range p.sharing() {
		high, low = max(high, s.off()), min(low, s.off())
		if s.takes && s.isBelow(hasAt) {
			return false
		}
	}
	return high-low <= evenAt
}

// Left is about how much is yet to move off nodes that can give it, by why. One move may
// do for several of them.
func (p *Plan) Left() (drain, zone, balance Amount) {
	if !p.idle {
		zone, _ = p.zoneMoves()
	}
	uneven := p.Uneven()
	for _, s := range p.nodes {
		switch {
		case !s.Gives:
		case s.Drains:
			drain = drain.plus(s.parts, s.used)
		case uneven && s.gives && float64(s.used) > s.target:
			over := float64(s.used) - s.target
			balance = balance.plus(int64(math.Ceil(over/float64(s.used)*float64(s.parts))), int64(over))
		}
	}
	return drain, zone, balance
}

// Amount is a number of parts, and their bytes on disk.
type Amount struct{ Parts, Bytes int64 }

func (a Amount) plus(parts, bytes int64) Amount { return Amount{a.Parts + parts, a.Bytes + bytes} }

// Sources are the nodes with copies that are to move. There is no other such copy.
func (p *Plan) Sources() (ids []raid.NodeID) {
	balance, roomy := p.Uneven(), p.roomyZones()
	for id, s := range p.nodes {
		if s.Gives && (s.Drains || s.used > 0 && (p.leavesZone(s, roomy) || balance && s.gives)) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Move says whether a copy of a part is to move, of size bytes on disk, whose good copies are on
// these nodes. It says from which node, and to which others it may. Only where one is in the end,
// it has moved.
func (p *Plan) Move(on []raid.NodeID, size int64) (from raid.NodeID, to []raid.NodeID, why Reason) {
	for _, id := range on {
		if s := p.nodes[id]; s != nil && s.Drains && s.Gives {
			return id, p.drainTo(s, on, size), Drain
		}
	}
	if p.isMixed(on) {
		if from = p.fullest(on, func(s *share) bool { return s.Gives }); from != "" {
			if to = p.takers(from, on, size, p.countZones(on)+1); len(to) > 0 {
				return from, to, Zone
			}
		}
	}
	if !p.Uneven() {
		return "", nil, ""
	}
	from = p.fullest(on, func(s *share) bool { return s.gives && float64(s.used-size) >= s.target })
	if from == "" {
		return "", nil, ""
	}
	best := -1.0
	for _, id := range p.takers(from, on, size, p.countZones(on)) {
		s := p.nodes[id]
		if s.takes && float64(s.used+size) <= s.target && -s.off() > best {
			best, to = -s.off(), []raid.NodeID{id}
		}
	}
	if len(to) == 0 {
		return "", nil, ""
	}
	return from, to, Balance
}

// drainTo are the nodes that may get a copy of one that drains: its successor, else those
// that keep most zones apart. None: it has to wait, as for a successor that is not there.
func (p *Plan) drainTo(s *share, on []raid.NodeID, size int64) []raid.NodeID {
	if s.Successor != "" && !slices.Contains(on, s.Successor) {
		n := p.nodes[s.Successor]
		switch {
		case n == nil || !n.Takes && !n.Drains:
			return nil
		case p.HasRoom(n.ID, size):
			return []raid.NodeID{n.ID}
		}
	}
	for zones := len(on); zones > 0; zones-- {
		if to := p.takers(s.ID, on, size, zones); len(to) > 0 {
			return to
		}
	}
	return nil
}

// fullest is the node that holds most beyond its target.
func (p *Plan) fullest(on []raid.NodeID, fits func(*share) bool) (id raid.NodeID) {
	for _, o := range on {
		if s := p.nodes[o]; s != nil && fits(s) && (id == "" || s.off() > p.nodes[id].off()) {
			id = o
		}
	}
	return id
}

// takers are the nodes that have room for a copy in place of that on from, so that the
// part is in so many zones at least.
func (p *Plan) takers(from raid.NodeID, on []raid.NodeID, size int64, zones int) (ids []raid.NodeID) {
	after := slices.DeleteFunc(slices.Clone(on), func(id raid.NodeID) bool { return id == from })
	for id, s := range p.nodes {
		spare := int64(0)
		if !p.nodes[from].Drains {
			spare = s.reserve()
		}
		if s.Takes && !s.Drains && !slices.Contains(on, id) && s.Free-size >= spare && p.countZones(append(after, id)) >= zones {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// countZones is in how many zones nodes are; one that is not known is in its own.
func (p *Plan) countZones(ids []raid.NodeID) int {
	seen := map[string]bool{}
	for _, id := range ids {
		if s := p.nodes[id]; s != nil {
			seen["in "+s.Zone] = true
		} else {
			seen["of "+string(id)] = true
		}
	}
	return len(seen)
}

// HasRoom reports whether a node takes copies, and has room for one of size bytes on disk.
func (p *Plan) HasRoom(id raid.NodeID, size int64) bool {
	s := p.nodes[id]
	return s != nil && s.Takes && !s.Drains && s.Free >= size
}

// Spread tells that a part of size bytes on disk is on other nodes than before.
func (p *Plan) Spread(before, after []raid.NodeID, size int64) {
	p.mix(before, -1, -size)
	p.mix(after, 1, size)
}

// Moved tells that a copy of size bytes on disk was moved.
func (p *Plan) Moved(from, to raid.NodeID, size int64) {
	if s := p.nodes[from]; s != nil {
		s.used, s.parts, s.Free = max(s.used-size, 0), max(s.parts-1, 0), s.Free+size
	}
	if s := p.nodes[to]; s != nil {
		s.used, s.parts, s.Free = s.used+size, s.parts+1, s.Free-size
	}
}
