package reconcile

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/raidpi/raidpi/internal/inventory"
	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

const (
	lookEvery = time.Second // between two looks whether a node can be compared
	// heldLimit is the number of copies that are read at once, and doubtsAtOnce how many chunks
	// are asked for a second time together.
	heldLimit    = 500
	doubtsAtOnce = 1000
	checksAtOnce = 4
	// suspectsAtMost bounds the unexplained chunks whose names are kept, and
	// strayedAtMost what is counted of them: a node may make up names without end.
	suspectsAtMost = 1000
	strayedAtMost  = 20_000
	// soundAtMost bounds the copies that a node may list as missing or wrong that it has all
	// the same, in one comparison. Few can come and go just then.
	soundAtMost = 5000
	askTimeout  = 30 * time.Second
)

// look has what a closer look has found so far.
type look struct {
	outcome   outcome
	strays    map[raid.ChunkKey]bool
	more      int64         // unexplained, beyond strays
	at        map[span]bool // where those are
	foundGood int           // copies that were doubted in vain

	suspects []suspectCopy
	unknown  []stray
}

// stray is a chunk that seems to be unexplained, and where that was.
type stray struct {
	key raid.ChunkKey
	at  span
}

// suspectCopy is a copy that does not seem to be what it should.
type suspectCopy struct {
	held    raid.Held
	verdict verdict
}

// lookAt merges both sides where they differ. What was looked at is not again, should the
// node go meanwhile.
func (n *node) lookAt(ctx context.Context, p *membership.Peer) error {
	list := inventory.Listing{Node: p, Request: wire.ListRequest{Limit: pageLimit, MaxRun: math.MaxUint32}, Describe: true}
	for left := n.spans; len(left) > 0; {
		s := left[0]
		left = left[1:]
		list.Move(raid.ChunkName(s.from), raid.ChunkName(s.to))
		err := merge(ctx, n.chunks(&list), n.held(p.ID(), s), func(v verdict, h *raid.Held, c *inventory.Chunk) error {
			return n.tell(ctx, p, s, v, h, c)
		})
		if err == nil && (len(left) == 0 || n.look.suspectCount() >= doubtsAtOnce/2) {
			if err = n.settle(ctx, p); err == nil {
				n.spans = left
			}
		}
		if err != nil {
			n.look.suspects, n.look.unknown = nil, nil
			return fmt.Errorf("compare node %s with the catalog: %w", p.ID(), err)
		}
	}
	return nil
}

func (l *look) suspectCount() int { return len(l.suspects) + len(l.unknown) }

func (l *look) strayed() int64 { return int64(len(l.strays)) + l.more }

// chunks are those that a listing has, page by page.
func (n *node) chunks(list *inventory.Listing) stream[inventory.Chunk] {
	var page []inventory.Chunk
	return func(ctx context.Context) (c inventory.Chunk, ok bool, err error) {
		for len(page) == 0 && !list.Over() {
			err = n.r.piece(ctx, func() (err error) {
				page, err = list.Next(ctx)
				return err
			})
			if err != nil {
				return c, false, err
			}
		}
		if len(page) == 0 {
			return c, false, nil
		}
		c, page = page[0], page[1:]
		return c, true, nil
	}
}

// held are the copies that should be on a node, page by page.
func (n *node) held(id raid.NodeID, s span) stream[raid.Held] {
	at, more := raid.HeldCursor{Upload: s.from}, true
	var page []raid.Held
	return func(ctx context.Context) (h raid.Held, ok bool, err error) {
		for len(page) == 0 && more {
			err = n.r.piece(ctx, func() (err error) {
				page, at, more, err = n.r.cfg.Catalog.HeldOn(ctx, id, at, s.to, heldLimit)
				return err
			})
			if err != nil {
				return h, false, err
			}
		}
		if len(page) == 0 {
			return h, false, nil
		}
		h, page = page[0], page[1:]
		return h, true, nil
	}
}

// tell takes note of what does not agree. Much of that is settled on the way.
func (n *node) tell(ctx context.Context, p *membership.Peer, s span, v verdict, h *raid.Held, c *inventory.Chunk) error {
	if v == unknown {
		if n.look.strayed() < strayedAtMost {
			n.look.unknown = append(n.look.unknown, stray{c.Key, s})
		}
	} else {
		n.look.suspects = append(n.look.suspects, suspectCopy{*h, v})
	}
	if n.look.suspectCount() < doubtsAtOnce {
		return nil
	}
	return n.settle(ctx, p)
}

// settle looks a second time at what does not agree.
func (n *node) settle(ctx context.Context, p *membership.Peer) error {
	doubts, unknown := n.look.suspects, n.look.unknown
	n.look.suspects, n.look.unknown = nil, nil
	if err := n.settleCopies(ctx, p, doubts); err != nil {
		return err
	}
	return n.settleStrays(ctx, p, unknown)
}

// settleCopies reads the copies that are doubted, and marks those bad that are not there
// or not what they should be.
func (n *node) settleCopies(ctx context.Context, p *membership.Peer, doubts []suspectCopy) error {
	bad, err := n.check(ctx, doubts)
	if err != nil {
		return err
	}
	if n.look.foundGood > soundAtMost {
		return fmt.Errorf("%w: it has %d chunks that it lists as missing or rotten", inventory.ErrLies, n.look.foundGood)
	}
	if len(bad) == 0 {
		return nil
	}
	if err := n.r.cfg.Nodes.StaleCatalog(); err != nil {
		return err
	}
	var ids []raid.CopyID
	lost := map[raid.CopyID]bool{}
	for _, d := range bad {
		h := &d.held
		id := raid.CopyID{File: h.File, Stripe: h.Stripe, Part: h.Part, Index: h.Index, Attempt: h.Attempt}
		ids = append(ids, id)
		lost[id] = d.verdict == missing
	}
	marked, err := n.r.cfg.Catalog.MarkAllBad(ctx, ids)
	for _, id := range marked {
		if lost[id] {
			n.look.outcome.missing++
		} else {
			n.look.outcome.wrong++
		}
		n.look.outcome.concerns(id.File)
	}
	if len(marked) > 0 {
		n.r.cfg.Leftovers.Wake()
	}
	return err
}

// check returns those of the doubted copies that are bad, with the verdict that their
// bytes gave.
func (n *node) check(ctx context.Context, doubts []suspectCopy) (bad []suspectCopy, err error) {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(checksAtOnce)
	for _, d := range doubts {
		h := &d.held
		part := raid.Part{Stripe: h.Stripe, Number: h.Part, Length: h.Length, CRC: h.CRC}
		if d.verdict == revived {
			n.look.outcome.revived++
			n.r.cfg.Leftovers.CheckAgain(h.File, part)
			continue
		}
		g.Go(func() error {
			key, err := h.Key()
			if err != nil {
				return err
			}
			err = n.r.piece(ctx, func() error {
				return n.r.cfg.Reader.Check(ctx, raid.File{ID: h.File, Upload: key.Upload}, part, raid.Copy{Index: h.Index, Attempt: h.Attempt, Node: h.Node})
			})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				n.look.foundGood++
			case errors.Is(err, raid.ErrNotFound):
				bad = append(bad, suspectCopy{d.held, missing})
			case errors.Is(err, raid.ErrCorrupt):
				bad = append(bad, suspectCopy{d.held, wrong})
			case ctx.Err() != nil, errors.Is(err, raid.ErrPeerGone), errors.Is(err, raid.ErrExpired), errors.Is(err, raid.ErrBusy):
				return err
			default: // the node can't tell, of this one
				n.look.outcome.unclear++
			}
			return nil
		})
	}
	return bad, g.Wait()
}

// settleStrays counts those of the chunks that nothing explains, and that are still there.
func (n *node) settleStrays(ctx context.Context, p *membership.Peer, strays []stray) error {
	at := map[raid.ChunkKey]span{}
	var keys []raid.ChunkKey
	for _, s := range strays {
		at[s.key] = s.at
		keys = append(keys, s.key)
	}
	keys, err := n.unexplained(ctx, p, keys)
	if err != nil {
		return err
	}
	for _, k := range keys[min(len(keys), suspectsAtMost):] {
		n.look.stray(k, at[k])
	}
	left, err := n.stillThere(ctx, p, keys[:min(len(keys), suspectsAtMost)])
	if err != nil {
		return err
	}
	for _, k := range left {
		n.look.stray(k, at[k])
	}
	return nil
}

// stray counts a chunk that nothing explains.
func (l *look) stray(k raid.ChunkKey, at span) {
	if l.strays == nil {
		l.strays, l.at = map[raid.ChunkKey]bool{}, map[span]bool{}
	}
	l.at[at] = true
	if len(l.strays) < suspectsAtMost || l.strays[k] {
		l.strays[k] = true
	} else {
		l.more++
	}
}

// unexplained returns the chunks that neither an upload under way nor the catalog
// explains. Uploads are asked first: one that ends in between is in the catalog then.
func (n *node) unexplained(ctx context.Context, p *membership.Peer, keys []raid.ChunkKey) ([]raid.ChunkKey, error) {
	keys = slices.DeleteFunc(slices.Clone(keys), func(k raid.ChunkKey) bool { return n.r.cfg.Reader.UnderWay(k.Upload) })
	if len(keys) == 0 {
		return nil, nil
	}
	return n.r.cfg.Catalog.Unexplained(ctx, p.ID(), keys)
}

// stillThere asks for chunks once more: one may have been removed since it was listed. A
// node that can't tell is believed to have them.
func (n *node) stillThere(ctx context.Context, p *membership.Peer, keys []raid.ChunkKey) (left []raid.ChunkKey, err error) {
	if len(keys) == 0 {
		return nil, nil
	}
	names := make([]raid.ChunkName, len(keys))
	for i, k := range keys {
		names[i] = k.Name()
	}
	call, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	got, err := p.Inspect(call, names)
	switch {
	case errors.Is(err, raid.ErrUnsupported):
		left = keys
	case err != nil:
		return nil, err
	default:
		for i, in := range got {
			if !errors.Is(in.Err, raid.ErrNotFound) {
				left = append(left, keys[i])
			}
		}
	}
	return n.unexplained(ctx, p, left)
}
