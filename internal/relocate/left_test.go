package relocate

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

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
		r.plan, r.lastMove = a.plan(), time.Now()
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
