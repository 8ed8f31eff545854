package catalog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// trueHoldings sums up from the rows of all files what Holdings tells.
func trueHoldings(t *testing.T, c *Catalog) (bySet map[string]raid.Holding, files map[raid.NodeID]int64) {
	t.Helper()
	bySet, files = map[string]raid.Holding{}, map[raid.NodeID]int64{}
	for f, err := range c.Files(bg, raid.FileQuery{}) {
		must(t, err)
		parts, err := c.Parts(bg, f.ID, 0, f.Stripes)
		must(t, err)
		holds := map[raid.NodeID]bool{}
		for _, p := range parts {
			var on []raid.NodeID
			for _, k := range p.Copies {
				if !k.Bad && k.Node.IsNative() && !slices.Contains(on, k.Node) {
					on = append(on, k.Node)
					holds[k.Node] = true
				}
			}
			slices.Sort(on)
			if slices.ContainsFunc(p.Copies, func(k raid.Copy) bool { return !k.Bad }) {
				h := bySet[fmt.Sprint(on)]
				bySet[fmt.Sprint(on)] = raid.Holding{Nodes: on, Parts: h.Parts + 1, Bytes: h.Bytes + p.Length}
			}
		}
		for id := range holds {
			files[id]++
		}
	}
	return bySet, files
}

// What moves is decided by these sums, and that a node may be taken away by the number
// of files that rest on it.
func TestHoldingsAndRestingAreWhatTheChunksSay(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 5))
		c := openTest(t, "")
		var files []raid.File
		for step := range 120 {
			changeRandomly(t, c, rng, &files)
			if step%10 > 0 {
				continue
			}
			sweepAll(t, c, 1000)
			want, rests := trueHoldings(t, c)
			got := map[string]raid.Holding{}
			var at raid.PartCursor
			for more := true; more; {
				var sums []raid.Holding
				var err error
				sums, at, more, err = c.Holdings(bg, at, 1+rng.IntN(20))
				must(t, err)
				for _, h := range sums {
					slices.Sort(h.Nodes)
					on := slices.Compact(h.Nodes)
					old := got[fmt.Sprint(on)]
					got[fmt.Sprint(on)] = raid.Holding{Nodes: on, Parts: old.Parts + h.Parts, Bytes: old.Bytes + h.Bytes}
				}
			}
			if len(got) != len(want) {
				t.Fatalf("seed %d step %d: %d sets of nodes, the chunks say %d: %v and %v", seed, step, len(got), len(want), got, want)
			}
			for set, w := range want {
				if g := got[set]; g.Parts != w.Parts || g.Bytes != w.Bytes {
					t.Fatalf("seed %d step %d: on %s are %d parts of %d bytes, the chunks say %d of %d", seed, step, set, g.Parts, g.Bytes, w.Parts, w.Bytes)
				}
			}
			for _, id := range spreadNodes {
				if n := c.Resting(id); !n.Partial && n.Files != rests[id] {
					t.Fatalf("seed %d step %d: %+v rest on %s, the chunks say %d", seed, step, n, id, rests[id])
				}
			}
		}
	}
}

func relocationOf(t *testing.T, c *Catalog, id raid.NodeID) raid.Relocation {
	t.Helper()
	return nodeOf(t, c, id).Relocation
}

func TestAReplacementBeginsWhenTheSuccessorJoins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openTest(t, path)
	join(t, c, "old", 1)
	_, err := c.ChangeNode(bg, "old", raid.NodeChange{Zone: ptr("attic")})
	must(t, err)
	set := func(to raid.Relocation) {
		t.Helper()
		must(t, c.Relocate(bg, "old", func(raid.Relocation) (raid.Relocation, error) { return to, nil }))
	}
	use := func(token string) raid.TokenUse { return raid.TokenUse{Token: token, Uses: 1, Replaces: "old"} }
	// Nobody's place is free: it just joins.
	_, err = c.Join(bg, raid.Member{ID: "n1", Key: pinN(2)}, use("a"))
	must(t, err)
	if r := relocationOf(t, c, "old"); r != (raid.Relocation{}) {
		t.Errorf("%+v", r)
	}
	set(raid.Relocation{Replaced: true})
	must(t, c.Close())
	c = openTest(t, path)
	_, err = c.Join(bg, raid.Member{ID: "n2", Key: pinN(3)}, use("b"))
	must(t, err)
	want := raid.Relocation{Draining: true, Replaced: true, Successor: "n2"}
	for range 2 {
		if r := relocationOf(t, c, "old"); r != want || nodeOf(t, c, "n2").Zone != "attic" {
			t.Errorf("%+v; the new one is in zone %q", r, nodeOf(t, c, "n2").Zone)
		}
		must(t, c.SaveNode(bg, raid.NodeRecord{ID: "old", Address: "10.0.0.9"})) // what is seen changes none of it
		must(t, c.Close())
		c = openTest(t, path)
	}
	// A second one takes nobody's place.
	_, err = c.Join(bg, raid.Member{ID: "n3", Key: pinN(4)}, use("c"))
	must(t, err)
	if r := relocationOf(t, c, "old"); r != want {
		t.Errorf("%+v", r)
	}
	commit := c.Commit()
	set(want)
	if c.Commit() != commit {
		t.Error("the same again is written again")
	}
	refused := errors.New("no")
	err = c.Relocate(bg, "old", func(raid.Relocation) (raid.Relocation, error) { return raid.Relocation{}, refused })
	if !errors.Is(err, refused) || relocationOf(t, c, "old") != want {
		t.Errorf("%v: %+v", err, relocationOf(t, c, "old"))
	}
	must(t, c.RemoveNode(bg, "old", nil, nil))
	for _, id := range []raid.NodeID{"old", "nobody", "lab-1"} {
		wants(t, c.Relocate(bg, id, func(r raid.Relocation) (raid.Relocation, error) { return r, nil }), raid.ErrNotFound)
	}
}

// A move that began before the drain has chosen its node, and takes long to read the part.
// Nothing new comes to the node, from when it is told that it may be unplugged at the latest.
func TestANodeThatDrainsGetsNoCopyThatWasChosenForItBefore(t *testing.T) {
	c := openTest(t, "")
	f := store(t, c, 1)
	join(t, c, "n3", 3)
	drains := func(to raid.Relocation) {
		t.Helper()
		must(t, c.Relocate(bg, "n3", func(raid.Relocation) (raid.Relocation, error) { return to, nil }))
	}
	before, err := c.NextAttempt(bg, f.ID, 0, 1, "n3")
	must(t, err)
	drains(raid.Relocation{Draining: true})
	_, err = c.NextAttempt(bg, f.ID, 0, 1, "n3")
	wants(t, err, raid.ErrPeerGone)
	// What was on its way already is known to be, and counts once it is there.
	if some, err := c.Intends(bg, "n3"); err != nil || !some {
		t.Errorf("%v, %v", some, err)
	}
	old := firstCopy(t, c, f.ID)
	must(t, c.ReplaceCopy(bg, f.ID, 0, 1, old, raid.Copy{Index: old.Index, Attempt: before, Node: "n3"}))
	if n := c.Resting("n3"); n.Files != 1 {
		t.Errorf("%+v rests on it", n)
	}
	drains(raid.Relocation{})
	_, err = c.NextAttempt(bg, f.ID, 0, 1, "n3")
	must(t, err)
}

// A copy that was called bad proves good after all where it was said that nothing rests.
func TestANodeIsNotEmptyAnyMoreWhenACopyOnItProvesGood(t *testing.T) {
	c := openTest(t, "")
	f := store(t, c, 1)
	old := firstCopy(t, c, f.ID)
	must(t, c.MarkBad(bg, f.ID, 0, 1, old.Index, old.Attempt))
	drained := raid.Relocation{Draining: true, Drained: true}
	must(t, c.Relocate(bg, old.Node, func(raid.Relocation) (raid.Relocation, error) { return drained, nil }))
	bad := old
	bad.Bad = true
	must(t, c.ReplaceCopy(bg, f.ID, 0, 1, bad, old))
	if r := relocationOf(t, c, old.Node); r != (raid.Relocation{Draining: true}) {
		t.Errorf("%+v", r)
	}
}

func TestACopyOnItsWayToANodeIsKnown(t *testing.T) {
	c := openTest(t, "")
	f := store(t, c, 1)
	if some, err := c.Intends(bg, "n3"); err != nil || some {
		t.Errorf("%v, %v", some, err)
	}
	fresh := next(t, c, f.ID, 0, 1, 1, "n3")
	if some, err := c.Intends(bg, "n3"); err != nil || !some {
		t.Errorf("%v, %v", some, err)
	}
	parts, err := c.Parts(bg, f.ID, 0, 1)
	must(t, err)
	must(t, c.ReplaceCopy(bg, f.ID, 0, 1, parts[0].Copies[0], fresh))
	if some, err := c.Intends(bg, "n3"); err != nil || some {
		t.Errorf("%v, %v", some, err)
	}
}
