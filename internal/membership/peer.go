package membership

import (
	"context"
	"errors"
	"time"

	"github.com/raidpi/raidpi/internal/hedge"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// Peer is one connected node, as uploads, downloads and repair talk to it. It
// stands for one session: when that ends, its calls fail with raid.ErrPeerGone.
type Peer struct {
	members *Members
	id      raid.NodeID
	session *wire.Session // nil for a lab node
	lab     *wire.LabNode // nil for a native one
}

// Peer finds a connected node by its id, also a suspect or draining one.
func (m *Members) Peer(id raid.NodeID) (*Peer, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.native[id]; n != nil && n.session != nil {
		return &Peer{members: m, id: id, session: n.session}, true
	}
	if l := m.lab[id]; l != nil {
		return &Peer{members: m, id: id, lab: l}, true
	}
	return nil, false
}

// Natives are all connected native nodes.
func (m *Members) Natives() (out []*Peer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.native {
		if n.session != nil {
			out = append(out, &Peer{members: m, id: n.id, session: n.session})
		}
	}
	return out
}

// ID is the node's id.
func (p *Peer) ID() raid.NodeID { return p.id }

// Lab reports whether the node is a lab peer.
func (p *Peer) Lab() bool { return p.lab != nil }

// Suspect reports whether the node should not be waited for.
func (p *Peer) Suspect() bool {
	if p.lab != nil {
		return !p.lab.Healthy()
	}
	return over(p.session.Done()) || p.session.Unanswered() > hedge.SuspectAfter || p.session.StuckFor() > hedge.StuckAfter || p.session.Heartbeat().DiskStall > 0
}

// Scanned reports whether the node has read all its trailers, so that the
// highest commit number it reports is the truth.
func (p *Peer) Scanned() bool { return p.session != nil && p.session.Heartbeat().Scanned }

// Heartbeat returns what a native node said of itself last.
func (p *Peer) Heartbeat() wire.Heartbeat {
	if p.session == nil {
		return wire.Heartbeat{}
	}
	return p.session.Heartbeat()
}

// Accuse notes what a node did that no sound node does, for people. It stands until
// the node's session ends.
func (p *Peer) Accuse(problem string) {
	p.members.mu.Lock()
	defer p.members.mu.Unlock()
	if n := p.members.native[p.id]; n != nil && n.session == p.session {
		n.problem = problem
	}
}

// Session is the id of the session that the peer stands for, empty for a lab
// node.
func (p *Peer) Session() raid.SessionID {
	if p.session == nil {
		return ""
	}
	return p.session.ID()
}

// Done is closed when the session that the peer stands for has ended. It is nil for a
// lab node.
func (p *Peer) Done() <-chan struct{} {
	if p.session == nil {
		return nil
	}
	return p.session.Done()
}

// Store sends a chunk and waits until it is on the node's disk (native) or
// acknowledged (lab). It returns only when payload is no longer referenced.
func (p *Peer) Store(ctx context.Context, meta raid.ChunkMeta, payload []byte) error {
	p.give()
	if p.lab != nil {
		return p.lab.Store(ctx, meta.Key.Name(), payload)
	}
	start := time.Now()
	err := p.session.Store(ctx, wire.StoreRequest{Meta: meta, Payload: payload})
	switch {
	case err == nil:
		p.stored(time.Since(start))
		p.keeps(len(payload))
	case errors.Is(err, raid.ErrNoSpace):
		p.correct(func(b *wire.Heartbeat) { b.FreeBytes = 0 })
	case errors.Is(err, raid.ErrReadOnly):
		p.correct(func(b *wire.Heartbeat) { b.ReadOnly = true })
	}
	return err
}

// give notes that the node is sent a chunk.
func (p *Peer) give() {
	p.members.mu.Lock()
	defer p.members.mu.Unlock()
	if n := p.members.native[p.id]; n != nil {
		n.given = true
	}
}

// correct amends what the last heartbeat said, until the next one.
func (p *Peer) correct(amend func(*wire.Heartbeat)) {
	p.members.mu.Lock()
	defer p.members.mu.Unlock()
	if n := p.members.native[p.id]; n != nil && n.session == p.session {
		amend(&n.heartbeat)
	}
}

// Get reads blocks of a chunk from a native node and takes note of how long it
// took. It returns only when req.Dst is no longer referenced.
func (p *Peer) Get(ctx context.Context, req wire.GetRequest) (wire.GetResult, error) {
	if p.session == nil {
		return wire.GetResult{}, raid.ErrUnsupported
	}
	start := time.Now()
	res, err := p.session.Get(ctx, req)
	if took := time.Since(start); err == nil {
		p.took(took)
	} else if ctx.Err() != nil && took >= hedge.Overdue && p.session.ReadSilentFor() >= hedge.Overdue {
		p.stalled()
	}
	return res, err
}

// stalled has reads pass the node over for hedge.StalledFor; then the next one tries it again.
func (p *Peer) stalled() {
	p.members.mu.Lock()
	defer p.members.mu.Unlock()
	if n := p.members.native[p.id]; n != nil {
		n.stalledAt = time.Now()
	}
}

// ReadsStall reports whether reads should rather ask another node for now.
func (p *Peer) ReadsStall() bool {
	p.members.mu.Lock()
	defer p.members.mu.Unlock()
	n := p.members.native[p.id]
	return n != nil && !n.stalledAt.IsZero() && time.Since(n.stalledAt) < hedge.StalledFor
}

// ReadSilentFor is the time since the node last sent a byte of any chunk. A lab
// node's answers can't be told from another's.
func (p *Peer) ReadSilentFor() time.Duration {
	if p.session == nil {
		return 0
	}
	return p.session.ReadSilentFor()
}

// ReadTooLong reports whether a read of that age is an exception, even for this
// node.
func (p *Peer) ReadTooLong(age time.Duration) bool {
	p.members.mu.Lock()
	defer p.members.mu.Unlock()
	n := p.members.native[p.id]
	return n != nil && n.latency.Exceeded(age)
}

// StoreTooLong reports whether a Store of that age has probably been forgotten:
// the node acknowledges others in a fraction of the time.
func (p *Peer) StoreTooLong(age time.Duration) bool {
	p.members.mu.Lock()
	defer p.members.mu.Unlock()
	n := p.members.native[p.id]
	return n != nil && age > hedge.StuckAfter && n.stores.Exceeded(age)
}

func (p *Peer) stored(d time.Duration) {
	p.members.mu.Lock()
	defer p.members.mu.Unlock()
	if n := p.members.native[p.id]; n != nil {
		n.stores.Add(d)
	}
}

// Delete removes chunks; see wire.Session.Delete.
func (p *Peer) Delete(ctx context.Context, names []raid.ChunkName) ([]error, error) {
	results, err := p.session.Delete(ctx, names)
	p.drops(results)
	return results, err
}

// List pages through chunk names; see wire.Session.List.
func (p *Peer) List(ctx context.Context, req wire.ListRequest) ([]raid.ChunkName, bool, error) {
	return p.session.List(ctx, req)
}

// Describe pages through chunks; see wire.Session.Describe.
func (p *Peer) Describe(ctx context.Context, req wire.ListRequest) ([]raid.Listed, bool, error) {
	return p.session.Describe(ctx, req)
}

// Inspect asks what trailers say; see wire.Session.Inspect.
func (p *Peer) Inspect(ctx context.Context, names []raid.ChunkName) ([]wire.Inspected, error) {
	return p.session.Inspect(ctx, names)
}

// Trash moves chunks to the node's trash; see wire.Session.Trash.
func (p *Peer) Trash(ctx context.Context, names []raid.ChunkName, keep time.Duration) ([]error, error) {
	results, err := p.session.Trash(ctx, names, keep)
	p.drops(results)
	return results, err
}

// StartScrub has the node read all its chunks now; see wire.Session.StartScrub.
func (p *Peer) StartScrub(ctx context.Context) error { return p.session.StartScrub(ctx) }

// Bad pages through the chunks that the node calls corrupt; see wire.Session.Bad.
func (p *Peer) Bad(ctx context.Context, after raid.ChunkName) ([]raid.ChunkName, bool, error) {
	return p.session.Bad(ctx, after)
}

// HedgeAfter returns the time to wait for this node before asking another: its own
// recent p95, within bounds.
func (p *Peer) HedgeAfter() time.Duration {
	p.members.mu.Lock()
	defer p.members.mu.Unlock()
	if n := p.members.native[p.id]; n != nil {
		return n.latency.After()
	}
	return hedge.Unknown
}

func (p *Peer) took(d time.Duration) {
	p.members.mu.Lock()
	defer p.members.mu.Unlock()
	if n := p.members.native[p.id]; n != nil {
		n.latency.Add(d)
		n.stalledAt = time.Time{}
	}
}
