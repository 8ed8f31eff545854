package repair

import (
	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
)

// record has what one session of a node has shown of copies that were called bad. Only
// bytes that were read and are right clear a copy. A node that sends right bytes to
// who checks and wrong ones to others clears it in vain.
type record struct {
	session raid.SessionID
	clear   map[raid.ChunkName]bool // found good when they were checked
	vain    int                     // how many of these were called bad again
}

const (
	// maxVain bounds the copies that a session may clear in vain. After that its bad
	// copies are made anew unseen.
	maxVain = 1
	// maxCleared bounds the copies of a session that are remembered as cleared, for
	// about 1 MiB.
	maxCleared = 10_000
)

// recordOf returns the record of the peer's session. Callers hold mu.
func (r *Repairer) recordOf(p *membership.Peer) *record {
	if c := r.records[p.ID()]; c != nil && c.session == p.Session() {
		return c
	}
	c := &record{session: p.Session(), clear: map[raid.ChunkName]bool{}}
	r.records[p.ID()] = c
	return c
}

// mayClear reports whether a copy that is called bad may prove to be good. One that
// did so before in this session may not.
func (r *Repairer) mayClear(p *membership.Peer, name raid.ChunkName) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.recordOf(p)
	if c.clear[name] {
		delete(c.clear, name)
		if c.vain++; c.vain == maxVain+1 {
			p.Accuse("it sends wrong bytes to some readers and right ones to others. Check its memory and its disk, then restart it")
		}
		return false
	}
	return c.vain <= maxVain
}

// cleared notes that a copy proved to be good.
func (r *Repairer) cleared(p *membership.Peer, name raid.ChunkName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.recordOf(p)
	if len(c.clear) >= maxCleared {
		clear(c.clear)
	}
	c.clear[name] = true
}

// distrusts reports whether a node has cleared copies in vain: another one gets what
// is made anew, if it can.
func (r *Repairer) distrusts(p *membership.Peer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.recordOf(p).vain > 0
}
