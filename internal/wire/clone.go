package wire

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/zmtp"
)

var errClone = errors.New("another node with this id is connected: two machines run from copies of one disk. " +
	"On the copy run: sudo raid-node reset-identity, then join it")

const (
	// cloneLogEvery bounds how often the same clone is logged.
	cloneLogEvery = time.Minute
	// cloneRecent is the time after its last refusal for which one counts as there. A
	// node tries again every 5 s at least.
	cloneRecent = time.Minute
	// maxClones bounds what is remembered.
	maxClones = 1000
)

// Clone is a machine that is refused because another one with its node id is
// connected.
type Clone struct {
	Node raid.NodeID
	Addr string    // the refused one's
	Last time.Time // when it was refused last
}

// clone holds what the Hub remembers of a Clone. Hub.mu guards it.
type clone struct {
	Clone
	first  time.Time // of the refusals since it is there
	logged time.Time
}

// Clones are the clones that are there now, by node id. A node that lost its
// connections unnoticed looks like one until the old session has not answered
// for HubConfig.Suspect; it is none.
func (h *Hub) Clones() []Clone {
	h.mu.Lock()
	defer h.mu.Unlock()
	var there []Clone
	for _, c := range h.clones {
		if time.Since(c.Last) < cloneRecent && c.Last.Sub(c.first) >= 2*h.cfg.Suspect {
			there = append(there, c.Clone)
		}
	}
	slices.SortFunc(there, func(a, b Clone) int { return cmp.Compare(a.Node, b.Node) })
	return there
}

// noteClone remembers and logs that a clone was refused. One that is real tries
// again and again.
func (h *Hub) noteClone(hi hello, peer zmtp.Peer) {
	now := time.Now()
	h.mu.Lock()
	c := h.clones[hi.node]
	if c == nil {
		if len(h.clones) >= maxClones {
			clear(h.clones)
		}
		c = &clone{}
		h.clones[hi.node] = c
	}
	if now.Sub(c.Last) >= cloneRecent {
		c.first = now
	}
	c.Clone = Clone{Node: hi.node, Addr: peer.Addr.String(), Last: now}
	due := now.Sub(c.logged) >= cloneLogEvery
	if due {
		c.logged = now
	}
	h.mu.Unlock()
	if due {
		h.cfg.Log.Warn("Node refused: another with its id is connected", "node", hi.node, "addr", peer.Addr, "session", hi.session)
	}
}
