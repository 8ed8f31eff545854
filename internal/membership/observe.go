package membership

import (
	"net"
	"time"

	"github.com/raidpi/raidpi/internal/allowance"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// NodeUp takes note of a native node whose session is complete.
func (m *Members) NodeUp(s *wire.Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.native[s.Node()]
	if n == nil {
		n = &member{id: s.Node(), record: raid.NodeRecord{ID: s.Node()}}
		m.native[n.id] = n
	}
	m.remembers(n)
	delete(m.unheard, n.id)
	n.session, n.problem = s, ""
	m.decided(n)
	m.apply(n, s.Heartbeat())
	n.seen = true
	if host, _, err := net.SplitHostPort(s.Addr()); err == nil {
		n.record.Address = host
	}
	m.note(n)
	if n.proposed() != "" || n.claimed() > 0 {
		m.cfg.Log.Info("a node proposes what nobody has accepted yet; see raidctl status", "node", n.id, "zone", n.proposed(), "bytes", n.claimed())
	}
	m.cfg.Log.Info("node up", "node", n.id, "session", s.ID(), "address", s.Addr(), "free_bytes", n.heartbeat.FreeBytes, "chunks", n.heartbeat.Chunks)
	m.notify()
}

// NodeHeartbeat takes note of a heartbeat.
func (m *Members) NodeHeartbeat(s *wire.Session, b wire.Heartbeat) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.native[s.Node()]
	if n == nil || n.session != s {
		return
	}
	if n.dirty && !n.known && m.remembers(n) { // it has got its first chunk
		m.markDirty(n)
	}
	m.heard(n, b)
}

// turnRate bounds how often what a node says of itself may change in a way that others wait
// for. Each change wakes all who wait for any node, and has repair look for work.
var turnRate = allowance.Rate{Burst: 20, Every: 3 * time.Second}

// turned reports whether others may wait for what has changed between two heartbeats.
func turned(from, to wire.Heartbeat) bool {
	return from.ReadOnly != to.ReadOnly || from.Draining != to.Draining || from.Scanned != to.Scanned ||
		(from.FreeBytes <= 0) != (to.FreeBytes <= 0) || from.DiskStall > 0 != (to.DiskStall > 0)
}

// heard takes over a heartbeat, and tells those who wait. Of a node that changes all the
// time, what it was before counts until it may change again. Callers hold mu.
func (m *Members) heard(n *member, b wire.Heartbeat) {
	before := n.heartbeat
	turns := turned(before, b)
	if turns && !n.turns.Take(turnRate, time.Now()) {
		b.ReadOnly, b.Draining, b.Scanned, b.FreeBytes, b.DiskStall = before.ReadOnly, before.Draining, before.Scanned, before.FreeBytes, before.DiskStall
		turns = false
	}
	m.apply(n, b)
	if !turns {
		return
	}
	if b.ReadOnly && !before.ReadOnly {
		m.cfg.Log.Warn("node's disk is read-only: it gets nothing new until it was checked and restarted", "node", n.id)
	}
	if before.DiskStall > 0 != (b.DiskStall > 0) {
		m.diskTurned(n, b.DiskStall)
	}
	m.notify()
}

// stallLogEvery bounds how often the log says of one node that its disk hangs.
const stallLogEvery = time.Minute

// diskTurned tells of a disk that hangs, or answers again. Callers hold mu.
func (m *Members) diskTurned(n *member, stall time.Duration) {
	if time.Since(n.stallLogged) >= stallLogEvery {
		n.stallLogged = time.Now()
		m.cfg.Log.Warn("node's disk hangs, or answers again: while it hangs the node gets nothing new", "node", n.id, "hangs_for", stall)
	}
}

// apply takes over a heartbeat. Callers hold mu.
func (m *Members) apply(n *member, b wire.Heartbeat) {
	m.checkCommit(n, &b)
	n.heartbeat = b
	switch {
	case !b.Draining:
		n.leftAt = time.Time{}
	case n.leftAt.IsZero():
		n.leftAt = time.Now()
	}
	m.see(n)
}

// NodeDown takes note of the end of a native node's session, and forgets a node
// that has no chunk.
func (m *Members) NodeDown(s *wire.Session, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.native[s.Node()]
	if n == nil || n.session != s {
		return
	}
	m.note(n)
	n.session, n.downSince = nil, time.Now()
	if !m.remembers(n) && !n.given {
		delete(m.native, n.id)
		if m.claims[n.id].Weight != Proven {
			m.dropClaim(n.id)
		}
	}
	m.cfg.Log.Warn("node down", "node", n.id, "session", s.ID(), "address", s.Addr(), "cause", err)
	m.notify()
}

// Remove forgets a node that was removed from the array: it is not listed, not
// waited for and gets nothing more. Its session must have ended, or end soon.
func (m *Members) Remove(id raid.NodeID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.native, id)
	delete(m.unheard, id)
	m.dropClaim(id)
	m.notify()
}

// LabUp takes note of a lab peer that takes Stores.
func (m *Members) LabUp(l *wire.LabNode) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lab[l.ID()] = l
	m.cfg.Log.Info("lab node up: it does not fsync and keeps what is deleted", "node", l.ID())
	m.notify()
}

// LabDown takes note of a lab peer that left.
func (m *Members) LabDown(l *wire.LabNode, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lab[l.ID()] == l {
		delete(m.lab, l.ID())
		m.cfg.Log.Warn("lab node down", "node", l.ID(), "cause", err)
		m.notify()
	}
}
