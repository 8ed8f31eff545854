package object

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// pausing is a body that stops at some byte, while the nodes go on, does
// something, and then goes on or ends with an error.
type pausing struct {
	r     *bytes.Reader
	at    int64 // bytes
	pause func() error
}

func (p *pausing) Read(b []byte) (int, error) {
	read := p.r.Size() - int64(p.r.Len())
	if p.pause != nil && read >= p.at {
		time.Sleep(time.Second) // what was sent is acknowledged meanwhile
		pause := p.pause
		p.pause = nil
		if err := pause(); err != nil {
			return 0, err
		}
	}
	if p.pause != nil {
		b = b[:min(int64(len(b)), p.at-read)]
	}
	return p.r.Read(b)
}

// named describes uploads and does something before the last stripe is sent,
// when what was sent before is acknowledged.
func named(last func()) func() (Description, error) {
	return func() (Description, error) {
		time.Sleep(time.Second)
		if last != nil {
			last()
		}
		return Description{Filename: "f", ContentType: "application/octet-stream"}, nil
	}
}

// holder is a node that has chunks of the stripe.
func (b *bubble) holder(stripe int64) *memNode {
	b.t.Helper()
	for _, n := range b.nodes {
		for _, c := range n.stored() {
			if c.Stripe == stripe {
				return n
			}
		}
	}
	b.t.Fatalf("stripe %d is on no node", stripe)
	return nil
}

// stored are the chunks that the node has on its disk.
func (n *memNode) stored() (keys []raid.ChunkKey) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.chunks {
		keys = append(keys, c.meta.Key)
	}
	return keys
}

func (n *memNode) has(k raid.ChunkKey) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.chunks[k.Name()]
	return ok
}

// copies calls f for every copy of a file, with the key of its chunk.
func (b *bubble) copies(f raid.File, do func(raid.Copy, raid.ChunkKey)) {
	b.t.Helper()
	parts, err := b.cat.Parts(b.ctx, f.ID, 0, f.Stripes)
	if err != nil {
		b.t.Fatal(err)
	}
	for i := range parts {
		for _, c := range parts[i].Copies {
			do(c, parts[i].Key(f.Upload, c))
		}
	}
}

// recorded are the removals on record.
func (b *bubble) recorded() map[raid.Removal]bool {
	b.t.Helper()
	nodes, err := b.cat.Nodes(b.ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	out := map[raid.Removal]bool{}
	for _, n := range nodes {
		removals, err := b.cat.Removals(b.ctx, n.ID, 100_000)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, r := range removals {
			out[r] = true
		}
	}
	return out
}

// The bytes of the last stripes are still in memory when the upload commits, so
// what a lost node had of them goes to other nodes.
func TestCopiesOfANodeThatDiedSinceItsAcknowledgementArePlacedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 4)
		defer b.close()
		for _, n := range b.nodes {
			n.slow = 100 * time.Millisecond // so that the first stripe is not done when the last is read
		}
		body := content(2 * bubbleStripe)
		var dead *memNode
		f, err := b.store.Upload(b.ctx, Upload{
			Size: int64(len(body)), Bound: -1, Body: bytes.NewReader(body),
			Describe: named(func() {
				dead = b.holder(0)
				dead.cut()
				time.Sleep(time.Second)
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		if f.Degraded {
			t.Error("degraded although three nodes are up and the bytes were still here")
		}
		lost := len(dead.stored())
		b.copies(f, func(c raid.Copy, k raid.ChunkKey) {
			if c.Bad || dead.has(k) {
				t.Errorf("the file rests on chunk %s of the dead node (called bad: %v)", k.Name(), c.Bad)
			}
		})
		if n := len(b.recorded()); lost == 0 || n < lost {
			t.Errorf("%d removals are recorded for the %d chunks that the dead node keeps", n, lost)
		}
		if got, err := b.get(f); err != nil || !bytes.Equal(got, body) {
			t.Errorf("read back: %v", err)
		}
	})
}

// What was acknowledged long before the commit is not in memory any more, so a
// 201 may only say that copies are missing.
func TestAFileIsDegradedWhenANodeDiedSinceItsAcknowledgement(t *testing.T) {
	for name, stripes := range map[string]int{"no rows yet": 8, "rows written as it went": 3 * appendEvery} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, 4)
				defer b.close()
				body := content(stripes * bubbleStripe)
				early := int64(stripes-2) * bubbleStripe
				var dead *memNode
				f, err := b.store.Upload(b.ctx, Upload{
					Size: int64(len(body)), Bound: -1,
					Body: &pausing{r: bytes.NewReader(body), at: early, pause: func() error { return nil }},
					Describe: named(func() {
						dead = b.holder(0)
						dead.cut()
						time.Sleep(time.Second)
					}),
				})
				if err != nil {
					t.Fatal(err)
				}
				if listed, err := b.cat.File(b.ctx, f.ID); err != nil || !f.Degraded || !listed.Degraded {
					t.Errorf("degraded is %v in the answer and %v in the catalog (%v)", f.Degraded, listed.Degraded, err)
				}
				lost := 0
				b.copies(f, func(c raid.Copy, k raid.ChunkKey) {
					if dead.has(k) {
						lost++
					}
					if dead.has(k) != c.Bad {
						t.Errorf("chunk %s: on the dead node %v, called bad %v", k.Name(), dead.has(k), c.Bad)
					}
				})
				if lost == 0 {
					t.Error("nothing was on the dead node")
				}
				if got, err := b.get(f); err != nil || !bytes.Equal(got, body) {
					t.Errorf("read back: %v", err)
				}
			})
		})
	}
}

// A node that hangs may still write what it was sent. Whatever then lies there
// must be part of the file or on record.
func TestWhatAHungNodeWritesLateIsRecordedForRemoval(t *testing.T) {
	broken := errors.New("the client went away")
	for name, end := range map[string]error{"the upload succeeds": nil, "the upload fails": broken} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, 4)
				defer b.close()
				body := content(12 * bubbleStripe)
				hung := b.nodes[2]
				first := &pausing{r: bytes.NewReader(body), at: 2 * bubbleStripe, pause: func() error { hung.hangDisk(); return nil }}
				f, err := b.store.Upload(b.ctx, Upload{
					Size: int64(len(body)), Bound: -1,
					Body:     &pausingAgain{pausing: first, at: 10 * bubbleStripe, then: func() error { return end }},
					Describe: named(nil),
				})
				if !errors.Is(err, end) {
					t.Fatal(err)
				}
				before := len(hung.stored())
				hung.thaw()
				time.Sleep(10 * time.Second)
				if len(hung.stored()) == before {
					t.Fatal("the hung node wrote nothing late: nothing was tested")
				}
				wanted := map[raid.ChunkKey]bool{}
				if end == nil {
					b.copies(f, func(_ raid.Copy, k raid.ChunkKey) { wanted[k] = true })
				}
				onRecord := map[raid.ChunkKey]bool{}
				for r := range b.recorded() {
					onRecord[r.Key] = true
				}
				for _, n := range b.nodes {
					for _, k := range n.stored() {
						if wanted[k] == onRecord[k] {
							t.Errorf("chunk %s: part of the file %v, to be removed %v", k.Name(), wanted[k], onRecord[k])
						}
					}
				}
			})
		})
	}
}

// pausingAgain pauses a second time, long enough for a hung node to be given up.
type pausingAgain struct {
	*pausing
	at   int64
	then func() error
}

func (p *pausingAgain) Read(b []byte) (int, error) {
	if p.r.Size()-int64(p.r.Len()) >= p.at {
		p.at = p.r.Size() + 1
		time.Sleep(10 * time.Second)
		if err := p.then(); err != nil {
			return 0, err
		}
	}
	return p.pausing.Read(b)
}

// client is a body that arrives so slowly, and looks once so much was read.
type client struct {
	r    *bytes.Reader
	each time.Duration // before a Read returns
	at   int64         // bytes
	look func()
}

func (c *client) Read(b []byte) (int, error) {
	time.Sleep(c.each)
	if c.look != nil && c.r.Size()-int64(c.r.Len()) >= c.at {
		c.look()
		c.look = nil
	}
	return c.r.Read(b)
}

// Drain, repair and the next start see a long upload by its rows, and the last
// transaction stays small.
func TestLongUploadsKeepTheirRowsAsTheyGo(t *testing.T) {
	for name, each := range clients {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, 3)
				defer b.close()
				b.store.cfg.StripeSize = 2 * readStep
				for _, n := range b.nodes {
					n.slow = 100 * time.Millisecond
				}
				before, err := b.put(content(1), nil)
				if err != nil {
					t.Fatal(err)
				}
				id, stripe := before.ID+1, b.store.cfg.StripeSize
				const read = 3 * appendEvery // stripes, when the catalog is looked at
				body := content((read + 1) * int(stripe))
				f, err := b.store.Upload(b.ctx, Upload{
					Size: -1, Bound: -1, Describe: named(nil),
					Body: &client{r: bytes.NewReader(body), each: each, at: read * stripe, look: func() {
						// What is under way, and what waits for company, may be missing.
						least := 2 * (read - stripesAhead - appendEvery)
						if parts, err := b.cat.Parts(b.ctx, id, 0, read); err != nil || len(parts) < least {
							t.Errorf("after %d stripes the catalog has %d parts, want at least %d: %v", read, len(parts), least, err)
						}
						if _, err := b.cat.File(b.ctx, id); !errors.Is(err, raid.ErrNotFound) {
							t.Errorf("an upload in progress is a file: %v", err)
						}
					}},
				})
				if err != nil || f.ID != id {
					t.Fatalf("file %d, want %d: %v", f.ID, id, err)
				}
				if got, err := b.get(f); err != nil || !bytes.Equal(got, body) {
					t.Errorf("read back: %v", err)
				}
			})
		})
	}
}

// clients are how long they take for each 256 KiB.
var clients = map[string]time.Duration{"slower than the nodes": 200 * time.Millisecond, "faster than the nodes": 3 * time.Millisecond}
