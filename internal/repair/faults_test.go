package repair

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// faulty is an array of six nodes in trouble: the first two are gone for longer than
// grace, the third is full, the fourth slow.
func faulty(t *testing.T) (c *crowd, a *array, f raid.File) {
	t.Helper()
	a = newArray(t)
	c = newCrowd(t, 5, a.catalog, a)
	full, slow, well := c.nodes[2], c.nodes[3], c.nodes[4]
	a.set(func() {
		a.place = func(p raid.Part) (raid.NodeID, time.Duration, error) {
			on := func(id raid.NodeID) bool {
				return slices.ContainsFunc(p.Copies, func(k raid.Copy) bool { return k.Node == id })
			}
			took := 20 * time.Millisecond
			if on(slow) {
				took = 2 * time.Second
			}
			for _, id := range []raid.NodeID{well, slow} {
				if !on(id) {
					return id, took, nil
				}
			}
			return "", 0, fmt.Errorf("%w: node %s is full", raid.ErrArrayFull, full)
		}
	})
	gone, too := c.nodes[0], c.nodes[1]
	f = a.storeOn(40, [2]raid.NodeID{gone, full}, [2]raid.NodeID{gone, too}, [2]raid.NodeID{too, slow}, [2]raid.NodeID{gone, well}, [2]raid.NodeID{slow, well}, [2]raid.NodeID{full, well})
	return c, a, f
}

// Two nodes are gone, one is full, one is slow, and the controller is started anew in the
// middle. All that can be made is made, what can't has words, nothing is tried all the
// time, and progress never goes back. With one of the two back, the rest is made.
func TestManyFaultsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, a, f := faulty(t)
		defer c.stop()
		gone, too := c.nodes[0], c.nodes[1]
		c.down[0]()
		c.down[1]()
		time.Sleep(crowdGrace)
		last, restarts := int64(-1), 0
		for range 20 * 60 {
			time.Sleep(time.Second)
			left := c.repair.Progress().PartsLeft
			if last >= 0 && left > last {
				t.Fatalf("%d parts were left, now %d", last, left)
			}
			if left > 0 {
				last = left
			}
			if restarts == 0 && last > 0 && left < 150 {
				restarts, last = 1, -1
				c.again()
			}
		}
		if restarts == 0 {
			t.Error("it was never started anew")
		}
		// Of both that are gone 40 parts have no other copy.
		if a.on(gone, f) != 40 || a.on(too, f) != 40 || a.on(c.nodes[2], f) != 80 {
			t.Errorf("on those that are gone %d and %d, on the full one %d", a.on(gone, f), a.on(too, f), a.on(c.nodes[2], f))
		}
		p := c.repair.Progress()
		if p.PartsLeft != 80 || !strings.Contains(p.BlockedBy, "the good copies of 40 parts are all on nodes that are away: start ") ||
			!strings.Contains(p.BlockedBy, string(gone)) || !strings.Contains(p.BlockedBy, string(too)) {
			t.Errorf("%+v", p)
		}
		tries := a.tries()
		time.Sleep(2 * time.Hour)
		if n := a.tries() - tries; n > 0 {
			t.Errorf("tried %d times in two hours in which nothing happened", n)
		}
		c.up[0]()
		time.Sleep(10 * time.Minute)
		if a.on(gone, f) == 0 || a.on(too, f) != 0 || c.repair.Progress().PartsLeft != 0 {
			t.Errorf("with one back: on it %d, on the other %d, %+v", a.on(gone, f), a.on(too, f), c.repair.Progress())
		}
	})
}

// The disk of the catalog is full: that is said, tried again ever more rarely but within
// minutes, and ends without any event of a node.
func TestHealingWaitsForTheCatalogsDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArray(t)
		c := newCrowd(t, 3, a.catalog, a)
		defer c.stop()
		a.set(func() { a.put, a.fails = c.nodes[2], raid.ErrNoSpace })
		f := a.storeOn(20, [2]raid.NodeID{c.nodes[0], c.nodes[1]})
		c.down[0]()
		time.Sleep(crowdGrace + time.Hour)
		if p := c.repair.Progress(); p.PartsLeft != 20 || !strings.Contains(p.BlockedBy, "state_dir is full") {
			t.Errorf("%+v", p)
		}
		if n := a.tries(); n > 20*25 {
			t.Errorf("tried %d times in an hour", n)
		}
		a.set(func() { a.fails = nil })
		time.Sleep(retryMax + time.Minute)
		if a.on(c.nodes[0], f) != 0 || c.repair.Progress().PartsLeft != 0 {
			t.Errorf("%d are left, %+v", a.on(c.nodes[0], f), c.repair.Progress())
		}
	})
}

// What a person removed and the array has no room for is said, too.
func TestFlawedCopiesWithoutRoomHaveWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArray(t)
		c := newCrowd(t, 3, a.catalog, a)
		defer c.stop()
		a.set(func() { a.fails = raid.ErrArrayFull })
		a.storeOn(5, [2]raid.NodeID{c.nodes[0], c.nodes[1]})
		if err := a.catalog.RemoveNode(t.Context(), c.nodes[0], nil, nil); err != nil {
			t.Fatal(err)
		}
		c.repair.Wake()
		time.Sleep(10 * time.Minute)
		if p := c.repair.Progress(); p.PartsLeft != 5 || !strings.Contains(p.BlockedBy, "add a node, or free 1 MiB") {
			t.Errorf("%+v", p)
		}
	})
}

// One copy of each part is bad, and the node with the other one is away: it is said that
// this node is missing, and not that one is missing which takes copies.
func TestFlawedCopiesWhoseGoodOnesAreAwayHaveWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArray(t)
		c := newCrowd(t, 3, a.catalog, a)
		defer c.stop()
		a.set(func() { a.fails = fmt.Errorf("%w: no copy can be reached", raid.ErrTooFewNodes) })
		a.storeOn(5, [2]raid.NodeID{c.nodes[0], c.nodes[1]})
		c.down[1]()
		if err := a.catalog.RemoveNode(t.Context(), c.nodes[0], nil, nil); err != nil {
			t.Fatal(err)
		}
		c.repair.Wake()
		time.Sleep(10 * time.Minute)
		p := c.repair.Progress()
		if !strings.Contains(p.BlockedBy, "the good copies of 5 parts are all on nodes that are away: start "+string(c.nodes[1])) || strings.Contains(p.BlockedBy, "add a node") {
			t.Errorf("%+v", p)
		}
	})
}
