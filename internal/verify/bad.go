package verify

import (
	"context"
	"errors"
	"time"

	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// askLeast is the least time between two inquiries at a node, askAgain the time after
	// which one is made although the node says nothing new.
	askLeast = 10 * time.Second
	askAgain = 15 * time.Minute
	// askMost bounds the names of one inquiry: a node remembers no more.
	askMost = 10_000
	// mostVain bounds the whole chunks that a session may call corrupt.
	mostVain    = 100
	callTimeout = 30 * time.Second
	checkLimit  = 2 * time.Minute
	restLeast   = 5 * time.Millisecond
)

// inquiry is the result of asking one session of a node for bad chunks.
type inquiry struct {
	session raid.SessionID
	under   bool // way
	at      time.Time
	said    int64                       // how many there are, when it was asked last
	marked  bool                        // then some were marked: as many that are left now may be others
	failed  int                         // inquiries in a row that came to no end
	whole   map[raid.ChunkName]struct{} // that it calls bad and are not
}

// ask asks a node for the names of its bad chunks if it is time to, and sees to them.
func (v *Verifier) ask(ctx context.Context, p *membership.Peer) {
	if v.cfg.Nodes.StaleCatalog() != nil || v.cfg.Nodes.WarmUp() > 0 || p.Suspect() || !v.due(p) {
		return
	}
	v.asking.Go(func() {
		marked, err := v.checkBadOf(ctx, p)
		v.mu.Lock()
		q := &v.of(p.ID()).bad
		before := q.failed
		q.under, q.marked, q.failed = false, marked, 0
		if err != nil && !errors.Is(err, raid.ErrUnsupported) {
			q.failed = before + 1
		}
		v.mu.Unlock()
		if err != nil && before == 0 && ctx.Err() == nil && !errors.Is(err, raid.ErrPeerGone) {
			v.cfg.Log.Warn("bad chunks that a node has found are not seen to yet; it is tried again", "node", p.ID(), "cause", err)
		}
	})
}

// due reports whether a node is to be asked, and notes that it is.
func (v *Verifier) due(p *membership.Peer) bool {
	said, session := p.Heartbeat().Bad, p.Session()
	v.mu.Lock()
	defer v.mu.Unlock()
	q := &v.of(p.ID()).bad
	if q.under || said == 0 {
		return false
	}
	if q.session != session {
		*q = inquiry{session: session, whole: map[raid.ChunkName]struct{}{}}
	}
	since := time.Since(q.at)
	if len(q.whole) > mostVain || !q.at.IsZero() && (since < q.rest() || said == q.said && !q.marked && q.failed == 0 && since < askAgain) {
		return false
	}
	q.under, q.at, q.said = true, time.Now(), said
	return true
}

// rest is the least time until the next inquiry. It doubles with each that failed, since
// it reads once more what the last one read of a disk that may be dying.
func (q *inquiry) rest() time.Duration {
	return min(askLeast<<min(max(q.failed-1, 0), 10), askAgain)
}

// Unchecked counts the chunks that connected nodes call bad, by node, where the controller has
// not looked at all of them since. A node that calls too many whole ones bad is left out:
// it is not asked any more, which its own problem says. No I/O.
func (v *Verifier) Unchecked() map[raid.NodeID]int64 {
	out := map[raid.NodeID]int64{}
	for _, p := range v.cfg.Nodes.Natives() {
		if said := p.Heartbeat().Bad; said > 0 && v.isUnchecked(p, said) {
			out[p.ID()] = said
		}
	}
	return out
}

// isUnchecked reports whether a node is yet to be asked about so many bad chunks.
func (v *Verifier) isUnchecked(p *membership.Peer, said int64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := v.nodes[p.ID()]
	if n == nil || n.bad.session != p.Session() {
		return true
	}
	q := &n.bad
	looked := !q.at.IsZero() && !q.under && q.failed == 0 && !q.marked && said == q.said
	return !looked && len(q.whole) <= mostVain
}

// checkBadOf goes through the names, page by page, and reports whether it marked a copy.
func (v *Verifier) checkBadOf(ctx context.Context, p *membership.Peer) (marked bool, err error) {
	var after raid.ChunkName
	for seen, more := 0, true; more && seen < askMost; {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		names, further, err := p.Bad(call, after)
		cancel()
		if err != nil {
			return marked, err
		}
		keys := make([]raid.ChunkKey, 0, len(names))
		for _, name := range names {
			key, err := raid.ParseChunkName(name)
			if err != nil || name <= after {
				p.Accuse("it lists bad chunks out of order, or what is no chunk's name. Upgrade it, or check its memory")
				return marked, nil
			}
			after, keys = name, append(keys, key)
		}
		parts, copies, err := v.cfg.Catalog.Named(ctx, p.ID(), keys)
		if err != nil {
			return marked, err
		}
		for i := range parts {
			bad, on, err := v.check(ctx, p, parts[i], copies[i])
			if marked = marked || bad; err != nil || !on {
				return marked, err
			}
		}
		seen, more = seen+len(names), further && len(names) > 0
	}
	return marked, nil
}

// check reads a copy that its node calls bad, and marks it if it is. It then rests as
// long as that took. on is false when the node is to be asked no more.
func (v *Verifier) check(ctx context.Context, p *membership.Peer, w raid.Repair, c raid.Copy) (bad, on bool, err error) {
	f, err := v.cfg.Copies.Stored(ctx, w.File)
	if errors.Is(err, raid.ErrNotFound) {
		return false, true, nil
	} else if err != nil {
		return false, false, err
	}
	name := w.Part.Key(f.Upload, c).Name()
	if v.isWhole(p, name) {
		return false, true, nil
	}
	began := time.Now()
	call, cancel := context.WithTimeout(ctx, checkLimit)
	err = v.cfg.Copies.Check(call, f, w.Part, c)
	cancel()
	switch {
	case err == nil:
		if v.noteWhole(p, name) > mostVain {
			p.Accuse("it calls chunks corrupt that are whole. Check its memory and its disk, then restart it")
			return false, false, nil
		}
	case errors.Is(err, raid.ErrCorrupt), errors.Is(err, raid.ErrNotFound):
		if err := v.cfg.Copies.MarkBad(ctx, w.File, w.Part.Stripe, w.Part.Number, c.Index, c.Attempt); err != nil {
			return false, false, err
		}
		bad = true
	case errors.Is(err, raid.ErrUnsupported): // of a version that the node does not know
	default:
		return false, false, err
	}
	rest := time.NewTimer(max(time.Since(began), restLeast))
	defer rest.Stop()
	select {
	case <-rest.C:
		return bad, true, nil
	case <-ctx.Done():
		return bad, false, ctx.Err()
	}
}

func (v *Verifier) isWhole(p *membership.Peer, name raid.ChunkName) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, is := v.of(p.ID()).bad.whole[name]
	return is
}

// noteWhole remembers a chunk that its node calls bad in vain, and returns how many there
// are.
func (v *Verifier) noteWhole(p *membership.Peer, name raid.ChunkName) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	q := &v.of(p.ID()).bad
	if q.session == p.Session() {
		q.whole[name] = struct{}{}
	}
	return len(q.whole)
}
