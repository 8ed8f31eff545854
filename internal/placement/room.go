package placement

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// Cost says what files cost of the nodes' space.
type Cost struct {
	Copies   int   // chunks that each are on another node, as the copies of a part are
	Groups   int   // of so many chunks in a stripe; 0: one
	Chunk    int64 // payload bytes of a usual chunk
	Payload  int64 // bytes of a file that a group holds; 0: those of one chunk
	Overhead int64 // bytes that any chunk takes beside its payload
	Degraded bool  // fewer nodes than Copies take all copies, as a lone one does
}

// Room estimates the bytes that files can still take, in chunks of the usual size, before an upload
// finds no node. It is not more than Most. Uploads do not reach Most where one node is much larger
// than the others, since it gets no more than its share of them. Nor do they where zones keep
// copies apart. So it is tried out here, with the placement that uploads use, in some hundred
// steps. Lab nodes do not tell what they have and count for nothing.
func (c Cost) Room(candidates []Candidate) int64 {
	most := c.Most(candidates)
	var nodes []Candidate
	for _, n := range candidates {
		if !n.Lab {
			n.Slow = false // for now
			nodes = append(nodes, n)
		}
	}
	if most == 0 || len(nodes) < c.Copies {
		return most
	}
	step := max(1, most/c.Chunk/roomSteps) // chunks that are placed at once
	placed := c.fill(nodes, step*(c.Chunk+c.Overhead))
	return min(most, placed*step*c.payload())
}

// roomSteps tells how finely Room looks: its result is too low by a part in roomSteps for each node
// at most.
const roomSteps = 256

// payload returns the number of a file's bytes that a group holds.
func (c Cost) payload() int64 { return cmp.Or(c.Payload, c.Chunk) }

// fill places groups on nodes until one finds no place, and returns how many found one.
// It takes the nodes' space.
func (c Cost) fill(nodes []Candidate, size int64) (groups int64) {
	rng := rand.New(rand.NewPCG(1, 2)) // the same each time
	for {
		s := NewStripe()
		for group := range max(c.Groups, 1) {
			for range c.Copies {
				n, ok := s.Choose(nodes, group, size, rng.Int64N)
				if !ok {
					return groups
				}
				s.Take(group, n)
				nodes[slices.IndexFunc(nodes, func(o Candidate) bool { return o.ID == n.ID })].Free -= size
			}
			groups++
		}
	}
}

// Most returns the bytes that files can take at best. With copies on distinct nodes a large node is
// of no use beyond what the others can hold. For any j fewer than the number of copies, the j
// largest nodes take one copy each of everything at best. So the others must have room for the rest
// of the copies, and the tightest of these bounds counts. With two copies that is min(sum/2, sum -
// largest).
func (c Cost) Most(candidates []Candidate) int64 {
	var chunks []int64 // that each node can take, the most first
	var sum int64
	for _, n := range candidates {
		if !n.Lab {
			has := max(n.Free, 0) / (c.Chunk + c.Overhead)
			chunks, sum = append(chunks, has), sum+has
		}
	}
	slices.SortFunc(chunks, func(a, b int64) int { return cmp.Compare(b, a) })
	copies := int64(c.Copies)
	if len(chunks) < c.Copies {
		if !c.Degraded {
			return 0
		}
		return sum / copies * c.payload()
	}
	room := sum / copies
	for j := int64(1); j < copies; j++ {
		sum -= chunks[j-1]
		room = min(room, sum/(copies-j))
	}
	return room * c.payload()
}

// Lacking returns the number of further nodes with room that are needed before any file can be
// stored, of a part of so many bytes. It is 0 when one can.
func (c Cost) Lacking(candidates []Candidate, size int64) int {
	nodes, fit := len(candidates), 0
	for _, n := range candidates {
		if n.Free >= size+c.Overhead {
			fit++
		}
	}
	if c.Degraded && nodes < c.Copies && fit > 0 {
		return 0
	}
	return max(c.Copies-fit, 0)
}
