package membership

import (
	"fmt"
	"slices"
	"strings"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// Claim is a node's word that it has seen a commit number that is not of our catalog's
// past. It stands until the node is removed from the array, or the controller ends.
type Claim struct {
	Node   raid.NodeID
	Commit uint64
	Weight Weight
}

// Weight returns the weight of a claim.
type Weight int

const (
	// Impossible is a number that no controller of this array can have come to.
	Impossible Weight = iota + 1
	// Unproven is one without the array's MAC, or with a wrong one. It comes from a node that
	// heard it of a controller that made no MACs yet, or from one that lies.
	Unproven
	// Proven is one that a controller with the array's key has made.
	Proven
)

// String returns the words of the node's status for a person.
func (c Claim) String() string {
	text := fmt.Sprintf("has seen a newer catalog (number %d)", c.Commit)
	switch c.Weight {
	case Impossible:
		return text + ", it says, which this array can't have made"
	case Unproven:
		return text + ", it says, and can't prove it"
	}
	return text
}

// maxClaims bounds the claims of nodes that are no members any more. A proven one is
// kept when its node goes: it is true whoever says it.
const maxClaims = 64

// Claims are those that stand, by node.
func (m *Members) Claims() []Claim {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sortedClaims()
}

// sortedClaims is Claims. Callers hold mu.
func (m *Members) sortedClaims() []Claim {
	all := make([]Claim, 0, len(m.claims))
	for _, c := range m.claims {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b Claim) int { return strings.Compare(string(a.Node), string(b.Node)) })
	return all
}

// ClaimsNewer reports whether the node claims to have seen a newer catalog, and that can be. Then
// what our catalog says about its chunks is not acted upon.
func (p *Peer) ClaimsNewer() bool {
	p.members.mu.Lock()
	defer p.members.mu.Unlock()
	return p.members.claims[p.id].Weight > Impossible
}

// checkCommit compares what a node has seen, and what lies on its disk, with our
// catalog. Callers hold mu.
func (m *Members) checkCommit(n *member, b *wire.Heartbeat) {
	for _, c := range []raid.Commit{b.Proven, b.FoundProven, {Number: b.HighestCommit}, {Number: b.FoundCommit}} {
		if !m.cfg.Knows(c.Number) {
			m.claim(Claim{n.id, c.Number, m.weigh(c)})
		}
	}
}

// weigh judges a number that our catalog does not know.
func (m *Members) weigh(c raid.Commit) Weight {
	switch {
	case m.cfg.Genuine != nil && m.cfg.Genuine(c):
		return Proven
	case m.cfg.Possible != nil && !m.cfg.Possible(c.Number):
		return Impossible
	}
	return Unproven
}

// claim notes a claim, and says so once for each node and weight. Callers hold mu.
func (m *Members) claim(c Claim) {
	old, stands := m.claims[c.Node]
	if stands && old.Weight >= c.Weight || !stands && len(m.claims) >= maxClaims && m.native[c.Node] == nil {
		return
	}
	m.claims[c.Node] = c
	switch c.Weight {
	case Proven:
		m.cfg.Log.Error("the catalog is older than what a node has seen: uploads and deletes stop", "node", c.Node, "node_commit", c.Commit)
	case Unproven:
		m.cfg.Log.Warn("a node says that it has seen a newer catalog, and can't prove it: nothing is removed from it", "node", c.Node, "node_commit", c.Commit)
	default:
		m.cfg.Log.Warn("a node tells a commit number that this array can't have come to: it is not believed", "node", c.Node, "node_commit", c.Commit)
	}
	m.judge()
}

// dropClaim ends a node's claim. Callers hold mu.
func (m *Members) dropClaim(id raid.NodeID) {
	if _, stands := m.claims[id]; stands {
		delete(m.claims, id)
		m.judge()
	}
}

// judge decides whether the claims make our catalog an old one. One proven claim does.
// Of the others it takes two, of two nodes: one node alone could stop the whole array
// with a word that it made up. A node that is the only one has nobody to stop. Callers
// hold mu.
func (m *Members) judge() {
	was := m.stale
	m.stale = nil
	var unproven []Claim
	for _, c := range m.sortedClaims() {
		switch c.Weight {
		case Proven:
			if m.stale == nil {
				m.stale = m.staleError(c)
			}
		case Unproven:
			unproven = append(unproven, c)
		}
	}
	if m.stale == nil && (len(unproven) > 1 || len(unproven) == 1 && len(m.native) == 1) {
		m.stale = m.staleError(unproven[0])
		if was == nil {
			m.cfg.Log.Error("the catalog is older than what several nodes say they have seen: uploads and deletes stop", "nodes", len(unproven))
		}
	}
	if was != nil && m.stale == nil {
		m.cfg.Log.Info("no node claims a newer catalog any more: uploads and deletes go on")
	}
	m.notify()
}

func (m *Members) staleError(c Claim) error {
	return fmt.Errorf("%w: node %s has seen commit %d, which this catalog does not have. The catalog was put back from a backup or an older card. "+
		"Nothing is stored or removed until raid-controller is stopped, the newest catalog is put into its state directory, and it is started again. "+
		"If this is the newest, an older one was in use since: /usr/share/doc/raid-controller/catalog.md says what to do then",
		raid.ErrCatalogBehind, m.called(c.Node), c.Commit)
}

// called is the name that people know a node by.
func (m *Members) called(id raid.NodeID) string {
	if m.cfg.Name != nil {
		if name := m.cfg.Name(id); name != "" {
			return name + " (" + string(id) + ")" // others may say that they have the same name
		}
	}
	return string(id)
}
