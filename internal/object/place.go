package object

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/placement"
	"github.com/raidpi/raidpi/internal/raid"
)

// chunkOverhead bounds what a chunk takes on disk beside its payload, generously:
// trailer, footer and the file system's own blocks.
const chunkOverhead = 16 << 10

// usualChunk is the payload of a chunk, in bytes, where files are not cut in stripes
// and may have any size.
const usualChunk = 1 << 20

// Cost returns what files cost of the nodes' space.
func (s *Store) Cost() placement.Cost {
	chunk := int64(usualChunk)
	if s.cfg.StripeSize > 0 {
		chunk = max(s.cfg.StripeSize/int64(s.cfg.Level.Needed), 1)
	}
	return s.costOf(chunk, chunkOverhead)
}

// costOf is Cost for chunks of so many bytes, which take overhead besides.
func (s *Store) costOf(chunk, overhead int64) placement.Cost {
	level := s.cfg.Level
	groups := level.Groups()
	return placement.Cost{
		Copies: level.Apart(s.cfg.Copies), Groups: groups, Chunk: chunk, Payload: chunk * int64(level.Needed/groups),
		Overhead: overhead, Degraded: s.degrades(),
	}
}

// degrades reports whether chunks may share a node where there are too few. Where parts
// can be spared, no row of the catalog would tell that they do.
func (s *Store) degrades() bool { return s.cfg.DegradedWrites && s.cfg.Level.Spare() == 0 }

// apart returns the number of nodes that a stripe needs, so that none holds two chunks of a group.
func (s *Store) apart() int { return s.cfg.Level.Apart(s.cfg.Copies) }

// fullText says what would help when too few nodes have room for a part of so many
// bytes. more is how many nodes there are that take no chunks now.
func fullText(cost placement.Cost, usable []placement.Candidate, size int64, more int) string {
	lacking := cost.Lacking(usable, size)
	have := 0
	for _, c := range usable {
		if c.Free >= size+cost.Overhead {
			have++
		}
	}
	text := fmt.Sprintf("of the %d nodes that take chunks now %d have room beyond their reserve, and %d copies need as many; ", len(usable), have, cost.Copies)
	if have == 1 {
		text = fmt.Sprintf("of the %d nodes that take chunks now one alone has room beyond its reserve, and %d copies need as many; ", len(usable), cost.Copies)
	}
	add := "add a node"
	if lacking > 1 {
		add = fmt.Sprintf("add %d nodes", lacking)
	}
	if more > 0 {
		add = "start those that are away (raidctl nodes), " + add
	}
	return text + add + ", or delete files"
}

// Full says why no file can be stored although there are nodes enough, and what would
// help; empty: one can, or it is nodes that are missing.
func (s *Store) Full() string {
	usable, cost := s.cfg.Nodes.Candidates(), s.Cost()
	if len(usable) == 0 || len(usable) < cost.Copies && !cost.Degraded || cost.Lacking(usable, 0) == 0 {
		return ""
	}
	return fullText(cost, usable, 0, s.idle())
}

// idle counts the native nodes that take no chunks now, being away, read-only or on their
// way out.
func (s *Store) idle() (n int) {
	for _, i := range s.cfg.Nodes.Nodes() {
		if i.Kind == raid.Native && (i.State != raid.Up || i.ReadOnly) {
			n++
		}
	}
	return n
}

// reclaimTries is how often one copy is placed anew after the trash made room: others
// may take that first.
const reclaimTries = 5

// place chooses a node for one more copy of part p. When the nodes are full, the trash
// has to make room. See placeNow.
func (j *stripeUpload) place(p int) (peer *membership.Peer, colocated bool, err error) {
	for try := 0; ; try++ {
		peer, colocated, err = j.placeNow(p)
		trash := j.up.s.cfg.Trash
		if trash == nil || !errors.Is(err, raid.ErrArrayFull) || try == reclaimTries {
			return peer, colocated, err
		}
		if !trash.MakeRoom(j.up.ctx, j.parts[p].Length, func() bool { return j.fits(p) }) {
			return nil, false, cmp.Or(context.Cause(j.up.ctx), err)
		}
	}
}

// fits reports whether the nodes have room for one more copy of part p.
func (j *stripeUpload) fits(p int) bool {
	cost := j.up.s.Cost()
	return cost.Lacking(j.up.s.cfg.Nodes.Candidates(), j.parts[p].Length) == 0
}

func tooManyAttempts() error {
	return fmt.Errorf("%w: %d attempts to store one part failed", raid.ErrTooFewNodes, maxAttempts)
}

// placeNow chooses a node for one more copy of part p, once it is clear that the
// catalog is not an old one. When there are too few it
// waits: for known nodes to settle, and as long for nodes that are up and failed
// to recover. colocated says that the node has another copy of the part, since no
// other node is up and none is expected back soon.
func (j *stripeUpload) placeNow(p int) (peer *membership.Peer, colocated bool, err error) {
	for {
		if err := j.up.s.cfg.Nodes.StaleCatalog(); err != nil {
			return nil, false, err
		}
		if left := j.up.s.cfg.Nodes.WarmUp(); left > 0 {
			if err := j.wait(min(left, watchEvery)); err != nil {
				return nil, false, err
			}
			continue
		}
		peer, err = j.tryPlace(p, false)
		if err == nil {
			return peer, false, nil
		}
		left := max(j.up.s.cfg.Nodes.ReconnectGrace(), j.readmit())
		if left <= 0 {
			break
		}
		if err := j.wait(min(left, watchEvery)); err != nil {
			return nil, false, err
		}
	}
	if !errors.Is(err, raid.ErrTooFewNodes) {
		return nil, false, err
	}
	if !j.up.s.degrades() {
		return nil, false, fmt.Errorf("%w: %d copies need as many nodes; start more nodes, or set degraded_writes = true to store on fewer",
			raid.ErrTooFewNodes, j.up.s.apart())
	}
	peer, err = j.tryPlace(p, true)
	return peer, true, err
}

// readmit lets nodes that failed the stripe try again, for as long as nodes that
// are away are waited for. It returns how long that still is.
func (j *stripeUpload) readmit() time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.excluded) == 0 && j.patience.IsZero() {
		return 0
	}
	if j.patience.IsZero() {
		j.patience = time.Now().Add(j.up.s.cfg.Nodes.Settle())
	}
	clear(j.excluded)
	return time.Until(j.patience)
}

func (j *stripeUpload) wait(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-j.up.ctx.Done():
		return context.Cause(j.up.ctx)
	case <-j.up.s.cfg.Nodes.Changed():
	case <-t.C:
	}
	return nil
}

// tryPlace chooses without waiting; again allows a node that already has a copy
// of the part, when no other will do. The error is raid.ErrArrayFull when enough
// nodes are up but too few have room, raid.ErrTooFewNodes when too few are up.
func (j *stripeUpload) tryPlace(p int, again bool) (*membership.Peer, error) {
	cfg := &j.up.s.cfg
	j.mu.Lock()
	defer j.mu.Unlock()
	var usable []placement.Candidate
	peers := map[raid.NodeID]*membership.Peer{}
	for _, c := range cfg.Nodes.Candidates() {
		if peer, ok := cfg.Nodes.Peer(c.ID); ok && !j.excluded[target{c.ID, peer.Session()}] {
			usable, peers[c.ID] = append(usable, c), peer
		}
	}
	need := j.parts[p].Length + chunkOverhead
	c, ok := j.placed.Choose(usable, j.group(p), need, cfg.Draw)
	if !ok && again {
		c, ok = placement.NewStripe().Choose(usable, j.group(p), need, cfg.Draw)
	}
	if ok {
		j.placed.Take(j.group(p), c)
		return peers[c.ID], nil
	}
	if n := len(usable); n >= j.up.s.apart() || again && n > 0 {
		return nil, fmt.Errorf("%w: %s", raid.ErrArrayFull, fullText(j.up.s.Cost(), usable, j.parts[p].Length, j.up.s.idle()))
	}
	return nil, fmt.Errorf("%w: %d can take chunks now, %d copies need as many. See which nodes are away with: raidctl nodes", raid.ErrTooFewNodes, len(usable), j.up.s.apart())
}

// exclude keeps the stripe away from a session that failed it for a while. A node
// without room says so in its heartbeats.
func (j *stripeUpload) exclude(a *attempt) {
	if errors.Is(a.err, raid.ErrNoSpace) {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.excluded[target{a.peer.ID(), a.peer.Session()}] = true
}
