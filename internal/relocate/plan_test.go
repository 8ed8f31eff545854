package relocate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

const chunk = 1 << 20

// array is a model: nodes and where the copies of parts are.
type array struct {
	nodes []Node
	size  map[raid.NodeID]int64 // bytes that a node can hold
	parts [][]raid.NodeID
}

func (a *array) node(id raid.NodeID) *Node {
	return &a.nodes[slices.IndexFunc(a.nodes, func(n Node) bool { return n.ID == id })]
}

func (a *array) used(id raid.NodeID) (bytes int64) {
	for _, on := range a.parts {
		if slices.Contains(on, id) {
			bytes += chunk
		}
	}
	return bytes
}

func (a *array) plan() *Plan {
	sums := map[string]raid.Holding{}
	for _, on := range a.parts {
		h := sums[fmt.Sprint(on)]
		h.Nodes, h.Parts, h.Bytes = on, h.Parts+1, h.Bytes+chunk
		sums[fmt.Sprint(on)] = h
	}
	var held []raid.Holding
	for _, h := range sums {
		held = append(held, h)
	}
	for i := range a.nodes {
		n := &a.nodes[i]
		n.Free = a.size[n.ID] - a.used(n.ID)
	}
	return NewPlan(a.nodes, held, 0)
}

func (a *array) zones(on []raid.NodeID) int {
	seen := map[string]bool{}
	for _, id := range on {
		seen[a.node(id).Zone] = true
	}
	return len(seen)
}

// pass looks at all parts in some order, moves what is to move, and checks each move.
func (a *array) pass(t *testing.T, p *Plan, rng *rand.Rand) (moves map[Reason]int) {
	t.Helper()
	moves = map[Reason]int{}
	for _, i := range rng.Perm(len(a.parts)) {
		on := a.parts[i]
		from, to, why := p.Move(on, chunk)
		if from == "" || len(to) == 0 {
			continue
		}
		target := to[rng.IntN(len(to))]
		after := append(slices.DeleteFunc(slices.Clone(on), func(id raid.NodeID) bool { return id == from }), target)
		switch {
		case !slices.Contains(on, from) || slices.Contains(on, target):
			t.Fatalf("%s: from %s to %v, and it is on %v", why, from, to, on)
		case !a.node(target).Takes || a.node(target).Drains:
			t.Fatalf("%s: to %s, which takes nothing", why, target)
		case a.used(target)+chunk > a.size[target]:
			t.Fatalf("%s: to %s, which is full", why, target)
		case why == Balance && a.zones(after) < a.zones(on), why == Zone && a.zones(after) <= a.zones(on):
			t.Fatalf("%s: zones of %v became those of %v", why, on, after)
		case why != Zone && !slices.Contains(p.Sources(), from):
			t.Fatalf("%s: %s is not among the sources %v", why, from, p.Sources())
		}
		a.parts[i] = after
		p.Moved(from, target, chunk)
		p.Spread(on, after, chunk)
		moves[why]++
	}
	return moves
}

// settle makes plans until nothing moves, as many times as that may take.
func (a *array) settle(t *testing.T, rng *rand.Rand) (moves map[Reason]int) {
	t.Helper()
	moves = map[Reason]int{}
	for range 12 {
		p := a.plan()
		for {
			now := a.pass(t, p, rng)
			for why, n := range now {
				moves[why] += n
			}
			if len(now) == 0 {
				break
			}
		}
		a.fill(p)
		if p := a.plan(); len(a.pass(t, p, rng)) == 0 {
			return moves
		}
	}
	t.Fatalf("it does not come to an end: %v", moves)
	return nil
}

// fill notes which nodes are being filled, as the catalog does.
func (a *array) fill(p *Plan) {
	for i := range a.nodes {
		a.nodes[i].Filling = slices.Contains(p.Filling(), a.nodes[i].ID)
	}
}

func newArray(sizes ...int64) *array {
	a := &array{size: map[raid.NodeID]int64{}}
	for _, s := range sizes {
		a.add(s, "")
	}
	return a
}

func (a *array) add(size int64, zone string) raid.NodeID {
	id := raid.NodeID(fmt.Sprintf("n%02d", len(a.nodes)))
	a.nodes = append(a.nodes, Node{ID: id, Zone: zone, Takes: true, Gives: true})
	a.size[id] = size * chunk
	return id
}

// store places parts at random on distinct nodes with room.
func (a *array) store(rng *rand.Rand, parts int) {
	used := map[raid.NodeID]int64{}
	for _, n := range a.nodes {
		used[n.ID] = a.used(n.ID)
	}
	for range parts {
		var on []raid.NodeID
		for _, i := range rng.Perm(len(a.nodes)) {
			if n := a.nodes[i]; len(on) < 2 && n.Takes && !n.Drains && used[n.ID]+chunk <= a.size[n.ID] {
				on = append(on, n.ID)
			}
		}
		if len(on) < 2 {
			return
		}
		for _, id := range on {
			used[id] += chunk
		}
		a.parts = append(a.parts, on)
	}
}

// levels are the shares of their sizes that nodes have in use.
func (a *array) levels() (low, high float64) {
	low = 1
	for _, n := range a.nodes {
		if n.Takes && !n.Drains {
			l := float64(a.used(n.ID)) / float64(a.size[n.ID])
			low, high = min(low, l), max(high, l)
		}
	}
	return low, high
}

func TestAFifthNodeGetsItsShare(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, parts := range []int{40, 800, 1500} { // of a disk of 1000 chunks some, and much
		a := newArray(1000, 1000, 1000, 1000)
		a.store(rng, parts)
		if p := a.plan(); p.Uneven() || len(p.Sources()) > 0 {
			t.Errorf("%d parts: an even array is to be made even: %v", parts, p.Sources())
		}
		fifth := a.add(1000, "")
		moves := a.settle(t, rng)
		share := int64(parts) * 2 / 5 * chunk
		if got := a.used(fifth); got < share*85/100 || got > share*11/10 {
			t.Errorf("%d parts: the fifth node got %d MiB, its share is %d", parts, got>>20, share>>20)
		}
		if most := int(share/chunk) * 11 / 10; moves[Balance] > most {
			t.Errorf("%d parts: %d moves for a share of %d", parts, moves[Balance], share>>20)
		}
		for range 20 { // it stays so
			if more := a.settle(t, rng); len(more) > 0 {
				t.Fatalf("it moves on: %v", more)
			}
		}
	}
}

func TestUnequalDisksAreFilledAlike(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	a := newArray(200, 400, 400, 800, 600)
	a.store(rng, 500)
	a.settle(t, rng)
	if low, high := a.levels(); high-low > unevenAt {
		t.Errorf("from %.2f to %.2f of a disk are in use", low, high)
	}
}

// The large disk can hold no more than one copy of everything. The small ones stay fuller,
// and that is no reason to look through the catalog again and again.
func TestWhatCanNotBeEvenIsLeftAlone(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	a := newArray(100, 100, 5000)
	a.store(rng, 60)
	a.settle(t, rng)
	if p := a.plan(); p.Uneven() || len(p.Sources()) > 0 {
		t.Errorf("sources %v", p.Sources())
	}
	if got := a.used("n02"); got < 54*chunk {
		t.Errorf("the large disk has %d MiB", got>>20)
	}
}

func TestZonesAreKeptApartAndMended(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	a := newArray()
	for i := range 6 {
		a.add(1000, []string{"attic", "cellar"}[i%2])
	}
	a.store(rng, 900) // wherever
	a.settle(t, rng)
	for _, on := range a.parts {
		if a.zones(on) != 2 {
			t.Fatalf("both copies on %v, in one zone", on)
		}
	}
	a.node("n01").Zone = "attic" // four and two
	moves := a.settle(t, rng)
	for _, on := range a.parts {
		if a.zones(on) != 2 {
			t.Fatalf("both copies on %v, in one zone", on)
		}
	}
	if moves[Zone] == 0 {
		t.Error("nothing was moved to the other zone")
	}
}

func TestADrainMovesEverythingAndPrefersTheSuccessor(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	a := newArray(1000, 1000, 1000, 1000)
	a.store(rng, 600)
	held := a.used("n00")
	fresh := a.add(1000, "")
	a.node("n00").Drains, a.node("n00").Successor = true, fresh
	p := a.plan()
	for len(a.pass(t, p, rng)) > 0 {
	}
	if a.used("n00") != 0 || a.used(fresh) < held*9/10 {
		t.Errorf("the old one has %d MiB, its successor got %d of %d", a.used("n00")>>20, a.used(fresh)>>20, held>>20)
	}
	// Without one the others get it.
	a.node("n01").Drains = true
	a.settle(t, rng)
	if a.used("n01") != 0 {
		t.Errorf("%d MiB stayed", a.used("n01")>>20)
	}
	for _, on := range a.parts {
		if len(on) != 2 || on[0] == on[1] {
			t.Fatalf("a part is on %v", on)
		}
	}
}

func TestASuccessorThatIsAwayIsWaitedFor(t *testing.T) {
	a := newArray(1000, 1000, 1000)
	a.parts = [][]raid.NodeID{{"n00", "n01"}}
	fresh := a.add(1000, "")
	a.node(fresh).Takes = false
	a.node("n00").Drains, a.node("n00").Successor = true, fresh
	if _, to, why := a.plan().Move(a.parts[0], chunk); why != Drain || len(to) > 0 {
		t.Errorf("%s to %v", why, to)
	}
	a.size[fresh] = 0 // it is there, and full
	a.node(fresh).Takes = true
	if _, to, _ := a.plan().Move(a.parts[0], chunk); len(to) != 1 || to[0] != "n02" {
		t.Errorf("to %v", to)
	}
}

// scene draws an array and lets things happen to it.
func scene(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 9))
	a := newArray()
	zones := 1 + rng.IntN(3)
	for range 2 + rng.IntN(6) {
		a.add(20+rng.Int64N(200), fmt.Sprint("z", rng.IntN(zones)))
	}
	for range 6 {
		a.store(rng, rng.IntN(200))
		n := &a.nodes[rng.IntN(len(a.nodes))]
		switch rng.IntN(6) {
		case 0:
			a.add(20+rng.Int64N(200), fmt.Sprint("z", rng.IntN(zones)))
		case 1:
			n.Drains = !n.Drains
		case 2:
			n.Takes = !n.Takes
		case 3:
			n.Zone = fmt.Sprint("z", rng.IntN(zones))
		case 4:
			n.Gives, n.Takes = false, false
		case 5:
			a.parts = a.parts[:rng.IntN(len(a.parts)+1)]
		}
		a.settle(t, rng)
	}
}

func TestAnyArrayComesToRest(t *testing.T) {
	for seed := range uint64(400) {
		scene(t, seed)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzAnyArrayComesToRest(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(scene)
}
