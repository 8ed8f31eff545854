package membership

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/raidpi/raidpi/internal/hedge"
	"github.com/raidpi/raidpi/internal/placement"
	"github.com/raidpi/raidpi/internal/raid"
)

// state judges a native node. Callers hold mu.
func (m *Members) state(n *member) raid.NodeState {
	switch {
	case n.session == nil || over(n.session.Done()):
		return raid.Down
	case n.session.Unanswered() > hedge.SuspectAfter || n.session.StuckFor() > hedge.StuckAfter || n.heartbeat.DiskStall > 0:
		return raid.Suspect
	case n.record.Draining || n.heartbeat.Draining:
		return raid.Draining
	}
	return raid.Up
}

func over(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// Candidates are the nodes that may be given a chunk now: up, not draining, not
// read-only. Full ones are among them, with the little that they have.
func (m *Members) Candidates() []placement.Candidate {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]placement.Candidate, 0, len(m.native)+len(m.lab))
	for _, n := range m.native {
		if m.state(n) != raid.Up || n.heartbeat.ReadOnly {
			continue
		}
		under := n.session.Outstanding()
		_, free := n.room()
		out = append(out, placement.Candidate{
			ID: n.id, Zone: n.record.Zone, Free: free - under,
			Slow: under >= m.cfg.Window || n.session.StuckFor() > hedge.SlowAfter,
		})
	}
	for _, l := range m.lab {
		if l.Healthy() {
			out = append(out, placement.Candidate{ID: l.ID(), Free: 1 << 40, Lab: true, Slow: l.Outstanding() > 0})
		}
	}
	return out
}

// ReconnectGrace returns the time for which it is still worth to wait for known native nodes that are
// away, do not answer or are just ending: settle, counted from when each was last
// there. It is zero when none is missing, or all are missing for longer.
func (m *Members) ReconnectGrace() (left time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.native {
		if away, expected := m.away(n); expected {
			left = max(left, m.cfg.Settle-away)
		}
	}
	return left
}

// away is for how long a native node has taken no chunk, if it is expected to take
// some again by itself. Callers hold mu.
func (m *Members) away(n *member) (away time.Duration, expected bool) {
	if n.record.Draining { // a person wants it to take nothing any more
		return 0, false
	}
	switch m.state(n) {
	case raid.Down:
		if n.session == nil { // else it ended this instant; NodeDown is on its way
			away = time.Since(n.downSince)
		}
	case raid.Suspect:
		away = max(n.session.SilentFor(), n.session.StuckFor(), n.heartbeat.DiskStall)
	case raid.Draining: // its process ends, most often to be started again
		if !n.known && !n.given {
			return 0, false // it is forgotten when it goes
		}
	default:
		return 0, false
	}
	// The drain is part of being away: one that hangs is not waited for longer.
	if !n.leftAt.IsZero() {
		away = max(away, time.Since(n.leftAt))
	}
	return away, true
}

// Settle bounds the wait for a known node that is away.
func (m *Members) Settle() time.Duration { return m.cfg.Settle }

// AwayFor returns the time for which a native node has been down, zero while it is connected
// or when it is not known at all.
func (m *Members) AwayFor(id raid.NodeID) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.native[id]; n != nil && n.session == nil {
		return time.Since(n.downSince)
	}
	return 0
}

// Nodes lists all nodes, native ones first, by id.
func (m *Members) Nodes() []raid.NodeInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]raid.NodeInfo, 0, len(m.native)+len(m.lab))
	for _, n := range m.native {
		out = append(out, m.info(n))
	}
	for _, l := range m.lab {
		i := raid.NodeInfo{ID: l.ID(), Kind: raid.Lab, State: raid.Up, Address: l.Addr(), Seen: true, LastSeen: time.Now()}
		if !l.Healthy() {
			i.State = raid.Suspect
		}
		out = append(out, i)
	}
	slices.SortFunc(out, func(a, b raid.NodeInfo) int {
		if a.Kind != b.Kind {
			return -strings.Compare(string(a.Kind), string(b.Kind))
		}
		return strings.Compare(string(a.ID), string(b.ID))
	})
	return out
}

// info describes a native node. Callers hold mu.
func (m *Members) info(n *member) raid.NodeInfo {
	i := raid.NodeInfo{
		ID: n.id, Kind: raid.Native, State: m.state(n), Address: n.record.Address, Zone: n.record.Zone,
		ProposedZone: n.proposed(), ClaimedBytes: n.claimed(), Chunks: n.heartbeat.Chunks,
		Version: n.heartbeat.Version, ReadOnly: n.heartbeat.ReadOnly, Seen: n.seen,
		TrashChunks: n.heartbeat.TrashChunks, TrashBytes: n.heartbeat.TrashBytes, Problem: n.problem, Relocation: n.record.Relocation, Wear: n.heartbeat.Wear,
	}
	if n.session != nil {
		i.DiskStall = n.heartbeat.DiskStall
	}
	if n.session != nil && n.heartbeat.DiskStall > 0 && i.Problem == "" {
		i.Problem = fmt.Sprintf("its disk has not answered for %v: it gets nothing new, and reads ask other nodes first. Check the disk's cable and power there (journalctl -k)",
			n.heartbeat.DiskStall.Round(time.Second))
	}
	if n.session != nil {
		i.Bad, i.Scrub = n.heartbeat.Bad, n.heartbeat.Scrub
	}
	i.TotalBytes, i.FreeBytes = n.room()
	if !n.seen {
		n.recall(&i)
	}
	if c, stands := m.claims[n.id]; stands && i.Problem == "" {
		i.Problem = c.String()
	}
	switch {
	case n.session != nil:
		i.Silent = n.session.SilentFor()
	default:
		i.Silent = time.Since(n.downSince)
	}
	if n.seen {
		i.LastSeen = time.Now().Add(-i.Silent)
	}
	return i
}

// HostNames are the names that the machines of connected native nodes have given.
func (m *Members) HostNames() map[raid.NodeID]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[raid.NodeID]string, len(m.native))
	for _, n := range m.native {
		if n.session != nil && n.heartbeat.Name != "" {
			all[n.id] = n.heartbeat.Name
		}
	}
	return all
}
