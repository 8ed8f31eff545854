package placement

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

func TestNoClaimWeighsMoreThanTwiceTheOthers(t *testing.T) {
	const huge = 1<<63 - 1
	for _, c := range []struct {
		free []int64 // MiB less one, which is the part that weighs
		want int64
	}{
		{[]int64{7}, 7},
		{[]int64{7, 7, 7}, 7},
		{[]int64{10, 15}, 15},
		{[]int64{10, huge}, 20},
		{[]int64{10, 20, huge}, 30},
		{[]int64{10, 10, 10, huge}, 20},
		{[]int64{10, 10, 10, 10, 10, 10, 10, 10, huge, huge}, 160 / 7},
		{[]int64{huge, huge, huge}, 1<<40 + 1},
		{[]int64{1, huge, huge, huge}, 1<<40 + 1},
		{[]int64{1, 1, huge, huge}, 4},
	} {
		var tied []Candidate
		for i, f := range c.free {
			if f != huge {
				f = (f - 1) << 20
			}
			tied = append(tied, Candidate{ID: raid.NodeID(fmt.Sprint("n", i)), Free: f})
		}
		if got := limit(tied); got != c.want {
			t.Errorf("%v: at most %d, not %d", c.free, got, c.want)
		}
	}
}

// drawn places stripes of two parts with two copies, each of size bytes. It counts the chunks of
// each node until no stripe fits or so many are placed.
func drawn(t *testing.T, c []Candidate, stripes int, size int64, honest func(Candidate) bool) map[raid.NodeID]int {
	t.Helper()
	got := map[raid.NodeID]int{}
	draw := rand.New(rand.NewPCG(1, 2)).Int64N
	for range stripes {
		s := NewStripe()
		for part := range 4 {
			chosen, ok := s.Choose(c, part/2+1, size, draw)
			if !ok {
				return got
			}
			s.Take(part/2+1, chosen)
			got[chosen.ID]++
			for i := range c {
				if c[i].ID == chosen.ID && honest(c[i]) {
					c[i].Free -= size
				}
			}
		}
	}
	return got
}

// A liar has room for everything, always; so have those who help him.
func TestALiarAboutItsRoomGetsNoMoreThanTwiceAnEqualShare(t *testing.T) {
	for _, n := range []int{3, 4, 5, 6, 8, 12, 20} {
		for liars := 1; liars <= min(2, n/3); liars++ {
			c := nodes(n)
			for i := range liars {
				c[i].Free = 1e18
			}
			const stripes = 4000
			got := drawn(t, c, stripes, 1, func(c Candidate) bool { return c.Free < 1e18 })
			for i := range liars {
				share := float64(got[c[i].ID]) / (4 * stripes)
				most := min(2/float64(n), 0.42) // of three nodes each has one chunk of four at least
				if share > most {
					t.Errorf("%d liars among %d nodes: one got %.3f of all copies, at most %.3f is its share", liars, n, share, most)
				}
			}
		}
	}
}

func TestLargerDisksGoOnWhenTheSmallOnesAreFull(t *testing.T) {
	const chunk = 2 << 20
	for name, sizes := range map[string][]int64{
		"one size":         {64, 64, 64, 64, 64},
		"two larger":       {64, 64, 64, 256, 256},
		"half larger":      {32, 32, 32, 128, 128, 128},
		"mixed":            {16, 32, 64, 128, 256, 512},
		"three in the end": {16, 16, 16, 16, 128, 128, 128},
	} {
		c := make([]Candidate, len(sizes))
		var total, largest int64
		for i, s := range sizes {
			c[i] = Candidate{ID: raid.NodeID(fmt.Sprint("n", i)), Free: s * 50 * chunk}
			total += s * 50
			largest = max(largest, s*50)
		}
		got := drawn(t, c, 1<<30, chunk, func(Candidate) bool { return true })
		placed := int64(0)
		for _, n := range got {
			placed += int64(n)
		}
		// No part has both copies on one node, so a disk as large as all others
		// together is the most of use.
		possible := min(total, 2*(total-largest))
		if placed < possible*75/100 {
			t.Errorf("%s: %d of %d possible chunks were placed", name, placed, possible)
		}
		for i, size := range sizes {
			if used := int64(got[c[i].ID]); size == 16 && used < size*50*95/100 {
				t.Errorf("%s: a small node has %d of %d chunks", name, used, size*50)
			}
		}
	}
}
