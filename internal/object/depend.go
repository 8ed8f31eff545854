package object

import (
	"slices"
	"strings"

	"github.com/raidpi/raidpi/internal/raid"
)

// Depending tells how many uploads are under way, and how many of them would fail if a node went.
// The only good copies of some stripe of theirs that is no longer in memory are on it. What is
// still in memory is sent to another node then. Copies on lab nodes are there if lab is true; the
// id of a lab node stands for all of them.
func (s *Store) Depending(node raid.NodeID, isLab bool, there func(raid.NodeID) bool, lab bool) (uploads, depending int) {
	s.mu.Lock()
	under := make([]*upload, 0, len(s.underWay))
	for _, up := range s.underWay {
		under = append(under, up)
	}
	s.mu.Unlock()
	if isLab {
		node = onLab
	}
	isThere := func(id raid.NodeID) bool { return id == onLab && lab || id != onLab && there(id) }
	for _, up := range under {
		if up.ctx.Err() != nil {
			continue // it has failed already
		}
		uploads++
		if up.dependsOn(node, isThere) {
			depending++
		}
	}
	return uploads, depending
}

// onLab stands for all lab nodes.
const onLab raid.NodeID = ""

func (up *upload) dependsOn(node raid.NodeID, there func(raid.NodeID) bool) bool {
	up.mu.Lock()
	defer up.mu.Unlock()
	return up.rests.need(node, there)
}

// maxResting bounds the sets of nodes that are kept of one upload; a variable for tests.
var maxResting = 1024

// resting is on which sets of nodes the finished stripes of an upload are. The zero value
// is ready.
type resting struct {
	sets  map[string][]raid.NodeID // by their ids, joined
	least int                      // nodes of the smallest set that is not kept
	nodes map[raid.NodeID]bool     // of those sets
}

func (r *resting) add(parts []raid.Part) {
	for i := range parts {
		var set []raid.NodeID
		var key strings.Builder
		for _, c := range parts[i].Copies {
			set = append(set, c.Node)
		}
		slices.Sort(set)
		set = slices.Compact(set)
		for _, id := range set {
			key.WriteString(string(id) + " ")
		}
		switch {
		case r.sets[key.String()] != nil:
		case len(r.sets) < maxResting:
			if r.sets == nil {
				r.sets = map[string][]raid.NodeID{}
			}
			r.sets[key.String()] = set
		default:
			r.addUnkept(set)
		}
	}
}

func (r *resting) addUnkept(set []raid.NodeID) {
	if r.nodes == nil {
		r.nodes, r.least = map[raid.NodeID]bool{}, len(set)
	}
	r.least = min(r.least, len(set))
	for _, id := range set {
		r.nodes[id] = true
	}
}

// need reports whether some part has its only copies of nodes that are there on this one.
// Of sets that are not kept it says so when that may be.
func (r *resting) need(node raid.NodeID, there func(raid.NodeID) bool) bool {
	for _, set := range r.sets {
		on, others := slices.Contains(set, node), slices.ContainsFunc(set, func(id raid.NodeID) bool { return id != node && there(id) })
		if on && !others {
			return true
		}
	}
	gone := 0
	for id := range r.nodes {
		if id == node || !there(id) {
			gone++
		}
	}
	return r.nodes[node] && gone >= r.least
}
