package object

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// check refuses what a real node refuses: a chunk whose trailer is rotten, and
// rotten blocks, unless the bytes are wanted unchecked; and bytes that are not there.
func (n *memNode) check(c memChunk, req *wire.NodeGet) error {
	end := req.Offset + req.Length
	if !n.checks {
		return nil
	}
	if req.Unchecked && !n.old {
		if end > int64(len(c.payload)) {
			return raid.ErrCorrupt
		}
		return nil
	}
	if c.torn || int64(len(c.payload)) != c.meta.Length {
		return raid.ErrCorrupt
	}
	for at := req.Offset; at < end; at += raid.BlockSize {
		if raid.Checksum(c.payload[at:min(at+raid.BlockSize, end)]) != c.meta.Blocks[at/raid.BlockSize] {
			return raid.ErrCorrupt
		}
	}
	return nil
}

// rot is what happens to one copy of a part.
type rot func(*memChunk)

func flipped(blocks ...int) rot {
	return func(c *memChunk) {
		for _, b := range blocks {
			c.payload[min(b*raid.BlockSize+7, len(c.payload)-1)] ^= 0x10
		}
	}
}

func torn(c *memChunk) { c.torn = true }
func cutTo(n int) rot {
	return func(c *memChunk) { c.payload, c.torn = c.payload[:min(n, len(c.payload))], true }
}
func both(a, b rot) rot          { return func(c *memChunk) { a(c); b(c) } }
func untouched(*memChunk)        {}
func (n *memNode) strict(o bool) { n.checks, n.old = true, o }

// spoil has the copies of all parts rot, the first and the second of each in its own
// way.
func (b *bubble) spoil(f raid.File, ways ...rot) {
	b.t.Helper()
	parts, err := b.cat.Parts(b.ctx, f.ID, 0, f.Stripes)
	if err != nil {
		b.t.Fatal(err)
	}
	on := map[raid.ChunkName]rot{}
	for i := range parts {
		for k, c := range parts[i].Copies {
			on[parts[i].Key(f.Upload, c).Name()] = ways[k]
		}
	}
	for _, n := range b.nodes {
		n.mu.Lock()
		for name, c := range n.chunks {
			if way := on[name]; way != nil && len(c.payload) > 0 {
				c.payload = bytes.Clone(c.payload)
				way(&c)
				n.chunks[name] = c
			}
		}
		n.mu.Unlock()
	}
}

const block = raid.BlockSize

// Of each part both copies are rotten, but no byte is rotten in both.
func TestEachBlockIsReadFromWhicheverCopyHasIt(t *testing.T) {
	for name, c := range map[string]struct {
		ways [2]rot
		old  bool // the nodes know no unchecked Get
	}{
		"a block here and a block there":              {ways: [2]rot{flipped(0), flipped(1)}},
		"the same of nodes of the version before":     {ways: [2]rot{flipped(1), flipped(0)}, old: true},
		"the last block, which is short":              {ways: [2]rot{flipped(2), flipped(0, 1)}},
		"a trailer here and a block there":            {ways: [2]rot{torn, flipped(1)}},
		"a block here and a trailer there":            {ways: [2]rot{flipped(2), torn}},
		"a trailer and a block, and another block":    {ways: [2]rot{both(torn, flipped(0)), flipped(1)}},
		"one is cut short, the other has a bad block": {ways: [2]rot{cutTo(block + 5), flipped(0)}},
		"both trailers":                               {ways: [2]rot{torn, torn}},
		"both trailers, and a block of one":           {ways: [2]rot{torn, both(torn, flipped(1))}},
		"both trailers, and a block of each":          {ways: [2]rot{both(torn, flipped(2)), both(torn, flipped(0))}},
		"both are cut short, one behind its payload":  {ways: [2]rot{cutTo(2 * block), cutTo(2*block + 1000)}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, 2)
				defer b.close()
				// Each part has two whole blocks and a short one.
				b.store.cfg.StripeSize = 2 * (2*block + 1000)
				body := content(2*int(b.store.cfg.StripeSize) - 20)
				f, err := b.put(body, nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, n := range b.nodes {
					n.strict(c.old)
				}
				b.spoil(f, c.ways[0], c.ways[1])
				began := time.Now()
				if got, err := b.get(f); err != nil || !bytes.Equal(got, body) {
					t.Fatalf("read: %v, equal: %v", err, bytes.Equal(got, body))
				}
				for _, from := range []int64{0, 1, block - 1, 2*block + 999, 2*block + 1000, f.Size - 1} {
					n := min(int64(3000), f.Size-from)
					if got, err := b.getRange(f, from, n); err != nil || !bytes.Equal(got, body[from:from+n]) {
						t.Errorf("read %d from %d: %v", n, from, err)
					}
				}
				if took := time.Since(began); took > time.Second {
					t.Errorf("it took %v", took)
				}
				b.remakes(f)
			})
		})
	}
}

// A part of several pieces is put together piece by piece, also when its checksums have
// to be found out first.
func TestALargePartIsReadFromWhicheverCopyHasEachBlock(t *testing.T) {
	for name, ways := range map[string][2]rot{
		"blocks far apart":          {flipped(3, 20, 39), flipped(0, 19, 40)},
		"cut in the second piece":   {cutTo(21*block + 9), flipped(2, 20)},
		"both trailers, and blocks": {both(torn, flipped(18)), both(torn, flipped(5, 39))},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, 2)
				defer b.close()
				b.store.cfg.StripeSize = 2 * (40*block + 100) // parts of 41 blocks, the last short
				body := content(int(b.store.cfg.StripeSize))
				f, err := b.put(body, nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, n := range b.nodes {
					n.strict(false)
				}
				b.spoil(f, ways[0], ways[1])
				if got, err := b.get(f); err != nil || !bytes.Equal(got, body) {
					t.Fatalf("read: %v, equal: %v", err, bytes.Equal(got, body))
				}
				for _, from := range []int64{39*block + 1, 40 * block, 60 * block} {
					if got, err := b.getRange(f, from, 10); err != nil || !bytes.Equal(got, body[from:from+10]) {
						t.Errorf("read from %d: %v", from, err)
					}
				}
				b.remakes(f)
			})
		})
	}
}

// remakes has the first copy of each part made anew, and reads it.
func (b *bubble) remakes(f raid.File) {
	b.t.Helper()
	parts, err := b.cat.Parts(b.ctx, f.ID, 0, f.Stripes)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, p := range parts {
		for i := range p.Copies {
			p.Copies[i].Bad = true
		}
		c, err := b.store.Rereplicate(b.ctx, f, p, raid.Move{Old: p.Copies[0]})
		if err != nil {
			b.t.Fatal(err)
		}
		made := 0
		for _, n := range b.nodes {
			n.mu.Lock()
			if chunk, ok := n.chunks[p.Key(f.Upload, c).Name()]; ok && raid.Checksum(chunk.payload) == p.CRC {
				made++
			}
			n.mu.Unlock()
		}
		if made != 1 {
			b.t.Errorf("%d good copies were made", made)
		}
	}
}

// What is rotten in the same place of both copies is lost, which is said at once.
func TestABlockThatIsRottenInBothCopiesIsAnErrorAtOnce(t *testing.T) {
	for name, ways := range map[string][2]rot{
		"the same block":                   {flipped(1), flipped(0, 1)},
		"and a trailer":                    {both(torn, flipped(1)), flipped(1)},
		"and both trailers":                {both(torn, flipped(1)), both(torn, flipped(1))},
		"both are cut in one block":        {cutTo(block), cutTo(block + 1)},
		"both trailers and much of either": {both(torn, flipped(0, 1, 2, 3, 4, 5, 6, 7)), torn},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, 3)
				defer b.close()
				b.store.cfg.StripeSize = 16 * block
				f, err := b.put(content(16*block), nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, n := range b.nodes {
					n.strict(false)
				}
				b.spoil(f, ways[0], ways[1])
				began := time.Now()
				if got, err := b.get(f); !errors.Is(err, raid.ErrCorrupt) {
					t.Errorf("read %d bytes: %v", len(got), err)
				}
				if took := time.Since(began); took > time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// A copy that is away may be the good one: that is no loss yet.
func TestARottenBlockWhoseOtherCopyIsAwayIsNotCalledLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 2)
		defer b.close()
		f, err := b.put(content(4*block), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range b.nodes {
			n.strict(false)
		}
		b.spoil(f, flipped(1), untouched)
		b.nodes[0].cut()
		_, first := b.getRange(f, 0, block) // of part 1
		for i := range 2 {
			_, err := b.getRange(f, int64(i*2+1)*block, block)
			if errors.Is(err, raid.ErrCorrupt) || err != nil && !errors.Is(err, raid.ErrTooFewNodes) {
				t.Errorf("part %d: %v", i+1, err)
			}
		}
		if first != nil {
			t.Errorf("a good block: %v", first)
		}
	})
}

// Checksums that fit the catalog and no bytes can be made up. Those that turn out to be of
// no use are not kept for the next read.
func TestChecksumsThatAreMadeUpAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 2)
		defer b.close()
		b.store.cfg.StripeSize = 4 * block
		body := content(4 * block)
		f, err := b.put(body, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range b.nodes {
			n.strict(false)
		}
		b.spoil(f, flipped(0), flipped(1))
		parts, err := b.cat.Parts(b.ctx, f.ID, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		for i := range parts {
			made, ok := raid.CombineBlocks([]uint32{42, 0}, parts[i].Length)
			v := &salvage{part: parts[i]}
			if blocks := []uint32{42, made ^ parts[i].CRC}; ok && v.fits(blocks) {
				b.store.lists.put(f.Upload, &parts[i], blocks)
			} else {
				t.Fatal("no checksums could be made up")
			}
		}
		for range 2 * len(parts) { // each part is met once
			_, _ = b.get(f)
		}
		if got, err := b.get(f); err != nil || !bytes.Equal(got, body) {
			t.Errorf("read: %v, equal: %v", err, bytes.Equal(got, body))
		}
	})
}
