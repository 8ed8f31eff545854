package object

import (
	"bytes"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// What a node says of a chunk may be true while the bytes it sends are not: its
// memory, its bus or its program is broken. So the bytes are checked here.
func TestWrongBytesUnderTheRightChecksumsAreNeverServed(t *testing.T) {
	const part = bubbleStripe / 2
	for _, at := range []int{0, raid.BlockSize - 1, raid.BlockSize, part - 1} {
		t.Run(fmt.Sprintf("byte %d of each chunk", at), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, 3)
				defer b.close()
				body := content(2 * bubbleStripe)
				f, err := b.put(body, nil)
				if err != nil {
					t.Fatal(err)
				}
				b.nodes[0].corrupt(at)
				// The whole file, and the one block of each part that is wrong.
				block := int64(at) / raid.BlockSize * raid.BlockSize
				for range 20 {
					if got, err := b.get(f); err != nil || !bytes.Equal(got, body) {
						t.Fatalf("read: %v, equal: %v", err, bytes.Equal(got, body))
					}
					for from := block; from < f.Size; from += part {
						got, err := b.getRange(f, from, raid.BlockSize)
						if want := body[from : from+raid.BlockSize]; err != nil || !bytes.Equal(got, want) {
							t.Fatalf("read from %d: %v, equal: %v", from, err, bytes.Equal(got, want))
						}
					}
				}
				if b.store.Stats().Corrupt == 0 {
					t.Error("no copy was found corrupt: nothing was tested")
				}
			})
		})
	}
}

// lines counts the lines of a log. It may be written to by several.
type lines struct{ n atomic.Int32 }

func (l *lines) Write(b []byte) (int, error) { l.n.Add(1); return len(b), nil }

// The other copy's node may come back, and is waited for. Meanwhile the bad copy is not told
// of again and again.
func TestABadCopyIsToldOfOnceWhileTheOtherIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 2)
		defer b.close()
		f, err := b.put(content(bubbleStripe), nil)
		if err != nil {
			t.Fatal(err)
		}
		b.nodes[0].corrupt(0)
		b.nodes[1].cut()
		time.Sleep(time.Second)
		var log lines
		b.store.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
		began := time.Now()
		if _, err := b.get(f); err == nil {
			t.Error("it was read")
		}
		if took := time.Since(began); took < time.Second {
			t.Errorf("the other copy was waited for %v", took)
		}
		if n := log.n.Load(); n == 0 || n > 2 {
			t.Errorf("%d lines for two parts", n)
		}
	})
}

// corrupt changes one byte of every chunk and leaves the checksums that go with
// it as they were.
func (n *memNode) corrupt(at int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, c := range n.chunks {
		c.payload = bytes.Clone(c.payload)
		c.payload[at] ^= 1
		n.chunks[name] = c
	}
}

func (b *bubble) getRange(f raid.File, from, n int64) ([]byte, error) {
	r, err := b.store.Open(b.ctx, f)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if _, err := r.Seek(from, 0); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	_, err = r.WriteN(&out, n)
	return out.Bytes(), err
}
