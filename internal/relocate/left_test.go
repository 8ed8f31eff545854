package relocate

import (
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/placement"
	"github.com/raidpi/raidpi/internal/raid"
)

func TestWhatIsLeftToMoveGoesDownToNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	a := newArray(1000, 1000, 1000, 1000)
	a.store(rng, 600)
	if drain, zone, balance := a.plan().Left(); drain != (Amount{}) || zone != (Amount{}) || balance != (Amount{}) {
		t.Errorf("in an even array %+v and %+v are left", drain, balance)
	}
	a.add(1000, "")
	p := a.plan()
	drain, _, balance := p.Left()
	if drain != (Amount{}) || balance.Parts < 200 || balance.Parts > 260 || balance.Bytes/chunk < 200 || balance.Bytes/chunk > 260 {
		t.Errorf("for a fifth node, whose share are 240 parts, %+v and %+v are left", drain, balance)
	}
	for len(a.pass(t, p, rng)) > 0 {
	}
	if drain, zone, balance := p.Left(); drain != (Amount{}) || zone != (Amount{}) || balance != (Amount{}) {
		t.Errorf("once it is even %+v and %+v are left", drain, balance)
	}

	n := a.node("n01")
	n.Drains, n.Takes = true, false
	held := a.used(n.ID)
	p = a.plan()
	if drain, _, _ := p.Left(); drain != (Amount{held / chunk, held}) {
		t.Errorf("of %d MiB on a node that drains %+v are left", held>>20, drain)
	}
	n.Gives = false // it is away: its copies are made again by others, or wait
	if drain, _, _ := a.plan().Left(); drain != (Amount{}) {
		t.Errorf("of a node that is away %+v are left", drain)
	}
	n.Gives = true
	for len(a.pass(t, p, rng)) > 0 {
	}
	if drain, _, _ := p.Left(); drain != (Amount{}) {
		t.Errorf("of a drained node %+v are left", drain)
	}
}

// What can't be made even does not keep the array from being healthy.
func TestWhatDoesNotMoveForBalanceIsSoonNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(9, 9))
		a := newArray(1000, 1000, 1000)
		a.store(rng, 400)
		a.add(1000, "")
		r := New(Config{})
		r.plan, r.lastChosen = a.plan(), time.Now()
		time.Sleep(movingFor)
		if _, _, balance := r.Left(); balance.Parts == 0 {
			t.Error("nothing is left of what has just begun")
		}
		time.Sleep(time.Second)
		if _, _, balance := r.Left(); balance != (Amount{}) {
			t.Errorf("%+v are left of what does not move", balance)
		}
		a.node("n00").Drains = true
		r.plan = a.plan()
		if drain, _, _ := r.Left(); drain.Parts == 0 {
			t.Error("a drain that stands still is forgotten")
		}
	})
}

func TestMovesAreCountedByWhy(t *testing.T) {
	r := New(Config{})
	a := newArray(1000, 1000, 1000)
	a.parts = [][]raid.NodeID{{"n00", "n01"}, {"n00", "n02"}}
	a.node("n00").Drains = true
	r.plan = a.plan()
	for i, ok := range []bool{true, false} {
		part := &raid.Part{Length: chunk, Copies: []raid.Copy{{Index: 1, Node: a.parts[i][0]}, {Index: 2, Node: a.parts[i][1]}}}
		_, end, found := r.Begin(part)
		if !found {
			t.Fatalf("part %d does not move", i)
		}
		end(raid.Copy{Index: 1, Node: "n03"}, ok)
	}
	if got := r.Totals(); len(got) != 1 || got[Drain] != (Amount{1, chunk}) {
		t.Errorf("%+v", got)
	}
}

// What is to move to a zone that was added counts as left, and goes down to nothing.
func TestMovesToOtherZonesAreLeftToMove(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	a := newArray(1000, 1000)
	for i := range a.nodes {
		a.nodes[i].Zone = "attic"
	}
	a.store(rng, 300)
	if _, zone, _ := a.plan().Left(); zone != (Amount{}) {
		t.Errorf("with one zone %+v are left to move to others", zone)
	}
	a.add(1000, "cellar")
	p := a.plan()
	if _, zone, _ := p.Left(); zone != (Amount{300, 300 * chunk}) {
		t.Errorf("of 300 parts in one of two zones %+v are left", zone)
	}
	moved := 0
	for {
		moves := a.pass(t, p, rng)
		if len(moves) == 0 {
			break
		}
		moved += moves[Zone]
	}
	if _, zone, _ := p.Left(); moved != 300 || zone != (Amount{}) {
		t.Errorf("after %d moves %+v are left", moved, zone)
	}
	p = a.plan()
	if _, zone, _ := p.Left(); zone != (Amount{}) {
		t.Errorf("counted anew %+v are left", zone)
	}

	// Nothing leaves nodes that are away, and what does not fit is left where it is.
	b := newArray(1000, 1000)
	b.store(rng, 30)
	b.add(1000, "cellar")
	p = b.plan()
	p.GiveUp()
	if _, zone, _ := p.Left(); zone != (Amount{}) {
		t.Errorf("of what was given up %+v are left", zone)
	}
	for _, id := range []raid.NodeID{"n00", "n01"} {
		b.node(id).Gives = false
	}
	if _, zone, _ := b.plan().Left(); zone != (Amount{}) {
		t.Errorf("of nodes that are away %+v are left", zone)
	}
}

// What finds no room in another zone is no work under way. It is told apart.
func TestZoneMovesWithoutRoomAreStuckAndNotLeft(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	a := newArray(1000, 1000)
	for i := range a.nodes {
		a.nodes[i].Zone = "attic"
	}
	a.store(rng, 300)
	cellar := a.add(100, "cellar") // of which a twentieth stays free
	p := a.plan()
	if _, zone, _ := p.Left(); zone != (Amount{95, 95 * chunk}) || p.Stuck() != (Amount{205, 205 * chunk}) {
		t.Fatalf("with room for 95 of 300 parts %+v are left, and %+v stuck", zone, p.Stuck())
	}
	for len(a.pass(t, p, rng)) > 0 {
	}
	for name, p := range map[string]*Plan{"the same plan": p, "a new one": a.plan()} {
		if _, zone, _ := p.Left(); a.used(cellar) != 95*chunk || zone != (Amount{}) || p.Stuck() != (Amount{205, 205 * chunk}) {
			t.Errorf("%s: %d MiB moved, %+v are left, and %+v stuck", name, a.used(cellar)>>20, zone, p.Stuck())
		}
		if p.leavesZone(p.nodes["n00"], p.roomyZones()) {
			t.Errorf("%s: a node is looked through for what finds no room", name)
		}
	}

	// Room in a part's own zone is none for it.
	b := newArray(1000, 1000, 1000)
	for i := range b.nodes {
		b.nodes[i].Zone = []string{"attic", "attic", "cellar"}[i]
	}
	for range 50 {
		b.parts = append(b.parts, []raid.NodeID{"n00", "n01"})
	}
	b.size["n02"] = 0
	if p := b.plan(); p.Stuck() != (Amount{50, 50 * chunk}) || len(p.Sources()) > 0 {
		t.Errorf("%+v are stuck, and %v looked through", p.Stuck(), p.Sources())
	}
	// Each of two zones takes what is in the other.
	b.add(1000, "cellar")
	for range 30 {
		b.parts = append(b.parts, []raid.NodeID{"n02", "n03"})
	}
	b.size["n02"] = 30
	if _, zone, _ := b.plan().Left(); zone != (Amount{80, 80 * chunk}) {
		t.Errorf("of 80 parts in two zones %+v are left", zone)
	}
}

// A replan, a drain, or copies that are made again elsewhere are no reason to believe that
// moves follow which did not come before.
func TestWhatDoesNotMoveIsNotBelievedToByOtherMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(9, 9))
		a := newArray(1000, 1000, 1000, 1000)
		for i := range a.nodes {
			a.nodes[i].Zone = []string{"attic", "attic", "attic", "cellar"}[i]
		}
		a.store(rng, 200)
		r := New(Config{Array: modelled{still{}, a}, Lost: func(raid.NodeID) bool { return false }})
		for _, on := range a.parts {
			r.count.add(raid.Holding{Nodes: on, Parts: 1, Bytes: chunk})
		}
		a.plan()
		r.count.fresh = true
		r.replan(nil)
		if _, zone, _ := r.Left(); zone.Parts == 0 {
			t.Fatal("nothing is left of what has just begun")
		}
		time.Sleep(movingFor + time.Second) // all of it is too large, say
		r.count.fresh = true
		r.replan(nil)
		if _, zone, balance := r.Left(); zone != (Amount{}) || balance != (Amount{}) {
			t.Errorf("by a new plan %+v and %+v are left of what did not move", zone, balance)
		}
		on := slices.IndexFunc(a.parts, func(on []raid.NodeID) bool { return slices.Contains(on, "n01") && slices.Contains(on, "n03") })
		r.plan.nodes["n01"].Drains = true
		_, end, found := r.Begin(&raid.Part{Length: chunk, Copies: []raid.Copy{{Index: 1, Node: a.parts[on][0]}, {Index: 2, Node: a.parts[on][1]}}})
		if !found {
			t.Fatal("nothing is drained")
		}
		end(raid.Copy{Index: 1, Node: "n02"}, true)
		if drain, zone, balance := r.Left(); drain.Parts == 0 || zone != (Amount{}) || balance != (Amount{}) {
			t.Errorf("while a node drains, of which %+v are left, so are %+v and %+v that do not move", drain, zone, balance)
		}
	})
}

// modelled is the array of a model, in which nothing happens.
type modelled struct {
	still
	of *array
}

func (m modelled) Nodes() (all []raid.NodeInfo) {
	for _, n := range m.of.nodes {
		all = append(all, raid.NodeInfo{ID: n.ID, Kind: raid.Native, State: raid.Up, Zone: n.Zone})
	}
	return all
}

func (m modelled) Candidates() (all []placement.Candidate) {
	for _, n := range m.of.nodes {
		all = append(all, placement.Candidate{ID: n.ID, Zone: n.Zone, Free: n.Free})
	}
	return all
}

// A part that leaves a node which drains is one move, also when its copies are in one zone.
func TestWhatDrainsFromOneZoneIsCountedOnce(t *testing.T) {
	a := newArray(1000, 1000)
	for i := range a.nodes {
		a.nodes[i].Zone = "attic"
	}
	for range 40 {
		a.parts = append(a.parts, []raid.NodeID{"n00", "n01"})
	}
	a.add(1000, "cellar")
	n := a.node("n00")
	n.Drains, n.Takes = true, false
	p := a.plan()
	if drain, zone, _ := p.Left(); drain.Parts != 40 || zone != (Amount{}) {
		t.Errorf("of 40 parts %+v are to leave the node, and %+v their zone", drain, zone)
	}
	// One that finds room in its own zone alone is to leave it later.
	p.nodes["n03"] = &share{Node: Node{ID: "n03", Zone: "attic", Takes: true, Gives: true}}
	p.Moved("n00", "n03", chunk)
	p.Spread([]raid.NodeID{"n00", "n01"}, []raid.NodeID{"n01", "n03"}, chunk)
	if drain, zone, _ := p.Left(); drain.Parts != 39 || zone.Parts != 1 {
		t.Errorf("after a move within the zone %+v and %+v are left", drain, zone)
	}
	// A node that is away drains nothing: then the other copy may leave the zone.
	n.Gives = false
	if drain, zone, _ := a.plan().Left(); drain != (Amount{}) || zone.Parts != 40 {
		t.Errorf("with the one that drains away %+v and %+v are left", drain, zone)
	}
}
