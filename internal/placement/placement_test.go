package placement

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

func nodes(n int) (out []Candidate) {
	for i := range n {
		out = append(out, Candidate{ID: raid.NodeID(fmt.Sprint("n", i)), Free: 1 << 30})
	}
	return out
}

func place(t *testing.T, s *Stripe, c []Candidate, part int) Candidate {
	t.Helper()
	got, ok := s.Choose(c, part, 1000, rand.Int64N)
	if !ok {
		t.Fatalf("no node for part %d of %v", part, c)
	}
	s.Take(part, got)
	return got
}

func TestTwoCopiesMeanTwoNodes(t *testing.T) {
	for range 200 {
		c := nodes(2 + rand.IntN(4))
		for i := range c {
			c[i].Slow, c[i].Lab, c[i].Zone = rand.IntN(2) == 0, rand.IntN(2) == 0, fmt.Sprint(rand.IntN(2))
		}
		s := NewStripe()
		for part := 1; part <= 2; part++ {
			if a, b := place(t, s, c, part), place(t, s, c, part); a.ID == b.ID {
				t.Fatalf("both copies of part %d on %s", part, a.ID)
			}
		}
	}
	s := NewStripe()
	place(t, s, nodes(1), 1)
	if _, ok := s.Choose(nodes(1), 1, 1, rand.Int64N); ok {
		t.Fatal("a lone node was given a second copy")
	}
}

func TestFourNodesGetOneChunkEach(t *testing.T) {
	for range 200 {
		s, c, seen := NewStripe(), nodes(4), map[raid.NodeID]bool{}
		for part := 1; part <= 2; part++ {
			for range 2 {
				seen[place(t, s, c, part).ID] = true
			}
		}
		if len(seen) != 4 {
			t.Fatalf("four chunks on %d nodes", len(seen))
		}
	}
}

func TestZonesAreKeptApart(t *testing.T) {
	for range 200 {
		c := nodes(6)
		for i := range c {
			c[i].Zone = []string{"shed", "house"}[i%2]
			c[i].Slow = c[i].Zone == "shed"
		}
		s := NewStripe()
		if a, b := place(t, s, c, 1), place(t, s, c, 1); a.Zone == b.Zone {
			t.Fatalf("both copies in zone %s", a.Zone)
		}
	}
}

func TestSlowFullAndLabNodesArePassedOver(t *testing.T) {
	for range 200 {
		c := nodes(5)
		c[0].Slow, c[1].Free, c[2].Lab = true, 999, true
		s := NewStripe()
		for range 2 {
			if got := place(t, s, c, 1); got.ID != "n3" && got.ID != "n4" {
				t.Fatalf("placed on %s", got.ID)
			}
		}
		if got := place(t, s, c, 1); got.ID != "n0" {
			t.Fatalf("the third copy went to %s, not to the slow native node", got.ID)
		}
		if got := place(t, s, c, 1); got.ID != "n2" {
			t.Fatalf("the fourth copy went to %s, not to the lab node", got.ID)
		}
		if got, ok := s.Choose(c, 1, 1000, rand.Int64N); ok {
			t.Fatalf("the full node %s was chosen", got.ID)
		}
	}
}

func TestFreeSpaceWeighsTheDraw(t *testing.T) {
	c := nodes(2)
	c[0].Free, c[1].Free = 15<<30, 10<<30
	hits := map[raid.NodeID]int{}
	for range 8000 {
		got, _ := NewStripe().Choose(c, 1, 1, rand.Int64N)
		hits[got.ID]++
	}
	if share := float64(hits["n0"]) / 8000; share < 0.55 || share > 0.65 {
		t.Fatalf("three fifths of the space got %.2f of the chunks", share)
	}
}

func TestReturnedNodesCanBeChosenAgain(t *testing.T) {
	s, c := NewStripe(), nodes(1)
	got := place(t, s, c, 1)
	s.Return(1, got.ID)
	place(t, s, c, 1)
}

func TestAbsurdClaimsOfSpaceDoNotOverflow(t *testing.T) {
	c := nodes(3)
	for i := range c {
		c[i].Free = 1<<63 - 1
	}
	if _, ok := NewStripe().Choose(c, 1, 1, rand.Int64N); !ok {
		t.Fatal("nothing chosen")
	}
}
