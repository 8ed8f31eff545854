package repair

import (
	"context"

	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
)

// Cleaned reports whether nothing is to be found on the node any more that an earlier
// run has left, or it is not looked for in this session.
func (r *Repairer) Cleaned(p *membership.Peer) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.searches[p.ID()]
	return r.cfg.Nodes.CleanedRun(p.ID()) >= r.cfg.Run || s != nil && s.session == p.Session() && s.ended
}

// Stray is told of chunks on a node that nothing explains although it was cleaned. Where the
// catalog does not know an upload of an earlier run among theirs, the node is looked through for
// leftovers anew, of all runs. An old copy of its folder may have been put back. That is done once
// in a session. It returns the catalog's errors.
func (r *Repairer) Stray(ctx context.Context, p *membership.Peer, keys []raid.ChunkKey) error {
	left, err := r.unknown(ctx, keys)
	if err != nil || len(left) == 0 {
		return err
	}
	r.mu.Lock()
	again := r.astray[p.ID()] != p.Session()
	r.astray[p.ID()] = p.Session()
	if again {
		delete(r.searches, p.ID())
	}
	r.mu.Unlock()
	if again {
		r.cfg.Nodes.SetCleanedRun(p.ID(), 0)
		wake(r.wakeCollect)
	}
	return nil
}

// CheckAgain says that a part's copy which counts as bad may be good again.
func (r *Repairer) CheckAgain(file raid.FileID, part raid.Part) {
	r.repaired(&raid.Repair{File: file, Part: part}) // what was tried in vain is tried once more
	wake(r.wakeRepair)
}
