package membership

import (
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

const (
	// largestDisk is the most that a disk counts for, in bytes: 1 PiB. Sums of such
	// sizes can't overflow, whatever nodes claim.
	largestDisk = 1 << 50
	// largestPart is the longest payload of any chunk, in bytes: half of a whole file
	// of 128 MiB.
	largestPart = 64 << 20
)

// shown is the size of a disk as a heartbeat tells it, in bytes. A free part that is
// larger than the whole is one too: nobody gains by leaving one of them out.
func shown(b wire.Heartbeat) int64 { return min(max(b.TotalBytes, b.FreeBytes, 0), largestDisk) }

// room is how large a node's disk is and what is free on it, in bytes. It is what the node says
// now, but no more than the disk that it showed when it was
// first seen, or that a person has accepted since. Nor is it more
// than what its chunks of this run leave of that. Callers hold mu.
func (n *member) room() (total, free int64) {
	total = min(shown(n.heartbeat), n.record.Disk)
	return total, max(min(n.heartbeat.FreeBytes, total, n.record.Disk-n.stored), 0)
}

// claimed is the size of a disk that is larger than the accepted one by more than
// what a file system takes or gives for itself; 0: it is not. Callers hold mu.
func (n *member) claimed() int64 {
	if s := shown(n.heartbeat); s > n.record.Disk+n.record.Disk/64 {
		return s
	}
	return 0
}

// proposed is the zone that a node's own configuration names, where that is another
// than the one that it is in. Callers hold mu.
func (n *member) proposed() string {
	if n.heartbeat.Zone == n.record.Zone || !raid.ValidZone(n.heartbeat.Zone) {
		return ""
	}
	return n.heartbeat.Zone
}

// keeps counts bytes that a node has said to have stored.
func (p *Peer) keeps(bytes int) {
	p.members.mu.Lock()
	defer p.members.mu.Unlock()
	if n := p.members.native[p.id]; n != nil {
		n.stored += int64(bytes)
	}
}

// drops counts chunks that a node has said to be gone. How long each was is not
// known here, so it counts as the longest: room is never less than there is.
func (p *Peer) drops(results []error) {
	p.members.mu.Lock()
	defer p.members.mu.Unlock()
	n := p.members.native[p.id]
	if n == nil {
		return
	}
	for _, err := range results {
		if err == nil {
			n.stored = max(n.stored-largestPart, 0)
		}
	}
}

// see notes the size of a disk that is seen for the first time. Callers hold mu.
func (m *Members) see(n *member) {
	if n.record.Disk == 0 && shown(n.heartbeat) > 0 {
		n.record.Disk = shown(n.heartbeat)
		m.markDirty(n)
	}
}

// decided takes over what a person has decided about a node, as the catalog has it.
// Callers hold mu.
func (m *Members) decided(n *member) {
	if m.cfg.Decided == nil {
		return
	}
	if r, ok := m.cfg.Decided(n.id); ok {
		n.record.Zone, n.record.Disk, n.record.Relocation = r.Zone, r.Disk, r.Relocation
	}
}

// Reconsider follows a decision of a person about a node, which the catalog has
// already.
func (m *Members) Reconsider(id raid.NodeID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.native[id]; n != nil {
		m.decided(n)
		m.see(n)
		m.notify()
	}
}
