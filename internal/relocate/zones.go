package relocate

import "github.com/raidpi/raidpi/internal/raid"

// mixedIn is the zone in which all copies of a part are, when one of them is to leave it
// for the sake of zones alone. One that leaves its node anyway, as that drains, is counted
// there.
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

// spare is how much of a node's room stays free when a copy moves to it that need not.
func (s *share) spare() int64 { return int64(spareRoom * float64(s.size)) }

// zoneMoves tells how much of what is in one zone alone can move to another, by the room
// that there is, and how much finds none.
//
// From zones to the nodes of all others as much can go as there is, or as finds room
// anywhere. Of one zone's own parts and its own nodes' room only one side can be used:
// so what goes is no more than all other parts and the room of other zones together.
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

// roomByZone is for how many parts of their usual size the nodes of each zone have room,
// and all of them together. More than there are parts is as good as that many.
func (p *Plan) roomByZone(all Amount) (room map[string]int64, sum int64) {
	usual := max((all.Bytes+all.Parts-1)/all.Parts, 1)
	room = map[string]int64{}
	for _, s := range p.nodes {
		if s.Takes && !s.Drains {
			n := min(max(s.Free-s.spare(), 0)/usual, all.Parts)
			room[s.Zone], sum = room[s.Zone]+n, sum+n
		}
	}
	return room, sum
}

// roomyZones are the zones with nodes that have any room for what need not move.
func (p *Plan) roomyZones() map[string]bool {
	roomy := map[string]bool{}
	for _, s := range p.nodes {
		if s.Takes && !s.Drains && s.Free > s.spare() {
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

// Stuck is how much is in one zone alone and stays so for want of room in another, about.
func (p *Plan) Stuck() (stuck Amount) {
	can, stuck := p.zoneMoves()
	if p.idle {
		stuck = stuck.plus(can.Parts, can.Bytes)
	}
	return stuck
}
