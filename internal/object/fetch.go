package object

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/hedge"
	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

const (
	// getTimeout ends a read whose nodes neither fail nor send anything, to this
	// read or another one. While they do, the read is in a queue.
	getTimeout = 10 * time.Second
	// getLimit ends it all the same.
	getLimit = 2 * time.Minute
	// reachWait is the time that a read waits for a node with a copy to come back
	// when none is connected.
	reachWait = 2 * time.Second
)

// answer is the result of asking for one copy.
type answer struct {
	copy   raid.Copy
	buf    *budget.Buffer
	blocks []uint32 // checksums of the part's blocks that the bytes were compared with; nil: unknown
	err    error
}

// pieceRead is the state of one piece's fetch.
type pieceRead struct {
	s       *Store
	ctx     context.Context // ends with the fetch
	file    *raid.File
	p       *piece
	copies  []raid.Copy // of the part; bad is what has proved so
	left    []raid.Copy // not yet asked, best first
	others  bool        // when none is left, the level makes the piece from other parts
	open    int         // asked and not yet answered
	peers   []*membership.Peer
	last    *membership.Peer
	asked   time.Time // when last was
	rotten  bool      // a copy that was asked is
	away    error     // why a copy that may be good did not answer
	answers chan answer
}

// fetch fills p's buffer with verified bytes. They come from a random copy, and from the other at
// once on an error or after a short silence. Then they come from other parts, where the level makes
// it from those. When all of them fail and some are rotten, it takes each block from whichever copy
// has it.
func (s *Store) fetch(ctx context.Context, f *raid.File, p *piece) error {
	s.hedges.Read()
	ctx, cancel := context.WithTimeout(ctx, getLimit)
	defer cancel()
	ft := &pieceRead{s: s, ctx: ctx, file: f, p: p, copies: slices.Clone(p.part.Copies), answers: make(chan answer)}
	ft.renew()
	deadline := time.Now().Add(reachWait)
	for {
		err := ft.run()
		if err != nil && ft.rotten && context.Cause(ctx) == nil {
			err = ft.salvage()
		}
		if err == nil || context.Cause(ctx) != nil || !ft.worthWaiting(err) || p.heals || p.source || time.Now().After(deadline) {
			return err
		}
		if err := ft.waitForChange(); err != nil {
			return err
		}
		ft.renew()
	}
}

// renew has all copies asked, and then the other parts.
func (ft *pieceRead) renew() {
	ft.left, ft.others, ft.away = ft.s.order(ft.copies), len(ft.p.siblings.parts) > 0, nil
}

// more reports whether somebody was not asked yet.
func (ft *pieceRead) more() bool { return len(ft.left) > 0 || ft.others }

// salvage reads the piece from copies none of which is whole. An answer that is still
// to come may be written to the piece's buffer: then it gets another one.
func (ft *pieceRead) salvage() error {
	if ft.open > 0 {
		b := ft.second()
		if b == nil {
			return unavailable(ft.p, fmt.Errorf("%w: no memory to put the part together", raid.ErrBusy))
		}
		ft.take(b)
	}
	ft.rotten, ft.p.blocks = false, nil
	return ft.s.salvage(ft.ctx, ft.file, ft.p)
}

// failed notes why a copy could not be read.
func (ft *pieceRead) failed(a answer) {
	switch {
	case errors.Is(a.err, raid.ErrCorrupt):
		ft.rotten = true
	case !errors.Is(a.err, raid.ErrNotFound) && !a.copy.Bad:
		ft.away = a.err
	}
	ft.s.badCopy(ft.file, ft.p, a.copy, a.err)
	if a.copy.Node.IsNative() && (errors.Is(a.err, raid.ErrCorrupt) || errors.Is(a.err, raid.ErrNotFound)) {
		// While nodes with others are waited for, it is asked again, and told of once.
		if i := slices.Index(ft.copies, a.copy); i >= 0 {
			ft.copies[i].Bad = true
		}
	}
}

// worthWaiting tells nodes that are away, and may come back, from bad copies.
func (ft *pieceRead) worthWaiting(err error) bool {
	return errors.Is(err, raid.ErrPeerGone) && !errors.Is(err, raid.ErrCorrupt)
}

func (ft *pieceRead) waitForChange() error {
	t := time.NewTimer(watchEvery)
	defer t.Stop()
	select {
	case <-ft.ctx.Done():
		return context.Cause(ft.ctx)
	case <-ft.s.cfg.Nodes.Changed():
	case <-t.C:
	}
	return nil
}

// run asks the copies that are left until one is good.
func (ft *pieceRead) run() error {
	var last error
	own := ft.p.buf
	ft.ask(own.Retain())
	timer := time.NewTimer(ft.patience())
	defer timer.Stop()
	for ft.open > 0 {
		select {
		case a := <-ft.answers:
			ft.open--
			if a.err == nil {
				ft.take(a.buf)
				ft.p.blocks = a.blocks
				return nil
			}
			last = a.err
			ft.failed(a)
			if ft.more() {
				ft.ask(a.buf) // nobody writes to it any more
				timer.Reset(ft.patience())
			} else {
				a.buf.Release()
			}
		case <-timer.C:
			if ft.more() && ft.mayHedge() {
				if b := ft.second(); b != nil {
					ft.ask(b)
					timer.Reset(ft.patience())
					continue
				}
			}
			if ft.silent() >= getTimeout {
				return unavailable(ft.p, cmp.Or(last, fmt.Errorf("%w: nothing came for %v", raid.ErrExpired, getTimeout)))
			}
			timer.Reset(watchEvery)
		case <-ft.ctx.Done():
			if last == nil {
				last = context.Cause(ft.ctx)
			}
			return unavailable(ft.p, last)
		}
	}
	switch {
	case ft.away != nil:
		last = ft.away
	case last == nil:
		last = raid.ErrPeerGone
	}
	return unavailable(ft.p, last)
}

// second is memory for asking another copy at the same time. Pieces above
// maxPiece, whole chunks of lab peers, get none that is not free.
func (ft *pieceRead) second() *budget.Buffer {
	pool := ft.s.cfg.Pool
	if ft.p.heals {
		pool = ft.s.cfg.Healing
	}
	if ft.p.length <= maxPiece {
		return pool.Get(int(ft.p.length))
	}
	b, _ := pool.TryGet(int(ft.p.length))
	return b
}

// silent is for how long none of the nodes that were asked has sent anything,
// counted from the last asking.
func (ft *pieceRead) silent() time.Duration {
	silent := time.Since(ft.asked)
	for _, p := range ft.peers {
		silent = min(silent, p.ReadSilentFor())
	}
	return silent
}

// take makes the winning buffer the piece's.
func (ft *pieceRead) take(b *budget.Buffer) {
	ft.p.buf.Release()
	ft.p.buf = b
}

// patience bounds the silence of the node that was asked last.
func (ft *pieceRead) patience() time.Duration {
	if ft.last == nil {
		return watchEvery
	}
	return ft.last.HedgeAfter()
}

// mayHedge allows to ask another copy although the first may still answer.
func (ft *pieceRead) mayHedge() bool {
	if ft.last == nil || ft.last.Suspect() || ft.last.ReadsStall() {
		return true
	}
	if age := time.Since(ft.asked); age >= hedge.Silence && (ft.last.ReadSilentFor() >= hedge.Silence || ft.last.ReadTooLong(age)) {
		return true
	}
	if ft.s.hedges.Take() {
		ft.s.stats.hedged.Add(1)
		return true
	}
	return false
}

// ask reads the best copy that is left into b, or else makes it from other parts, in a
// goroutine that gives b back unless its answer is taken.
func (ft *pieceRead) ask(b *budget.Buffer) {
	ft.open++
	ft.last, ft.asked = nil, time.Now()
	if len(ft.left) == 0 {
		ft.others = false
		ft.start(raid.Copy{}, b, func() ([]uint32, error) {
			return nil, ft.s.reconstruct(ft.ctx, ft.file, ft.p, b.Bytes()[:ft.p.length])
		})
		return
	}
	c := ft.left[0]
	ft.left = ft.left[1:]
	if peer, ok := ft.s.cfg.Nodes.Peer(c.Node); ok && c.Node.IsNative() {
		ft.last = peer
		ft.peers = append(ft.peers, peer)
	}
	peer := ft.last
	ft.start(c, b, func() ([]uint32, error) {
		return ft.s.readCopy(ft.ctx, ft.file, ft.p, c, peer, b.Bytes()[:ft.p.length])
	})
}

// start has read fill b in a goroutine.
func (ft *pieceRead) start(c raid.Copy, b *budget.Buffer, read func() ([]uint32, error)) {
	reply := func(blocks []uint32, err error) {
		select {
		case ft.answers <- answer{c, b, blocks, err}:
		case <-ft.ctx.Done():
			b.Release()
		}
	}
	if !ft.s.spawn(func() { reply(read()) }) {
		go reply(nil, raid.ErrShutdown) // run takes it, or has ended
	}
}

// order sorts copies: known good ones on nodes that answer first, at random
// among equals.
func (s *Store) order(copies []raid.Copy) []raid.Copy {
	type ranked struct {
		c    raid.Copy
		rank int
		draw int64
	}
	rs := make([]ranked, 0, len(copies))
	for _, c := range copies {
		rs = append(rs, ranked{c: c, rank: s.rank(c), draw: s.cfg.Draw(1 << 30)})
	}
	slices.SortFunc(rs, func(a, b ranked) int { return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.draw, b.draw)) })
	out := make([]raid.Copy, len(rs))
	for i := range rs {
		out[i] = rs[i].c
	}
	return out
}

// rank says how late a copy is to be asked; 0: at once.
func (s *Store) rank(c raid.Copy) (rank int) {
	if c.Bad {
		rank += 8
	}
	switch peer, ok := s.cfg.Nodes.Peer(c.Node); {
	case !c.Node.IsNative():
		rank++ // lab peers are asked when natives can't answer
	case !ok:
		rank += 4
	case peer.Suspect() || peer.ReadsStall():
		rank += 2
	}
	return rank
}

// readCopy reads and checks the piece from one copy. blocks are as in answer.
func (s *Store) readCopy(ctx context.Context, f *raid.File, p *piece, c raid.Copy, peer *membership.Peer, dst []byte) (blocks []uint32, err error) {
	name := p.part.Key(f.Upload, c).Name()
	if !c.Node.IsNative() {
		return nil, s.readUnknown(ctx, p, name, dst)
	}
	if peer == nil {
		return nil, fmt.Errorf("node %s: %w", c.Node, raid.ErrPeerGone)
	}
	return getChecked(ctx, peer, name, p, dst)
}

// getChecked reads the piece from a native node and checks it against the catalog. The block checksums
// that came with it must combine to the
// part's, and the bytes must fit them. It returns those of all blocks of the part.
func getChecked(ctx context.Context, peer *membership.Peer, name raid.ChunkName, p *piece, dst []byte) ([]uint32, error) {
	res, err := peer.Get(ctx, wire.GetRequest{
		Name: name, Offset: p.offset, Length: p.length, ExpectLength: p.part.Length, ExpectCRC: p.part.CRC, Dst: dst,
	})
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", peer.ID(), err)
	}
	crc, ok := raid.CombineBlocks(res.Blocks, res.Length)
	if !ok || res.Length != p.part.Length || crc != p.part.CRC {
		return nil, fmt.Errorf("node %s: %w: its checksums are not those of the catalog", peer.ID(), raid.ErrCorrupt)
	}
	for at := int64(0); at < p.length; at += raid.BlockSize {
		block := (p.offset + at) / raid.BlockSize
		if raid.Checksum(dst[at:min(at+raid.BlockSize, p.length)]) != res.Blocks[block] {
			return nil, fmt.Errorf("node %s: %w: block %d of the chunk fails its checksum", peer.ID(), raid.ErrCorrupt, block)
		}
	}
	return res.Blocks, nil
}

// readUnknown asks everybody for a chunk whose place is not known: lab peers as
// the assignment does it, then the native nodes one by one.
func (s *Store) readUnknown(ctx context.Context, p *piece, name raid.ChunkName, dst []byte) error {
	whole := dst
	if p.length != p.part.Length {
		b, ok := s.cfg.Pool.TryGet(int(p.part.Length))
		if !ok { // the reader, who is told, takes the whole part at once
			return fmt.Errorf("lab peers: no memory for a whole chunk: %w", raid.ErrBusy)
		}
		defer b.Release()
		whole = b.Bytes()
	}
	err := s.cfg.LabGet(ctx, name, p.part.Length, whole, func(b []byte) bool { return raid.Checksum(b) == p.part.CRC })
	if err == nil {
		if p.length != p.part.Length {
			copy(dst, whole[p.offset:p.offset+p.length])
		}
		return nil
	}
	for _, peer := range s.cfg.Nodes.Natives() {
		if _, err := getChecked(ctx, peer, name, p, dst); err == nil {
			return nil
		}
	}
	return fmt.Errorf("lab peers: %w", err)
}

// badCopy reports a copy that was asked for in vain, and has the catalog know
// when the node itself, or the checksum, says that it is bad. Recording costs
// the catalog an fsync; the read does not wait for it.
func (s *Store) badCopy(f *raid.File, p *piece, c raid.Copy, err error) {
	corrupt := errors.Is(err, raid.ErrCorrupt)
	if !c.Node.IsNative() || !corrupt && !errors.Is(err, raid.ErrNotFound) {
		if !ended(err) {
			s.cfg.Log.Debug("a copy could not be read", "file", f.ID, "node", c.Node, "cause", err)
		}
		return
	}
	if corrupt {
		s.stats.corrupt.Add(1)
	} else {
		s.stats.missing.Add(1)
	}
	if c.Bad || s.cfg.Nodes.StaleCatalog() != nil { // an old catalog may be what is wrong
		return
	}
	s.cfg.Log.Warn("bad copy: another one is served and this one will be replaced", "file", f.ID, "stripe", p.part.Stripe, "part", p.part.Number, "node", c.Node, "cause", err)
	id, part := f.ID, p.part
	s.spawn(func() {
		ctx, cancel := context.WithTimeout(s.ctx, backgroundLimit)
		defer cancel()
		if err := s.cfg.Index.MarkBad(ctx, id, part.Stripe, part.Number, c.Index, c.Attempt); err != nil {
			s.cfg.Log.Warn("record a bad copy", "file", id, "error", err)
			return
		}
		s.cfg.Wake()
	})
}
