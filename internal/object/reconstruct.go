package object

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/raidpi/raidpi/internal/hedge"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/stripe"
)

// siblings are the parts of one stripe, of a level that makes any from others. The zero
// value is of a level that needs all of them.
type siblings struct {
	level stripe.Level
	parts []raid.Part
}

// siblingsOf looks up the parts of a part's stripe, where its level makes any from others.
func (s *Store) siblingsOf(ctx context.Context, f *raid.File, part *raid.Part) (sib siblings, err error) {
	level, err := s.cfg.Levels.Named(f.Level)
	if err != nil || level.Spare() == 0 {
		return sib, nil // a copy is made from copies, also of a level that only a later version knows
	}
	parts, err := s.cfg.Index.Parts(ctx, f.ID, part.Stripe, part.Stripe+1)
	if err != nil {
		return sib, fmt.Errorf("look up stripe %d of file %d: %w", part.Stripe, f.ID, err)
	}
	return siblings{level, parts}, nil
}

// reconstruct fills dst with a piece's bytes, made from the same bytes of as many other parts as
// are needed. These are those on nodes that answer first, and another for each that fails or is
// slow. Each of them is checked against the catalog as in any read.
func (s *Store) reconstruct(ctx context.Context, f *raid.File, p *piece, dst []byte) error {
	level := p.siblings.level
	ctx, cancel := context.WithCancel(ctx)
	left := s.sources(p)
	all, answers, open := left, make(chan *piece, len(left)), 0
	defer func() {
		for cancel(); open > 0; open-- {
			<-answers // fetches end by themselves, soon
		}
		for _, q := range all {
			q.buf.Release()
		}
	}()
	ask := func() {
		if len(left) == 0 {
			return
		}
		q := left[0]
		left, open = left[1:], open+1
		if q.length == 0 {
			answers <- q // its part ends before
		} else if !s.spawn(func() { q.err = s.fetch(ctx, f, q); answers <- q }) {
			q.err = raid.ErrShutdown
			answers <- q
		}
	}
	for range level.Needed {
		ask()
	}
	slow := time.NewTicker(hedge.Silence)
	defer slow.Stop()
	var runs []stripe.Run
	var last error
	for open > 0 && len(runs) < level.Needed {
		select {
		case q := <-answers:
			open--
			if q.err == nil {
				runs = append(runs, stripe.Run{Part: q.part.Number, Bytes: q.buf.Bytes()[:q.length]})
				continue
			}
			last = q.err
			ask()
		case <-slow.C:
			ask()
		}
	}
	if len(runs) < level.Needed {
		return fmt.Errorf("make part %d of stripe %d from %d others: %w", p.part.Number, p.part.Stripe, level.Needed, cmp.Or(last, raid.ErrTooFewNodes))
	}
	level.Reconstruct(dst, p.part.Number, runs)
	if p.length == p.part.Length && raid.Checksum(dst) != p.part.CRC {
		return fmt.Errorf("%w: part %d of stripe %d made from others is not the one of the catalog", raid.ErrCorrupt, p.part.Number, p.part.Stripe)
	}
	return nil
}

// sources are the pieces of other parts that a piece can be made from, those first whose
// nodes answer.
func (s *Store) sources(p *piece) (out []*piece) {
	pool := s.cfg.Pool
	if p.heals {
		pool = s.cfg.Healing
	}
	ranked := map[*piece]int{}
	for _, o := range p.siblings.parts {
		if o.Number == p.part.Number {
			continue
		}
		blocks := raid.BlockCount(p.length) * raid.BlockSize // it may be longer by some bytes
		q := &piece{part: o, offset: p.offset, length: max(0, min(blocks, o.Length-p.offset)), heals: p.heals, source: true}
		q.buf = pool.Get(int(q.length))
		ranked[q] = s.rank(s.order(o.Copies)[0])
		out = append(out, q)
	}
	slices.SortStableFunc(out, func(a, b *piece) int { return ranked[a] - ranked[b] })
	return out
}
