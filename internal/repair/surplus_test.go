package repair

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// spared is an array that has made again what the first node held: it is away, its
// copies are surplus, and each part is on the second and the third.
func spared(t *testing.T, stripes int64) (*crowd, *array, raid.File) {
	t.Helper()
	a := newArray(t)
	c := newCrowd(t, 3, a.catalog, a)
	a.set(func() { a.put = c.nodes[2] })
	f := a.storeOn(stripes, [2]raid.NodeID{c.nodes[0], c.nodes[1]})
	c.down[0]()
	time.Sleep(crowdGrace + time.Minute)
	if got := a.surplus(c.nodes[0]); got != int(stripes) {
		t.Fatalf("%d surplus copies, want %d", got, stripes)
	}
	return c, a, f
}

func (a *array) surplus(node raid.NodeID) int {
	a.t.Helper()
	found, _, _, err := a.catalog.Surpluses(a.t.Context(), node, raid.SurplusCursor{}, 10_000)
	if err != nil {
		a.t.Fatal(err)
	}
	return len(found)
}

func (a *array) removals(node raid.NodeID) int {
	a.t.Helper()
	counts, err := a.catalog.RemovalCounts(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	return int(counts[node])
}

// A lost node that comes back gives up what others hold by now, once those were read.
func TestSurplusGoesWhenItsNodeReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, a, f := spared(t, 200)
		defer c.stop()
		c.up[0]()
		time.Sleep(time.Minute)
		if a.surplus(c.nodes[0]) != 0 || a.removals(c.nodes[0]) != 200 || a.on(c.nodes[1], f) != 200 || a.on(c.nodes[2], f) != 200 {
			t.Errorf("surplus %d, removals %d, on the others %d and %d", a.surplus(c.nodes[0]), a.removals(c.nodes[0]), a.on(c.nodes[1], f), a.on(c.nodes[2], f))
		}
		for _, n := range c.nodes[1:] {
			if got := a.read(n); got != 200 {
				t.Errorf("%d copies were read on %s", got, n)
			}
		}
		if p := c.repair.Progress(); p.PartsLeft != 0 {
			t.Errorf("progress %+v", p)
		}
	})
}

// What a node did not answer before it went says nothing of its next life: nobody may ask
// it for a copy then, since all that it has is surplus.
func TestALostNodeIsBackAlsoWhenItDidNotAnswerBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArray(t)
		c := newCrowd(t, 3, a.catalog, a)
		defer c.stop()
		a.set(func() { a.put = c.nodes[2] })
		f := a.storeOn(10, [2]raid.NodeID{c.nodes[0], c.nodes[1]})
		c.repair.heard(c.nodes[0], false)
		c.down[0]()
		time.Sleep(crowdGrace + time.Minute)
		if !c.repair.Lost(c.nodes[0]) || a.surplus(c.nodes[0]) != 10 {
			t.Fatalf("lost is %v, surplus %d", c.repair.Lost(c.nodes[0]), a.surplus(c.nodes[0]))
		}
		c.up[0]()
		time.Sleep(time.Minute)
		if c.repair.Lost(c.nodes[0]) || a.surplus(c.nodes[0]) != 0 || a.removals(c.nodes[0]) != 10 || a.on(c.nodes[2], f) != 10 {
			t.Errorf("lost is %v, surplus %d, removals %d", c.repair.Lost(c.nodes[0]), a.surplus(c.nodes[0]), a.removals(c.nodes[0]))
		}
	})
}

// A node that did not answer once is not lost for ever because nobody asks it again.
func TestANodeThatIsNotAskedAgainIsNotLostForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArray(t)
		c := newCrowd(t, 3, a.catalog, a)
		defer c.stop()
		c.repair.heard(c.nodes[0], false)
		time.Sleep(crowdGrace + time.Second)
		if !c.repair.Lost(c.nodes[0]) {
			t.Fatal("it is not lost, and does not answer")
		}
		time.Sleep(tryAgainMost + silentFor)
		if c.repair.Lost(c.nodes[0]) {
			t.Error("it is lost, and nobody has asked it since")
		}
	})
}

// Nothing of a surplus goes while another copy can't be read, or proves bad: then it
// takes that one's place.
func TestSurplusStaysWhenAnotherCopyIsNotGood(t *testing.T) {
	for name, found := range map[string]error{"rotten": raid.ErrCorrupt, "missing": raid.ErrNotFound, "does not answer": raid.ErrExpired} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, a, f := spared(t, 10)
				defer c.stop()
				bad := c.nodes[1]
				a.set(func() { a.found = map[raid.NodeID]error{bad: found} })
				c.up[0]()
				time.Sleep(10 * time.Minute)
				if a.removals(c.nodes[0]) != 0 {
					t.Errorf("%d surplus copies are to be removed", a.removals(c.nodes[0]))
				}
				if found == raid.ErrExpired {
					if a.surplus(c.nodes[0]) != 10 {
						t.Errorf("%d surplus copies are left", a.surplus(c.nodes[0]))
					}
					a.set(func() { a.found = nil })
					time.Sleep(10 * time.Minute)
					if a.surplus(c.nodes[0]) != 0 || a.removals(c.nodes[0]) != 10 {
						t.Errorf("later surplus %d, removals %d", a.surplus(c.nodes[0]), a.removals(c.nodes[0]))
					}
					return
				}
				if a.on(c.nodes[0], f) != 10 || a.on(bad, f) != 0 || a.on(c.nodes[2], f) != 10 || a.surplus(c.nodes[0]) != 0 {
					t.Errorf("on nodes %d, %d, %d; surplus %d", a.on(c.nodes[0], f), a.on(bad, f), a.on(c.nodes[2], f), a.surplus(c.nodes[0]))
				}
			})
		})
	}
}

// When all copies of a part are bad, the surplus one takes the place of one of them, and the other
// is made of it then. It was tried before, in vain, and no node tells that another try is worth it.
func TestWhatIsMadeOfASurplusCopyIsMadeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, a, f := spared(t, 10)
		defer c.stop()
		a.set(func() {
			a.place = func(p raid.Part) (raid.NodeID, time.Duration, error) {
				on := map[raid.NodeID]bool{}
				for _, c := range p.Copies {
					on[c.Node] = on[c.Node] || !c.Bad
				}
				for _, n := range c.nodes[1:] {
					if on[c.nodes[0]] && !on[n] {
						return n, 0, nil
					}
				}
				return "", 0, raid.ErrCorrupt
			}
			a.found = map[raid.NodeID]error{c.nodes[1]: raid.ErrCorrupt, c.nodes[2]: raid.ErrCorrupt}
		})
		parts, err := a.catalog.Parts(t.Context(), f.ID, 0, f.Stripes)
		for _, p := range parts {
			for _, found := range p.Copies {
				err = errors.Join(err, a.catalog.MarkBad(t.Context(), f.ID, p.Stripe, p.Number, found.Index, found.Attempt))
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		c.repair.Wake()
		time.Sleep(time.Minute)
		c.up[0]()
		time.Sleep(time.Minute)
		left, err := a.catalog.Repairs(t.Context(), raid.PartCursor{}, 10)
		if err != nil || len(left) > 0 || a.on(c.nodes[0], f) != 10 || a.surplus(c.nodes[0]) != 0 {
			t.Errorf("%d parts are to be repaired yet (%v), %d on the node that is back, %d surplus", len(left), err, a.on(c.nodes[0], f), a.surplus(c.nodes[0]))
		}
	})
}

// Of three copies those stay that spread best: zones before room, and nothing is moved
// for a trifle.
func TestTheCopiesThatSpreadBestAreKept(t *testing.T) {
	places := map[raid.NodeID]placeInfo{
		"a": {zone: "shed", up: true, there: true, full: 50}, "b": {zone: "house", up: true, there: true, full: 52}, "c": {zone: "house", up: true, there: true, full: 70},
		"shed2": {zone: "shed", up: true, there: true, full: 20}, "leaving": {zone: "house", there: true, full: 1}, "away": {zone: "house"},
	}
	r := mender(&failing{}, nil)
	for i, c := range []struct {
		surplus raid.NodeID
		on      [2]raid.NodeID
		instead int
		wait    bool
	}{
		{"a", [2]raid.NodeID{"b", "c"}, 2, false},       // both in the house: the fuller one goes
		{"b", [2]raid.NodeID{"a", "c"}, 2, false},       // c is much fuller
		{"c", [2]raid.NodeID{"a", "b"}, 0, false},       // it is the fullest
		{"b", [2]raid.NodeID{"a", "shed2"}, 1, false},   // two of the shed: a is fuller
		{"shed2", [2]raid.NodeID{"a", "b"}, 1, false},   //
		{"a", [2]raid.NodeID{"shed2", "b"}, 0, false},   //
		{"a", [2]raid.NodeID{"b", "leaving"}, 2, false}, // it takes copies no more
		{"a", [2]raid.NodeID{"b", "away"}, 0, true},     // it may come back
		{"a", [2]raid.NodeID{"a", "b"}, 0, false},       // two on one node are one
		{"a", [2]raid.NodeID{"b", "b"}, 2, false},       //
	} {
		s := raid.Surplus{Copy: raid.Copy{Node: c.surplus}, Part: raid.Part{Copies: []raid.Copy{{Index: 1, Node: c.on[0]}, {Index: 2, Node: c.on[1]}}}}
		out, wait := r.decide(s, places, true)
		if wait != c.wait || !wait && out.Instead != c.instead {
			t.Errorf("%d: surplus on %s beside %v: instead of %d, wait %v", i, c.surplus, c.on, out.Instead, wait)
		}
	}
	bad := raid.Surplus{Copy: raid.Copy{Node: "a"}, Part: raid.Part{Copies: []raid.Copy{{Index: 1, Node: "b", Bad: true}, {Index: 2, Node: "c"}}}}
	if out, wait := r.decide(bad, places, true); wait || out.Instead != 1 {
		t.Errorf("beside a bad copy: %+v, %v", out.Instead, wait)
	}
	if _, wait := r.decide(bad, places, false); !wait {
		t.Error("a surplus copy that is bad itself goes although another is")
	}
}

// A second node is lost after the first has come back with all that it held: what it held
// is not made a third time.
func TestSurplusTakesThePlaceOfWhatTheNextNodeHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, a, f := spared(t, 20)
		defer c.stop()
		c.down[1]()
		a.set(func() { a.fails = fmt.Errorf("%w: only the surplus can help", raid.ErrTooFewNodes) })
		time.Sleep(crowdGrace + time.Minute)
		c.up[0]()
		time.Sleep(5 * time.Minute)
		if a.on(c.nodes[0], f) != 20 || a.on(c.nodes[2], f) != 20 || a.surplus(c.nodes[1]) != 20 || a.removals(c.nodes[0]) != 0 {
			t.Errorf("on the first %d, on the third %d, surplus on the second %d", a.on(c.nodes[0], f), a.on(c.nodes[2], f), a.surplus(c.nodes[1]))
		}
		time.Sleep(10 * time.Minute)
		if p := c.repair.Progress(); p.PartsLeft != 0 || p.BlockedBy != "" {
			t.Errorf("progress %+v", p)
		}
	})
}

// A surplus copy on a node with more room takes the place of a good one, which goes only
// after the third was read.
func TestAGoodCopyGivesWayOnlyAfterTheOthersWereRead(t *testing.T) {
	for name, found := range map[string]error{"good": nil, "rotten": raid.ErrCorrupt} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, a, f := spared(t, 10)
				defer c.stop()
				empty, other, fuller := c.nodes[0], c.nodes[1], c.nodes[2]
				c.disks[0].mu.Lock()
				c.disks[0].beat.FreeBytes = 1 << 39
				c.disks[0].mu.Unlock()
				a.set(func() { a.found = map[raid.NodeID]error{other: found} })
				c.up[0]()
				time.Sleep(10 * time.Minute)
				if a.surplus(empty) != 0 || a.on(empty, f) != 10 {
					t.Errorf("surplus %d, on the node that came back %d", a.surplus(empty), a.on(empty, f))
				}
				if found != nil && (a.on(fuller, f) != 10 || a.on(other, f) != 0) {
					t.Errorf("beside rotten copies %d good ones are left, and %d rotten ones", a.on(fuller, f), a.on(other, f))
				}
				if found == nil && (a.removals(fuller) != 10 || a.read(other) != 10 || a.on(other, f) != 10) {
					t.Errorf("%d go, %d were read", a.removals(fuller), a.read(other))
				}
			})
		})
	}
}

// Nothing but the surplus copy could help, and it was read and is bad. It is kept, and not
// read again every few minutes for ever.
func TestABadSurplusCopyIsReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, a, f := spared(t, 10)
		defer c.stop()
		parts, err := a.catalog.Parts(t.Context(), f.ID, 0, f.Stripes)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parts {
			for _, k := range p.Copies {
				if err := a.catalog.MarkBad(t.Context(), f.ID, p.Stripe, p.Number, k.Index, k.Attempt); err != nil {
					t.Fatal(err)
				}
			}
		}
		a.set(func() {
			a.found = map[raid.NodeID]error{c.nodes[0]: raid.ErrCorrupt, c.nodes[1]: raid.ErrCorrupt, c.nodes[2]: raid.ErrCorrupt}
			a.fails = raid.ErrCorrupt
		})
		c.up[0]()
		time.Sleep(10 * time.Minute)
		if got := a.read(c.nodes[0]); got != 10 {
			t.Errorf("%d surplus copies were read, want each of 10 once", got)
		}
		time.Sleep(2 * time.Hour)
		if got := a.read(c.nodes[0]); got != 10 {
			t.Errorf("after two hours there were %d reads", got)
		}
		if a.removals(c.nodes[0]) != 0 || a.surplus(c.nodes[0]) != 0 {
			t.Errorf("%d are to be removed, %d are looked at", a.removals(c.nodes[0]), a.surplus(c.nodes[0]))
		}
	})
}

// Two copies on one node are one, however many there should be. Else a part with three
// copies on two nodes is in no pass of a scan, when one of these is lost.
func TestTwinsCountAsOneCopy(t *testing.T) {
	r := mender(&failing{}, nil)
	for _, c := range []struct {
		copies []raid.Copy
		want   int
	}{
		{[]raid.Copy{{Node: "a"}, {Node: "a"}, {Node: "b"}}, 2},
		{[]raid.Copy{{Node: "a", Bad: true}, {Node: "a"}, {Node: "a"}}, 1},
		{[]raid.Copy{{Node: "a"}, {Node: "b"}, {Node: "c"}}, 3},
		{[]raid.Copy{{}, {}, {Node: "c", Bad: true}}, 2}, // lab nodes can't be told apart
	} {
		if got := r.countThere(&raid.Part{Copies: c.copies}); got != c.want {
			t.Errorf("%+v: %d, want %d", c.copies, got, c.want)
		}
	}
}
