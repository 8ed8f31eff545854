package object

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/placement"
	"github.com/raidpi/raidpi/internal/raid"
)

// Rereplicate makes one copy of a part anew, on a native node that has none, from
// the others, or from other parts where the level does. It returns the new copy, durable on its node, read back from there and
// not yet in the catalog. The old one may be good: then it is moved. After an error the copy that it
// returns, if its Node is set, may lie on that node and has to be recorded for
// removal.
//
// Errors: raid.ErrTooFewNodes or raid.ErrArrayFull when no node can take it,
// raid.ErrCorrupt when no good copy can be read, and the node's own.
func (s *Store) Rereplicate(ctx context.Context, f raid.File, part raid.Part, m raid.Move) (raid.Copy, error) {
	sib, err := s.siblingsOf(ctx, &f, &part)
	if err != nil {
		return raid.Copy{}, err
	}
	c, err := s.placeAnew(part, sib, m)
	if err != nil {
		return raid.Copy{}, err
	}
	peer, ok := s.cfg.Nodes.Peer(c.ID)
	if !ok {
		return raid.Copy{}, fmt.Errorf("node %s: %w", c.ID, raid.ErrPeerGone)
	}
	buf, blocks, err := s.readPart(ctx, f, part, sib)
	if err != nil {
		return raid.Copy{}, err
	}
	defer buf.Release()
	// Not from the rows: a copy that was made in vain is in none of them, and its
	// removal may still be on the way to a node, or come back to be recorded.
	attempt, err := s.cfg.Index.NextAttempt(ctx, f.ID, part.Stripe, part.Number, c.ID)
	if err != nil {
		return raid.Copy{}, err
	}
	payload := buf.Bytes()[:part.Length]
	fresh := raid.Copy{Index: m.Old.Index, Attempt: attempt, Node: c.ID}
	meta := raid.ChunkMeta{
		Array: s.cfg.Array, Key: part.Key(f.Upload, fresh), Level: f.Level, StripeSize: f.StripeSize,
		Length: part.Length, Blocks: blocks, Commit: s.cfg.Commit(),
	}
	if part.Stripe == f.Stripes-1 {
		meta.File = &raid.FileMeta{
			ID: f.ID, Filename: f.Filename, ContentType: f.ContentType, Created: f.Created, Size: f.Size, SHA256: f.SHA256, Stripes: f.Stripes,
		}
	}
	if err := s.storeAnew(ctx, peer, meta, payload, part, m.Kept); err != nil {
		return fresh, fmt.Errorf("store a copy on node %s: %w", c.ID, err)
	}
	return fresh, nil
}

// storeAnew stores a copy that takes the place of another, and reads it back. A node
// that does not answer is given up: others may take the copy.
func (s *Store) storeAnew(ctx context.Context, peer *membership.Peer, meta raid.ChunkMeta, payload []byte, part raid.Part, spot bool) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	over := make(chan struct{})
	defer close(over)
	s.spawn(func() {
		tick := time.NewTicker(stuckTicks)
		defer tick.Stop()
		for stuck := 0; stuck < 2; {
			select {
			case <-over:
				return
			case <-tick.C:
			}
			if stuck++; !peer.Suspect() {
				stuck = 0
			}
		}
		cancel()
	})
	err := peer.Store(ctx, meta, payload)
	if err == nil {
		err = s.readBack(ctx, peer, meta.Key.Name(), part, spot)
	}
	// Said of this node, not of the one that the part was read from: whether its time ran
	// out here, or it says so itself.
	if err != nil && (ctx.Err() != nil || errors.Is(err, raid.ErrExpired)) {
		return fmt.Errorf("%w: it does not answer", raid.ErrTooFewNodes)
	}
	return err
}

// For twice stuckTicks a node may be suspect until a copy goes to another one.
const stuckTicks = 2 * time.Second

// readBack reads a copy that a node has just acknowledged: all of it, or, on the spot,
// one block that nobody can foresee. What takes the place of another one, which is to go,
// is seen with our own eyes first.
func (s *Store) readBack(ctx context.Context, peer *membership.Peer, name raid.ChunkName, part raid.Part, spot bool) error {
	from, to := int64(0), part.Length
	if blocks := raid.BlockCount(part.Length); spot && blocks > 1 {
		from = s.cfg.Draw(blocks) * raid.BlockSize
		to = min(from+raid.BlockSize, part.Length)
	}
	err := s.checkRange(ctx, peer, name, part, from, to)
	if !errors.Is(err, raid.ErrCorrupt) && !errors.Is(err, raid.ErrNotFound) {
		return err
	}
	s.faithless.add(peer)
	peer.Accuse("it acknowledged a copy and did not have it right afterwards. Check its disk and memory, then restart it")
	return fmt.Errorf("%w: node %s acknowledged a copy and did not have it right afterwards: %w", raid.ErrTooFewNodes, peer.ID(), err)
}

// The names of an upload's own attempts must end where those of repair begin.
const _ = uint(raid.UploadAttempts - maxAttempts)

// readPart reads a whole part, verified, piece by piece, and returns the checksums of its
// blocks too.
func (s *Store) readPart(ctx context.Context, f raid.File, part raid.Part, sib siblings) (*budget.Buffer, []uint32, error) {
	whole, err := s.cfg.Healing.Acquire(ctx, int(part.Length))
	if err != nil {
		return nil, nil, err
	}
	step := int64(maxPiece)
	if onlyLab(part) {
		step = part.Length
	}
	blocks := make([]uint32, 0, raid.BlockCount(part.Length))
	for at := int64(0); at < part.Length; at += step {
		p := &piece{part: part, siblings: sib, offset: at, length: min(step, part.Length-at), heals: true}
		own := whole.Part(int(at), int(at+p.length))
		p.buf = own
		if err = s.fetch(ctx, &f, p); err == nil {
			blocks = append(blocks, p.checksums()...)
			if p.buf != own { // whoever was asked first may still write to the other one
				whole = s.elsewhere(whole, p)
			}
		}
		p.buf.Release()
		if err != nil {
			whole.Release()
			return nil, nil, err
		}
	}
	if crc, ok := raid.CombineBlocks(blocks, part.Length); !ok || crc != part.CRC {
		whole.Release()
		return nil, nil, fmt.Errorf("%w: its copies say different checksums, each of which fits the catalog's", raid.ErrCorrupt)
	}
	return whole, blocks, nil
}

// elsewhere copies what was read of a part to other memory, the piece included.
func (s *Store) elsewhere(whole *budget.Buffer, p *piece) *budget.Buffer {
	other := s.cfg.Healing.Get(len(whole.Bytes()))
	copy(other.Bytes(), whole.Bytes()[:p.offset])
	copy(other.Bytes()[p.offset:], p.buf.Bytes()[:p.length])
	whole.Release()
	return other
}

// checksums are those of the blocks of a piece that was fetched.
func (p *piece) checksums() []uint32 {
	if p.blocks == nil {
		return raid.BlockChecksums(p.buf.Bytes()[:p.length])
	}
	from := p.offset / raid.BlockSize
	return p.blocks[from : from+raid.BlockCount(p.length)]
}

// placeAnew chooses the node for a copy that replaces another. Where the level makes a part
// from others, those on their nodes must not meet it.
func (s *Store) placeAnew(part raid.Part, sib siblings, m raid.Move) (placement.Candidate, error) {
	old := m.Old
	var natives []placement.Candidate
	for _, c := range s.cfg.Nodes.Candidates() {
		if !c.Lab && !s.isFaithless(c.ID) && (m.Fits == nil || m.Fits(c.ID)) && (old.Bad || c.ID != old.Node) {
			natives = append(natives, c)
		}
	}
	placed := placement.NewStripe()
	for _, c := range part.Copies {
		lost := m.Missing != nil && m.Missing(c.Node)
		if c.Node.IsNative() && !lost && (c.Index != old.Index || !old.Bad) {
			placed.Take(part.Number, s.candidate(natives, c.Node))
		}
	}
	for _, o := range sib.parts {
		for _, c := range o.Copies {
			if lost := m.Missing != nil && m.Missing(c.Node); o.Number != part.Number && c.Node.IsNative() && !c.Bad && !lost {
				placed.Take(part.Number, s.candidate(natives, c.Node))
			}
		}
	}
	c, ok := placed.Choose(natives, part.Number, part.Length+chunkOverhead, s.cfg.Draw)
	if ok {
		return c, nil
	}
	for _, n := range natives {
		if n.Free < part.Length+chunkOverhead {
			return c, fmt.Errorf("%w: no node without a copy has room for another", raid.ErrArrayFull)
		}
	}
	return c, fmt.Errorf("%w: no other node can take a copy", raid.ErrTooFewNodes)
}

// candidate finds the node among the candidates, so that its zone counts.
func (s *Store) candidate(among []placement.Candidate, id raid.NodeID) placement.Candidate {
	for _, c := range among {
		if c.ID == id {
			return c
		}
	}
	for _, n := range s.cfg.Nodes.Nodes() {
		if n.ID == id {
			return placement.Candidate{ID: id, Zone: n.Zone}
		}
	}
	return placement.Candidate{ID: id}
}
