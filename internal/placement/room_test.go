package placement

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

func nodesWith(free ...int64) (out []Candidate) {
	for i, f := range free {
		out = append(out, Candidate{ID: raid.NodeID(fmt.Sprint("n", i)), Free: f})
	}
	return out
}

func TestFilesTakeAtMostWhatNodesCanHoldInPairs(t *testing.T) {
	two := Cost{Copies: 2, Chunk: 1, Degraded: true}
	for _, c := range []struct {
		cost Cost
		free []int64
		room int64
	}{
		{two, nil, 0},
		{two, []int64{10}, 5}, // both copies on a lone node
		{Cost{Copies: 2, Chunk: 1}, []int64{10}, 0},                        // which may not be
		{two, []int64{10, 0}, 0},                                           // the other is there, and full
		{two, []int64{10, 10}, 10},                                         //
		{two, []int64{100, 10}, 10},                                        // what the smaller one can hold
		{two, []int64{100, 10, 10}, 20},                                    //
		{two, []int64{10, 10, 10}, 15},                                     // half of all
		{two, []int64{7, 7, 7}, 10},                                        //
		{two, []int64{-5, 10, 10}, 10},                                     // below its reserve
		{two, []int64{1 << 60, 1 << 60, 1 << 60}, 3 << 59},                 //
		{Cost{Copies: 3, Chunk: 1}, []int64{100, 50, 10, 10}, 20},          // the two largest take a copy each
		{Cost{Copies: 3, Chunk: 1}, []int64{100, 10}, 0},                   //
		{Cost{Copies: 1, Chunk: 1}, []int64{100, 10}, 110},                 //
		{Cost{Copies: 2, Chunk: 90, Overhead: 10}, []int64{250, 250}, 180}, // two chunks on each
		{Cost{Copies: 2, Chunk: 90, Overhead: 10}, []int64{99, 1000}, 0},   //
	} {
		if got := c.cost.Most(nodesWith(c.free...)); got != c.room {
			t.Errorf("%+v, %v: %d, want %d", c.cost, c.free, got, c.room)
		}
	}
	lab := append(nodesWith(10), Candidate{ID: "lab-1", Free: 1 << 40, Lab: true})
	if got := two.Most(lab); got != 5 {
		t.Errorf("beside a lab node: %d", got)
	}
}

func TestLackingIsHowManyNodesWouldHelp(t *testing.T) {
	two := Cost{Copies: 2, Overhead: 10, Degraded: true}
	for _, c := range []struct {
		cost    Cost
		free    []int64
		lacking int
	}{
		{two, []int64{110, 110, 0}, 0},
		{two, []int64{110, 109, 0}, 1},
		{two, []int64{109, 109, 0}, 2},
		{two, []int64{110}, 0},
		{two, []int64{109}, 2},
		{two, nil, 2},
		{Cost{Copies: 2, Overhead: 10}, []int64{110}, 1},
	} {
		if got := c.cost.Lacking(nodesWith(c.free...), 100); got != c.lacking {
			t.Errorf("%+v, %v: %d, want %d", c.cost, c.free, got, c.lacking)
		}
	}
}

// Uploads store what Room says, whatever the disks' sizes and zones: not much less, and
// never more than Most.
func TestUploadsFillTheRoomThatIsShown(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	cost := Cost{Copies: 2, Groups: 2, Chunk: 2 << 20, Overhead: 16 << 10}
	for round := range 300 {
		nodes := make([]Candidate, 2+rng.IntN(6))
		for i := range nodes {
			nodes[i] = Candidate{
				ID: raid.NodeID(fmt.Sprint("n", i)), Zone: fmt.Sprint(rng.IntN(1 + round%4)), Slow: rng.IntN(4) == 0,
				Free: rng.Int64N(int64(1+rng.IntN(4)) * 400 * cost.Chunk),
			}
		}
		was := fmt.Sprintf("%+v", nodes)
		most, room := cost.Most(nodes)/cost.Chunk, cost.Room(nodes)/cost.Chunk
		if now := fmt.Sprintf("%+v", nodes); now != was {
			t.Fatal("the candidates were changed")
		}
		stored := upload(nodes, cost, rng)
		if stored > most || room > most {
			t.Fatalf("%s: %d chunks were stored of %d, and at most there is room for %d", was, stored, room, most)
		}
		if slack := max(stored, room)/10 + int64(2*len(nodes)); stored < room-slack || stored > room+slack {
			t.Errorf("%s: %d chunks were stored, of %d that there was room for", was, stored, room)
		}
	}
}

// upload stores stripes of two halves until one finds no node, and returns how many
// chunks of payload that were. Nodes are slow now and then.
func upload(nodes []Candidate, cost Cost, rng *rand.Rand) (parts int64) {
	size := cost.Chunk + cost.Overhead
	for {
		s := NewStripe()
		for part := 1; part <= 2; part++ {
			for range cost.Copies {
				c, ok := s.Choose(nodes, part, size, rng.Int64N)
				if !ok {
					return parts
				}
				s.Take(part, c)
				for i := range nodes {
					nodes[i].Slow = false
					if nodes[i].ID == c.ID {
						nodes[i].Free -= size
					}
				}
			}
			parts++
		}
	}
}

// On like nodes nothing is lost. On a few nodes of several sizes the room is that of the smaller
// ones.
func TestRoomOfUsualArrays(t *testing.T) {
	const gib = 1 << 30
	cost := Cost{Copies: 2, Groups: 2, Chunk: 2 << 20, Overhead: 16 << 10, Degraded: true}
	for _, c := range []struct {
		free        []int64
		least, most float64 // GiB
	}{
		{[]int64{20 * gib}, 9.9, 10},
		{[]int64{20 * gib, 20 * gib}, 19.7, 20},
		{[]int64{20 * gib, 20 * gib, 20 * gib, 20 * gib}, 39, 40},
		{[]int64{100 * gib, 10 * gib}, 9.8, 10},
		{[]int64{20 * gib, 0, 0}, 0, 0},
		{[]int64{3 << 20, 3 << 20}, 0, 0.002}, // a chunk
	} {
		if got := float64(cost.Room(nodesWith(c.free...))) / gib; got < c.least || got > c.most {
			t.Errorf("%v: %.3f GiB", c.free, got)
		}
	}
}

func BenchmarkRoom(b *testing.B) {
	nodes := make([]Candidate, 20)
	for i := range nodes {
		nodes[i] = Candidate{ID: raid.NodeID(fmt.Sprint("n", i)), Free: int64(i+1) << 34}
	}
	for b.Loop() {
		Cost{Copies: 2, Groups: 2, Chunk: 2 << 20, Overhead: 16 << 10}.Room(nodes)
	}
}
