package object

import (
	"bytes"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// Many clients on a slow network wait for each other. Nothing is wrong with the
// nodes then: no download may break off, and asking the other copies as well
// would only make it slower.
func TestManyDownloadsOverASlowNetworkAllEndAndAskOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 4)
		defer b.close()
		body := content(8 * bubbleStripe)
		f, err := b.put(body, nil)
		if err != nil {
			t.Fatal(err)
		}
		const clients = 64
		for _, n := range b.nodes {
			n.rate = 700_000
		}
		var wg sync.WaitGroup
		start := time.Now()
		for range clients {
			wg.Go(func() {
				if got, err := b.get(f); err != nil || !bytes.Equal(got, body) {
					t.Errorf("a download failed after %v: %v", time.Since(start), err)
				}
			})
		}
		wg.Wait()
		var fetched int64
		for _, n := range b.nodes {
			fetched += n.getBytes
		}
		if wanted := int64(clients * len(body)); fetched > wanted*115/100 {
			t.Errorf("%d bytes were fetched for %d, %.2f times", fetched, wanted, float64(fetched)/float64(wanted))
		}
	})
}

// One Store of many is never answered, on a node that is well otherwise.
func TestAForgottenStoreIsPlacedElsewhereWithinSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 4)
		defer b.close()
		if _, err := b.put(content(20*bubbleStripe), nil); err != nil { // the nodes are known
			t.Fatal(err)
		}
		done := make(chan struct{})
		var others sync.WaitGroup
		others.Go(func() { // other uploads go on
			for {
				select {
				case <-done:
					return
				case <-time.After(50 * time.Millisecond):
				}
				if _, err := b.put(content(1000), nil); err != nil {
					t.Error(err)
				}
			}
		})
		body := content(6 * bubbleStripe)
		start := time.Now()
		f, err := b.put(body, func() { b.nodes[2].forget.Store(true) })
		took := time.Since(start)
		close(done)
		others.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if took > longestStall {
			t.Errorf("the upload took %v", took)
		}
		if got, err := b.get(f); err != nil || !bytes.Equal(got, body) || f.Degraded {
			t.Errorf("degraded %v, read back: %v", f.Degraded, err)
		}
	})
}

// ServeContent reads several ranges by Seek and Read.
func TestReadsAfterASeekFetchOnlyTheirBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 3)
		defer b.close()
		body := content(40 * bubbleStripe)
		f, err := b.put(body, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := b.store.Open(b.ctx, f)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		const ranges = 10
		for i := range int64(ranges) {
			at := i*4*bubbleStripe + 5000
			if _, err := r.Seek(at, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 10)
			if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, body[at:at+10]) {
				t.Fatalf("%x, %v", got, err)
			}
		}
		var fetched int64
		for _, n := range b.nodes {
			fetched += n.getBytes
		}
		if fetched != ranges*raid.BlockSize {
			t.Errorf("%d ranges of 10 bytes fetched %d blocks", ranges, fetched/raid.BlockSize)
		}
	})
}

// Reading on by small steps fetches every block once.
func TestReadingInSmallStepsFetchesEachBlockOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 3)
		defer b.close()
		body := content(7*bubbleStripe + 12345)
		f, err := b.put(body, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := b.store.Open(b.ctx, f)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var got []byte
		buf := make([]byte, 10_000)
		for {
			n, err := r.Read(buf)
			got = append(got, buf[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(got, body) {
			t.Fatal("not the bytes that were stored")
		}
		var fetched int64
		for _, n := range b.nodes {
			fetched += n.getBytes
		}
		if fetched != f.Size {
			t.Errorf("%d bytes were fetched for a file of %d", fetched, f.Size)
		}
	})
}
