package object

import (
	"testing"

	"github.com/raidpi/raidpi/internal/placement"
)

func TestAFullArrayIsToldWhatWouldHelp(t *testing.T) {
	cost := placement.Cost{Copies: 2, Overhead: 10, Degraded: true}
	for _, c := range []struct {
		free []int64
		away int
		want string
	}{
		{[]int64{500, 109, 0}, 0, "of the 3 nodes that take chunks now one alone has room beyond its reserve, and 2 copies need as many; add a node, or delete files"},
		{[]int64{109, 109}, 0, "of the 2 nodes that take chunks now 0 have room beyond their reserve, and 2 copies need as many; add 2 nodes, or delete files"},
		{[]int64{500, 0}, 1, "of the 2 nodes that take chunks now one alone has room beyond its reserve, and 2 copies need as many; start those that are away (raidctl nodes), add a node, or delete files"},
	} {
		var nodes []placement.Candidate
		for _, f := range c.free {
			nodes = append(nodes, placement.Candidate{Free: f})
		}
		if got := fullText(cost, nodes, 100, c.away); got != c.want {
			t.Errorf("%v, %d away:\n%s, want\n%s", c.free, c.away, got, c.want)
		}
	}
}
