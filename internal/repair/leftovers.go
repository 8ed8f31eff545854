package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/raidpi/raidpi/internal/inventory"
	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// leftoversAtOnce bounds the chunks that the catalog does not know and that one pass takes
// from one node. A node that makes names up so costs little, however many it makes.
const leftoversAtOnce = 4000

// search tells how far one session of a node was looked through for leftovers.
type search struct {
	session raid.SessionID
	list    inventory.Listing
	kept    int           // chunks that the catalog does not know and that stay all the same
	refused bool          // the node is not asked again before its next session
	rests   time.Time     // no page is asked for before
	pause   time.Duration // the last one after a pass that found as much as it may take
	ended   bool          // refused, for others; Repairer.mu guards it
}

// searchOf returns the search of the peer's session, which it may begin.
func (r *Repairer) searchOf(p *membership.Peer) *search {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.searches[p.ID()]; s != nil && s.session == p.Session() {
		return s
	}
	req := wire.ListRequest{Limit: listBatch, MinRun: r.cfg.Nodes.CleanedRun(p.ID()), MaxRun: r.cfg.Run}
	if req.MinRun > 0 {
		req.MinRun-- // a write that hung on the node's disk may have come through since
	}
	s := &search{session: p.Session(), list: inventory.Listing{Node: p, Request: req}}
	r.searches[p.ID()] = s
	return s
}

// endSearches forgets those of nodes that are not there any more.
func (r *Repairer) endSearches(there []*membership.Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, s := range r.searches {
		if !slices.ContainsFunc(there, func(p *membership.Peer) bool { return p.Session() == s.session }) {
			delete(r.searches, id)
		}
	}
}

// findLeftovers gives up what uploads of earlier runs left on a node, and no upload of
// which the catalog knows anything. It waits until the node has read all its trailers,
// since only then it is sure that the catalog is not the older one. Nothing of it is
// written to the catalog: what is not done is found again by the next listing.
func (r *Repairer) findLeftovers(ctx context.Context, p *membership.Peer) (done bool, err error) {
	if !p.Scanned() {
		return false, nil
	}
	s := r.searchOf(p)
	if s.refused {
		return true, nil
	}
	if time.Now().Before(s.rests) {
		return false, nil
	}
	before := *s
	unknown, err := r.listUnknown(ctx, p, s)
	if err == nil && len(unknown) > 0 {
		err = r.trashLeftovers(ctx, p, s, unknown)
	}
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		*s = before
		return false, err
	}
	if s.list.Over() && !s.refused {
		r.endSearch(p, s)
	}
	if len(unknown) >= leftoversAtOnce { // each such pass reads through the catalog's tables
		s.pause = min(max(2*s.pause, retryAfter), retryMax)
	}
	s.rests = time.Now().Add(max(s.pause, retryAfter))
	r.mu.Lock()
	defer r.mu.Unlock()
	s.ended = s.refused
	return s.refused, nil
}

// endSearch notes that all was looked at. What was kept, since something contradicts
// the catalog, is looked at again by the next run.
func (r *Repairer) endSearch(p *membership.Peer, s *search) {
	s.refused = true
	if s.kept == 0 {
		r.cfg.Nodes.SetCleanedRun(p.ID(), r.cfg.Run)
	}
}

// listUnknown goes on with a node's listing until it has enough chunks whose upload the
// catalog does not know, or is over.
func (r *Repairer) listUnknown(ctx context.Context, p *membership.Peer, s *search) (found []raid.ChunkKey, err error) {
	for len(found) < leftoversAtOnce && !s.list.Over() {
		page, err := s.list.Next(ctx)
		switch {
		case errors.Is(err, inventory.ErrLies):
			r.refuse(p, s, err)
			return nil, nil
		case err != nil:
			r.cfg.Log.Debug("listing postponed", "node", p.ID(), "cause", err)
			return nil, errLater
		}
		unknown, err := r.unknown(ctx, keysOf(page))
		if err != nil {
			return nil, err
		}
		found = append(found, unknown...)
	}
	return found, nil
}

func keysOf(chunks []inventory.Chunk) []raid.ChunkKey {
	keys := make([]raid.ChunkKey, len(chunks))
	for i := range chunks {
		keys[i] = chunks[i].Key
	}
	return keys
}

// refuse gives up a node's listing until its next session.
func (r *Repairer) refuse(p *membership.Peer, s *search, why error) {
	s.refused = true
	p.Accuse(fmt.Sprintf("its listing of chunks was given up: %v. What it may have left of unfinished uploads stays there", why))
	if r.lies.due() {
		r.cfg.Log.Warn("a node's listing of its chunks is given up until it connects again", "node", p.ID(), "cause", why)
	}
}

// unknown returns those of the chunks whose upload no row of the catalog has.
func (r *Repairer) unknown(ctx context.Context, keys []raid.ChunkKey) ([]raid.ChunkKey, error) {
	asked := map[raid.UploadID]bool{}
	var ids []raid.UploadID
	for _, k := range keys {
		if !asked[k.Upload] {
			asked[k.Upload] = true
			ids = append(ids, k.Upload)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	strange, err := r.cfg.Queue.UnknownUploads(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("look up uploads: %w", err)
	}
	gone := map[raid.UploadID]bool{}
	for _, u := range strange {
		gone[u] = true
	}
	return slices.DeleteFunc(slices.Clone(keys), func(k raid.ChunkKey) bool { return !gone[k.Upload] }), nil
}
