package relocate

import (
	"cmp"
	"slices"

	"github.com/raidpi/raidpi/internal/raid"
)

// Room tells how many bytes the copies take that a node holds, and how many of these the
// others have room for, with the copies of each part on distinct nodes.
func Room(nodes []Node, held []raid.Holding, overhead int64, id raid.NodeID) (holds, fits int64) {
	free := map[raid.NodeID]int64{}
	for _, n := range nodes {
		if n.Takes && !n.Drains && n.ID != id {
			free[n.ID] = max(n.Free, 0)
		}
	}
	type load struct {
		to    []raid.NodeID // that may get it
		bytes int64
	}
	var loads []load
	for _, h := range held {
		if !slices.Contains(h.Nodes, id) {
			continue
		}
		l := load{bytes: h.Bytes + h.Parts*overhead}
		for n := range free {
			if !slices.Contains(h.Nodes, n) {
				l.to = append(l.to, n)
			}
		}
		holds += l.bytes
		loads = append(loads, l)
	}
	// What few can take goes first, and each to those that have most room.
	slices.SortFunc(loads, func(a, b load) int { return cmp.Or(cmp.Compare(len(a.to), len(b.to)), cmp.Compare(b.bytes, a.bytes)) })
	for _, l := range loads {
		fits += spread(free, l.to, l.bytes)
	}
	return holds, fits
}

// spread takes so many bytes of the free space of nodes, of those that have most first,
// and returns how many there were.
func spread(free map[raid.NodeID]int64, to []raid.NodeID, bytes int64) (taken int64) {
	slices.SortFunc(to, func(a, b raid.NodeID) int { return cmp.Or(cmp.Compare(free[b], free[a]), cmp.Compare(a, b)) })
	for i := range to {
		// The first nodes come down to what the next one has.
		floor := int64(0)
		if i+1 < len(to) {
			floor = free[to[i+1]]
		}
		for j := 0; j <= i && taken < bytes; j++ {
			share := (bytes - taken + int64(i-j)) / int64(i-j+1)
			n := min(max(free[to[j]]-floor, 0), share)
			free[to[j]] -= n
			taken += n
		}
	}
	return taken
}
