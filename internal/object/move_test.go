package object

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// held is the node of a bubble that holds a chunk, nil if none does.
func (b *bubble) held(name raid.ChunkName) *memNode {
	for _, n := range b.nodes {
		n.mu.Lock()
		_, has := n.chunks[name]
		n.mu.Unlock()
		if has {
			return n
		}
	}
	return nil
}

func (n *memNode) bytesRead() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.getBytes
}

// What takes the place of a copy that goes is read back whole. While the old one is kept,
// one block is enough.
func TestANewCopyIsReadBack(t *testing.T) {
	const length = bubbleStripe / 2
	for _, c := range []struct {
		kept bool
		want int64
	}{{false, length}, {true, raid.BlockSize}} {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, 3)
			defer b.close()
			f, err := b.put(content(bubbleStripe), nil)
			if err != nil {
				t.Fatal(err)
			}
			parts, err := b.cat.Parts(b.ctx, f.ID, 0, 1)
			if err != nil {
				t.Fatal(err)
			}
			part := parts[0]
			fresh, err := b.store.Rereplicate(b.ctx, f, part, raid.Move{Old: part.Copies[0], Kept: c.kept})
			if err != nil {
				t.Fatal(err)
			}
			to := b.held(part.Key(f.Upload, fresh).Name())
			if to == nil || to == b.held(part.Key(f.Upload, part.Copies[0]).Name()) || to == b.held(part.Key(f.Upload, part.Copies[1]).Name()) {
				t.Fatal("the new copy is on no other node")
			}
			if got := to.bytesRead(); got != c.want {
				t.Errorf("kept %v: %d bytes were read back, want %d", c.kept, got, c.want)
			}
		})
	}
}

// A node that acknowledges what it does not keep gets no copy, whatever becomes of the
// old one.
func TestACopyThatWasNotKeptIsNoCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 3)
		defer b.close()
		f, err := b.put(content(bubbleStripe), nil)
		if err != nil {
			t.Fatal(err)
		}
		parts, err := b.cat.Parts(b.ctx, f.ID, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range b.nodes {
			n.loses.Store(true)
		}
		c, err := b.store.Rereplicate(b.ctx, f, parts[0], raid.Move{Old: parts[0].Copies[0], Kept: true})
		if !errors.Is(err, raid.ErrTooFewNodes) || c.Node == "" {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

// Only nodes that fit get a copy, and never the one that it is moved away from.
func TestACopyGoesWhereItFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 4)
		defer b.close()
		f, err := b.put(content(1000), nil)
		if err != nil {
			t.Fatal(err)
		}
		parts, err := b.cat.Parts(b.ctx, f.ID, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		part := parts[0]
		old, other := part.Copies[0], part.Copies[1]
		none := raid.Move{Old: old, Fits: func(id raid.NodeID) bool { return id == old.Node || id == other.Node }}
		if c, err := b.store.Rereplicate(b.ctx, f, part, none); !errors.Is(err, raid.ErrTooFewNodes) {
			t.Errorf("%+v, %v", c, err)
		}
		// A node whose copy does not count may get another one, with another name.
		lost := raid.Move{Old: old, Fits: none.Fits, Missing: func(id raid.NodeID) bool { return id == other.Node }}
		if c, err := b.store.Rereplicate(b.ctx, f, part, lost); err != nil || c.Node != other.Node {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

// Copies are made again from memory of their own: neither waits for the other's.
func TestHealingAndRequestsWaitForNoMemoryOfEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 3)
		defer b.close()
		f, err := b.put(content(bubbleStripe), nil)
		if err != nil {
			t.Fatal(err)
		}
		parts, err := b.cat.Parts(b.ctx, f.ID, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		all, err := b.store.cfg.Pool.Acquire(b.ctx, int(b.store.cfg.Pool.Limit()))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := b.store.Rereplicate(b.ctx, f, parts[0], raid.Move{Old: parts[0].Copies[0]}); err != nil || time.Since(began) > time.Second {
			t.Errorf("with no memory for requests: %v after %v", err, time.Since(began))
		}
		if got := b.store.cfg.Pool.InUse(); got != b.store.cfg.Pool.Limit() {
			t.Errorf("%d bytes of the requests' memory are in use", got)
		}
		all.Release()
		if got := b.store.cfg.Healing.InUse(); got != 0 {
			t.Errorf("%d bytes are held after it", got)
		}
	})
}

// Whoever was asked first and is slow may answer yet: what others have read meanwhile is
// out of its reach.
func TestWhatIsReadForACopyIsOutOfReachOfASlowNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 3)
		defer b.close()
		want := content(bubbleStripe)
		f, err := b.put(want, nil)
		if err != nil {
			t.Fatal(err)
		}
		parts, err := b.cat.Parts(b.ctx, f.ID, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		part := parts[0]
		b.store.cfg.Draw = func(int64) int64 { return 0 }
		slow := b.held(part.Key(f.Upload, b.store.order(part.Copies)[0]).Name())
		slow.hangDisk()
		buf, blocks, err := b.store.readPart(b.ctx, f, part, siblings{})
		if err != nil {
			t.Fatal(err)
		}
		got := bytes.Clone(buf.Bytes())
		clear(buf.Bytes())
		slow.thaw()
		time.Sleep(time.Minute)
		if !bytes.Equal(got, want[:part.Length]) || !slices.Equal(blocks, raid.BlockChecksums(got)) {
			t.Error("other bytes were read")
		}
		if !bytes.Equal(buf.Bytes(), make([]byte, part.Length)) {
			t.Error("the slow node's answer came into the bytes that were read already")
		}
		if buf.Release(); b.store.cfg.Healing.InUse() != 0 {
			t.Errorf("%d bytes are in use", b.store.cfg.Healing.InUse())
		}
	})
}
