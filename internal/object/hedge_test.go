package object

import (
	"bytes"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/hedge"
	"github.com/raidpi/raidpi/internal/raid"
)

// Disks that pause now and then make many reads slow at once, and none of them
// hopeless. If each asked a second node then, an array that is merely busy would
// get twice the work.
func TestSlowReadsAskASecondNodeForOneInTwentyAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 3)
		defer b.close()
		const stripe, stripes = 32 << 10, 16 // each part is one read
		b.store.cfg.StripeSize = stripe
		for _, n := range b.nodes {
			n.rate = 20 << 20 // bytes a second
		}
		body := content(stripes * stripe)
		f, err := b.put(body, nil)
		if err != nil {
			t.Fatal(err)
		}
		const (
			rounds   = 15
			atOnce   = 8                      // downloads while the disks pause
			quick    = 6                      // downloads in between
			pause    = 150 * time.Millisecond // far above a usual read, far below a failing one
			expected = rounds * (atOnce + quick) * 2 * stripes
		)
		for range rounds {
			for range quick {
				b.mustGet(f, body)
			}
			for _, n := range b.nodes {
				n.hangDisk()
			}
			var downloads sync.WaitGroup
			for range atOnce {
				downloads.Go(func() { b.mustGet(f, body) })
			}
			time.Sleep(pause)
			for _, n := range b.nodes {
				n.thaw()
			}
			downloads.Wait()
			time.Sleep(time.Second)
		}
		gets := 0
		for _, n := range b.nodes {
			n.mu.Lock()
			gets += n.gets
			n.mu.Unlock()
		}
		second, allowed := gets-expected, expected/20+hedge.Burst
		if second > allowed {
			t.Errorf("%d of %d reads asked a second node, want at most %d", second, expected, allowed)
		}
		if second == 0 {
			t.Error("no read asked a second node: nothing was tested")
		}
	})
}

func (b *bubble) mustGet(f raid.File, want []byte) {
	if got, err := b.get(f); err != nil || !bytes.Equal(got, want) {
		b.t.Errorf("read: %v, equal: %v", err, bytes.Equal(got, want))
	}
}
