package object

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// maxGuesses bounds the ways to put a part together that are tried when no copy has a
// trailer left. Each one that is wrong has the catalog's CRC-32C by chance once in
// 2^32.
const maxGuesses = 64

// salvage reads a part of which no copy is whole: each block comes from whichever
// copy has it good.
type salvage struct {
	s       *Store
	file    *raid.File
	part    raid.Part
	copies  []*holding // on nodes that are connected, best first
	scratch []byte
	away    error // why a copy that may be good was not asked, or did not answer
}

// holding is a copy on a node that is connected.
type holding struct {
	raid.Copy
	peer   *membership.Peer
	name   raid.ChunkName
	silent bool // the node has failed, and is not asked again
}

// salvage fills p's buffer, or fails like fetch. Every block is compared with
// checksums whose combination is the catalog's of the part.
func (s *Store) salvage(ctx context.Context, f *raid.File, p *piece) error {
	pool := s.cfg.Pool
	if p.heals {
		pool = s.cfg.Healing
	}
	scratch := pool.Get(int(min(p.part.Length, maxPiece)))
	defer scratch.Release()
	v := &salvage{s: s, file: f, part: p.part, scratch: scratch.Bytes()}
	for _, c := range s.order(p.part.Copies) {
		if !c.Node.IsNative() {
			continue // a lab peer has whole chunks and no checksums
		}
		h := &holding{Copy: c, name: p.part.Key(f.Upload, c).Name()}
		var ok bool
		if h.peer, ok = s.cfg.Nodes.Peer(c.Node); ok && !h.peer.Lab() {
			v.copies = append(v.copies, h)
		} else {
			v.failed(h, fmt.Errorf("node %s: %w", c.Node, raid.ErrPeerGone))
		}
	}
	blocks, err := v.checksums(ctx)
	if err == nil {
		if err = v.fill(ctx, p, blocks); err != nil {
			s.lists.drop(f.Upload, &p.part) // whoever gave it may have made it up
		}
	}
	if err != nil && v.away != nil {
		err = v.away
	}
	if err != nil {
		return unavailable(p, err)
	}
	s.cfg.Log.Debug("a part was put together from several rotten copies", "file", f.ID, "stripe", p.part.Stripe, "part", p.part.Number)
	return nil
}

// failed takes a copy out that can't be read now.
func (v *salvage) failed(h *holding, err error) {
	h.silent = true
	if !h.Bad { // one that is known to be bad is not worth to wait for
		v.away = err
	}
}

// get reads from one copy into dst. It takes part in nothing that follows once its
// node fails for another reason than rot.
func (v *salvage) get(ctx context.Context, h *holding, offset int64, dst []byte, unchecked bool) (wire.GetResult, error) {
	if h.silent {
		return wire.GetResult{}, raid.ErrPeerGone
	}
	ctx, cancel := context.WithTimeout(ctx, getTimeout)
	defer cancel()
	res, err := h.peer.Get(ctx, wire.GetRequest{
		Name: h.name, Offset: offset, Length: int64(len(dst)), Dst: dst, Unchecked: unchecked,
		ExpectLength: v.part.Length, ExpectCRC: v.part.CRC,
	})
	if err != nil && !errors.Is(err, raid.ErrCorrupt) && !errors.Is(err, raid.ErrNotFound) {
		v.failed(h, fmt.Errorf("node %s: %w", h.Node, err))
	}
	return res, err
}

// read hands n bytes of a copy to take, block by block, as far as its node can read
// them. A block that it can't read does not keep it from the others. Nobody vouches
// for the bytes. They are only valid during the call.
func (v *salvage) read(ctx context.Context, h *holding, offset, n int64, take func(block int64, b []byte)) {
	b := v.scratch[:n]
	_, err := v.get(ctx, h, offset, b, true)
	switch {
	case err == nil:
		for at := int64(0); at < n; at += raid.BlockSize {
			take((offset+at)/raid.BlockSize, b[at:min(at+raid.BlockSize, n)])
		}
	case errors.Is(err, raid.ErrCorrupt) && n > raid.BlockSize:
		for at := int64(0); at < n; at += raid.BlockSize {
			v.read(ctx, h, offset+at, min(raid.BlockSize, n-at), take)
		}
	}
}

// checksums finds the checksums of the part's blocks: those of a trailer that is
// good, wherever it is.
func (v *salvage) checksums(ctx context.Context) ([]uint32, error) {
	if blocks, ok := v.s.lists.get(v.file.Upload, &v.part); ok || v.part.Length == 0 {
		return blocks, nil
	}
	for _, h := range v.copies {
		res, err := v.get(ctx, h, 0, nil, false)
		if err == nil && v.fits(res.Blocks) {
			v.s.lists.put(v.file.Upload, &v.part, res.Blocks)
			return res.Blocks, nil
		}
	}
	blocks, err := v.guess(ctx)
	if err == nil {
		v.s.lists.put(v.file.Upload, &v.part, blocks)
	}
	return blocks, err
}

// fits reports whether checksums of blocks are those of the catalog's part.
func (v *salvage) fits(blocks []uint32) bool {
	crc, ok := raid.CombineBlocks(blocks, v.part.Length)
	return ok && crc == v.part.CRC
}

// guess finds the checksums without any trailer. Rot changes few blocks, so there
// are few ways to combine those of the copies, and one of them has the catalog's
// CRC-32C.
func (v *salvage) guess(ctx context.Context) ([]uint32, error) {
	choices := make([][]uint32, raid.BlockCount(v.part.Length))
	for _, h := range v.copies {
		for at := int64(0); at < v.part.Length; at += maxPiece {
			v.read(ctx, h, at, min(maxPiece, v.part.Length-at), func(block int64, b []byte) {
				if crc := raid.Checksum(b); !slices.Contains(choices[block], crc) {
					choices[block] = append(choices[block], crc)
				}
			})
		}
	}
	ways := 1
	for i, c := range choices {
		switch ways *= len(c); {
		case ways == 0:
			return nil, v.lost(int64(i))
		case ways > maxGuesses:
			return nil, fmt.Errorf("%w: no copy has a trailer left, and too many of their blocks differ", raid.ErrCorrupt)
		}
	}
	if blocks := v.combine(choices, ways); blocks != nil {
		return blocks, nil
	}
	return nil, fmt.Errorf("%w: no copy has a trailer left, and their blocks make no whole", raid.ErrCorrupt)
}

// combine returns the one way to choose a checksum for each block that fits the
// catalog; nil when there is none, or another one.
func (v *salvage) combine(choices [][]uint32, ways int) (found []uint32) {
	for way := range ways {
		blocks := make([]uint32, len(choices))
		rest := way
		for i, c := range choices {
			blocks[i] = c[rest%len(c)]
			rest /= len(c)
		}
		switch fits := v.fits(blocks); {
		case fits && found != nil:
			return nil
		case fits:
			found = blocks
		}
	}
	return found
}

// fill takes each block of the piece from the first copy that has it good.
func (v *salvage) fill(ctx context.Context, p *piece, blocks []uint32) error {
	dst := p.buf.Bytes()[:p.length]
	first, n := p.offset/raid.BlockSize, raid.BlockCount(p.length)
	have := make([]bool, n)
	for _, h := range v.copies {
		for from := int64(0); from < n; {
			if have[from] {
				from++
				continue
			}
			to := from + 1 // one request as far as blocks are missing
			for to < n && !have[to] && (to-from)*raid.BlockSize < maxPiece {
				to++
			}
			at := from * raid.BlockSize
			v.read(ctx, h, p.offset+at, min(to*raid.BlockSize, p.length)-at, func(block int64, b []byte) {
				if raid.Checksum(b) == blocks[block] {
					copy(dst[(block-first)*raid.BlockSize:], b)
					have[block-first] = true
				}
			})
			from = to
		}
	}
	if i := slices.Index(have, false); i >= 0 {
		return v.lost(first + int64(i))
	}
	return nil
}

// lost says that a block is good in no copy.
func (v *salvage) lost(block int64) error {
	at := block * raid.BlockSize
	return fmt.Errorf("%w: bytes %d to %d of the part are good in none of its copies",
		raid.ErrCorrupt, at, min(at+raid.BlockSize, v.part.Length)-1)
}

// lists remembers the blocks' checksums of parts that were salvaged: their other
// pieces are read next.
type lists struct {
	mu sync.Mutex
	of map[listed][]uint32
}

type listed struct {
	upload raid.UploadID
	stripe int64
	part   int
	crc    uint32
}

// maxLists bounds the lists that are remembered: 128 bytes each for the usual
// part of 2 MiB, 15 KiB for the largest.
const maxLists = 64

func (l *lists) get(u raid.UploadID, p *raid.Part) ([]uint32, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	blocks, ok := l.of[listed{u, p.Stripe, p.Number, p.CRC}]
	return blocks, ok
}

func (l *lists) put(u raid.UploadID, p *raid.Part, blocks []uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil || len(l.of) >= maxLists {
		l.of = map[listed][]uint32{}
	}
	l.of[listed{u, p.Stripe, p.Number, p.CRC}] = blocks
}

func (l *lists) drop(u raid.UploadID, p *raid.Part) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.of, listed{u, p.Stripe, p.Number, p.CRC})
}
