// Package placement decides which nodes take the copies of a part. It is pure: it sees a snapshot
// of the nodes and a source of randomness, and does no I/O.
//
// Chunks of a stripe are in groups, such as the copies of a part. The wishes, the strongest first:
//
//  1. Never two chunks of a group on one node.
//  2. Native nodes before lab nodes.
//  3. Another zone than the group's other chunks.
//  4. A node that is not slow.
//  5. A node that holds no other chunk of the same stripe. That spreads a stripe's reads. It
//     gives each of the assignment's four nodes exactly one of a file's four chunks.
//
// Among equals the draw is random, weighted by free space.
//
// Free space is a node's own word, so its weight is limited. In a draw among n nodes no node's
// chance is more than 2/(n+1), twice the average chance of the others. A node that claims a huge
// disk, or several that do, get no more. An honest larger disk is filled faster than the others, up
// to that limit, and goes on when they are full. A node that has no room takes no part in a draw.
package placement

import (
	"slices"

	"github.com/raidpi/raidpi/internal/raid"
)

// Candidate is a node that may take a chunk now: it is up, not draining, not
// suspect and not read-only.
type Candidate struct {
	ID   raid.NodeID
	Zone string // "" is a zone like any other
	Free int64  // bytes that may still be stored, beyond reserve and what is under way
	Lab  bool
	Slow bool // its window is full or its last acknowledgement is overdue
}

// Stripe keeps what was placed so far of one stripe. Its chunks are in groups, numbered
// by the caller: no two of one group go to the same node. A group is the copies of a part,
// or more where the RAID level says so.
type Stripe struct {
	uses   map[raid.NodeID]int
	groups map[int][]Candidate
}

// NewStripe begins the placement of one stripe.
func NewStripe() *Stripe {
	return &Stripe{uses: map[raid.NodeID]int{}, groups: map[int][]Candidate{}}
}

// Take records that a chunk of a group lies, or will lie, on c.
func (s *Stripe) Take(group int, c Candidate) {
	s.uses[c.ID]++
	s.groups[group] = append(s.groups[group], c)
}

// Return takes back a Take whose chunk came to nothing.
func (s *Stripe) Return(group int, id raid.NodeID) {
	if s.uses[id] > 0 {
		s.uses[id]--
	}
	held := s.groups[group]
	for i := range held {
		if held[i].ID == id {
			s.groups[group] = append(held[:i:i], held[i+1:]...)
			return
		}
	}
}

// Choose picks a node for one more chunk of a group, of size bytes. random returns a
// number in [0, n). ok is false when no candidate can take it without holding
// two chunks of the group.
func (s *Stripe) Choose(candidates []Candidate, group int, size int64, random func(n int64) int64) (c Candidate, ok bool) {
	best := -1
	var tied []Candidate
	for _, c := range candidates {
		if c.Free < size || s.holds(group, c.ID) {
			continue
		}
		rank := s.rank(group, c)
		if best < 0 || rank < best {
			best, tied = rank, tied[:0]
		}
		if rank == best {
			tied = append(tied, c)
		}
	}
	if len(tied) == 0 {
		return Candidate{}, false
	}
	most := limit(tied)
	var total int64
	for _, c := range tied {
		total += min(weight(c), most)
	}
	at := random(total)
	for _, c := range tied {
		if at -= min(weight(c), most); at < 0 {
			return c, true
		}
	}
	return tied[len(tied)-1], true
}

// limit is the most that a weight counts in a draw. It is the largest number of which the sum of
// all weights, none counted for more than it, is at least (n+1)/2 times as much. So nobody's chance
// is above 2/(n+1), whatever a node claims.
func limit(tied []Candidate) int64 {
	weights := make([]int64, len(tied))
	var below int64 // the sum of those that are not limited
	for i, c := range tied {
		weights[i] = weight(c)
		below += weights[i]
	}
	slices.Sort(weights)
	n := int64(len(weights))
	for i := n - 1; i >= 0; i-- {
		below -= weights[i]
		above := n - i // so many would be limited, to most
		if n+1 <= 2*above {
			return weights[i] // half of them claim as much: it is nothing unusual
		}
		most := max(2*below/(n+1-2*above), 1)
		if i == 0 || most >= weights[i-1] {
			return min(most, weights[i])
		}
	}
	return 1
}

// weight is the free space in MiB, at least 1, so that sums stay far below the
// range of int64 whatever a node claims.
func weight(c Candidate) int64 { return 1 + min(c.Free>>20, 1<<40) }

// rank orders candidates by the package's wishes; lower is better. The number of
// a node's other chunks in the stripe is the weakest wish. Each of the others
// outweighs any number of those.
func (s *Stripe) rank(group int, c Candidate) int {
	const slow, zone, lab = 1 << 10, 1 << 11, 1 << 12
	r := min(s.uses[c.ID], slow-1)
	if c.Slow {
		r += slow
	}
	if s.zoneHeld(group, c.Zone) {
		r += zone
	}
	if c.Lab {
		r += lab
	}
	return r
}

func (s *Stripe) holds(group int, id raid.NodeID) bool {
	for _, h := range s.groups[group] {
		if h.ID == id {
			return true
		}
	}
	return false
}

func (s *Stripe) zoneHeld(group int, zone string) bool {
	for _, h := range s.groups[group] {
		if h.Zone == zone {
			return true
		}
	}
	return false
}
