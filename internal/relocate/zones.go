package relocate

import "github.com/raidpi/raidpi/internal/raid"

// mixedIn tells in which zone all copies of a part are, when one of them is to leave it for
// the sake of zones alone. A copy on a node that drains leaves anyway, and is counted there.
func (p *Plan) mixedIn(on []raid.NodeID) (zone string, is bool) {
	if !p.isMixed(on) {
		return "", false
	}
	for _, id := range on {
		s := p.nodes[id]
		if s == nil || !s.Gives {
			continue
		}
		if s.Drains {
			return "", false
		}
		zone, is = s.Zone, true
	}
	return zone, is
}

// mix counts parts, or takes them off again, whose copies are all on these nodes.
func (p *Plan) mix(on []raid.NodeID, parts, bytes int64) {
	zone, is := p.mixedIn(on)
	if !is {
		return
	}
	if p.mixed == nil {
		p.mixed = map[string]Amount{}
	}
	had := p.mixed[zone]
	now := Amount{max(had.Parts+parts, 0), max(had.Bytes+bytes, 0)}
	if p.mixed[zone] = now; now.Parts == 0 {
		delete(p.mixed, zone)
	}
}

// reserve tells how much of its room a node keeps free of copies that need not move.
func (s *share) reserve() int64 { return int64(spareRoom * float64(s.size)) }

// zoneMoves tells how much of what is in one zone alone finds room in another, and how much
// finds none.
//
// This is a flow from zones to the nodes of all other zones. Its minimal cut gives the most
// that can go: all parts, or all room. For one zone it is the parts of all others, and the
// room of all others.
func (p *Plan) zoneMoves() (can, stuck Amount) {
	var all Amount
	for _, a := range p.mixed {
		all = all.plus(a.Parts, a.Bytes)
	}
	if all.Parts == 0 {
		return can, stuck
	}
	room, rooms := p.roomByZone(all)
	parts := min(all.Parts, rooms)
	for zone, a := range p.mixed {
		parts = min(parts, all.Parts-a.Parts+rooms-room[zone])
	}
	can = Amount{parts, all.Bytes}
	if parts < all.Parts {
		can.Bytes = int64(float64(all.Bytes) / float64(all.Parts) * float64(parts))
	}
	return can, Amount{all.Parts - can.Parts, all.Bytes - can.Bytes}
}

// roomByZone tells for how many parts of the usual size each zone has room, and all zones
// together. More room on one node than there are parts makes no difference.
func (p *Plan) roomByZone(all Amount) (room map[string]int64, sum int64) {
	usual := max((all.Bytes+all.Parts-1)/all.Parts, 1)
	room = map[string]int64{}
	for _, s := range p.nodes {
		if s.Takes && !s.Drains {
			n := min(max(s.Free-s.reserve(), 0)/usual, all.Parts)
			room[s.Zone], sum = room[s.Zone]+n, sum+n
		}
	}
	return room, sum
}

// roomyZones are the zones with nodes that have any room for what need not move.
func (p *Plan) roomyZones() map[string]bool {
	roomy := map[string]bool{}
	for _, s := range p.nodes {
		if s.Takes && !s.Drains && s.Free > s.reserve() {
			roomy[s.Zone] = true
		}
	}
	return roomy
}

// leavesZone reports whether a node has parts that are in its zone alone, and a zone with
// room is another one.
func (p *Plan) leavesZone(s *share, roomy map[string]bool) bool {
	return s.mixed && !p.idle && p.mixed[s.Zone].Parts > 0 && (len(roomy) > 1 || len(roomy) == 1 && !roomy[s.Zone])
}

// Stuck tells about how much is in one zone alone, and finds no room in another.
func (p *Plan) Stuck() (stuck Amount) {
	can, stuck := p.zoneMoves()
	if p.idle {
		stuck = stuck.plus(can.Parts, can.Bytes)
	}
	return stuck
}
