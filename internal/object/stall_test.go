package object

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/raidpi/raidpi/internal/raid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// longestStall is how long any request may stand still because of one node.
const longestStall = 3 * time.Second

func content(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// faults are the ways in which one node fails to answer.
var faults = map[string]func(*memNode){
	"process stopped": (*memNode).freeze,
	"disk hangs":      (*memNode).hangDisk,
}

func TestAnUploadStallsAtMostThreeSecondsWhenANodeHangs(t *testing.T) {
	for name, fault := range faults {
		for k := range 4 {
			t.Run(fmt.Sprintf("%s/node %d", name, k+1), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBubble(t, 4)
					defer b.close()
					body := content(6*bubbleStripe + 77)
					start := time.Now()
					f, err := b.put(body, func() { fault(b.nodes[k]) })
					if err != nil {
						t.Fatal(err)
					}
					if d := time.Since(start); d > longestStall {
						t.Errorf("the upload took %v", d)
					}
					if f.Degraded {
						t.Error("degraded although three nodes are up")
					}
					got, err := b.get(f)
					if err != nil || !bytes.Equal(got, body) {
						t.Fatalf("read back: %v", err)
					}
				})
			})
		}
	}
}

// A restart or an upgrade of a node is no reason to store on fewer nodes.
func TestUploadsWaitForANodeThatIsRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 2)
		defer b.close()
		if _, err := b.put(content(100), nil); err != nil { // what makes them known
			t.Fatal(err)
		}
		n := b.nodes[1]
		n.slow = 2 * time.Second // so long it drains
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := b.put(content(100), nil); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Second)
		n.stop()
		wg.Go(func() {
			time.Sleep(4 * time.Second)
			n.start()
		})
		start := time.Now()
		for time.Since(start) < 8*time.Second {
			time.Sleep(100 * time.Millisecond)
			f, err := b.put(content(100), nil)
			if err != nil || f.Degraded {
				t.Errorf("stored degraded %v after the node was told to end: %v", time.Since(start), err)
				break
			}
		}
		wg.Wait()
	})
}

func TestAnUploadWaitsForANodeThatDrainsNoLongerThanSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 2)
		defer b.close()
		if _, err := b.put(content(100), nil); err != nil {
			t.Fatal(err)
		}
		defer time.AfterFunc(time.Minute, b.stop).Stop() // so that waiting for ever is seen
		n := b.nodes[1]
		n.drains.Store(true)
		time.Sleep(time.Second)
		put := func(when string, least, most time.Duration) {
			t.Helper()
			start := time.Now()
			f, err := b.put(content(100), nil)
			if err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); !f.Degraded || d < least || d > most {
				t.Errorf("%s: stored after %v, degraded: %v", when, d, f.Degraded)
			}
		}
		put("1 s after it began", 8*time.Second, 10*time.Second)
		put("after settle", 0, time.Second)
		n.stop()
		time.Sleep(time.Second)
		put("when it has ended", 0, time.Second)
	})
}

func TestADownloadStallsAtMostThreeSecondsWhenANodeHangs(t *testing.T) {
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, 3)
				defer b.close()
				body := content(40*bubbleStripe + 1)
				f, err := b.put(body, nil)
				if err != nil {
					t.Fatal(err)
				}
				fault(b.nodes[1])
				for range 3 {
					start := time.Now()
					got, err := b.get(f)
					if err != nil || !bytes.Equal(got, body) {
						t.Fatalf("read: %v", err)
					}
					if d := time.Since(start); d > longestStall {
						t.Errorf("the download took %v", d)
					}
				}
			})
		})
	}
}

// A disk that takes longer for each chunk than the controller waits before it
// asks another node must not make it ask for ever.
func TestSlowDisksAreWaitedForAndNotAskedAgainAndAgain(t *testing.T) {
	for _, nodes := range []int{2, 4} {
		t.Run(fmt.Sprint(nodes, " nodes"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, nodes)
				defer b.close()
				for _, n := range b.nodes {
					n.slow = 2500 * time.Millisecond
				}
				start := time.Now()
				f, err := b.put(content(1000), nil)
				if err != nil || f.Degraded {
					t.Fatalf("degraded %v, %v", f.Degraded, err)
				}
				if d := time.Since(start); d > 20*time.Second {
					t.Errorf("it took %v", d)
				}
				if s := b.store.Stats(); s.Replaced > 12 {
					t.Errorf("four chunks were placed again %d times", s.Replaced)
				}
			})
		})
	}
}

func TestANodeThatDiesMidwayIsWaitedForBeforeItsCopiesAreDoubled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 2)
		defer b.close()
		start := time.Now()
		f, err := b.put(content(6*bubbleStripe), func() { b.nodes[1].cut() })
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); f.Degraded && d < 9*time.Second {
			t.Errorf("stored degraded after %v; settle is 10 s", d)
		}
	})
}

func TestACopyThatWasPlacedAgainLeavesTheFileWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 4)
		defer b.close()
		f, err := b.put(content(6*bubbleStripe), func() { b.nodes[1].freeze() })
		if err != nil {
			t.Fatal(err)
		}
		repairs, err := b.cat.Repairs(b.ctx, raid.PartCursor{}, 100)
		if err != nil {
			t.Fatal(err)
		}
		if f.Degraded != (len(repairs) > 0) {
			t.Errorf("degraded is %v with %d parts to repair", f.Degraded, len(repairs))
		}
	})
}

func TestHedgedReadsAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 3)
		defer b.close()
		f, err := b.put(content(4*bubbleStripe), nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			if _, err := b.get(f); err != nil {
				t.Fatal(err)
			}
		}
		if s := b.store.Stats(); s.Hedged > 8 {
			t.Errorf("%d hedged reads although every node answers at once", s.Hedged)
		}
	})
}

func TestATwoNodeArrayWaitsForItsHungNodeThenStoresDegraded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 2)
		defer b.close()
		b.nodes[0].freeze()
		time.Sleep(2 * time.Second)
		start := time.Now()
		f, err := b.put(content(1000), nil)
		if err != nil || !f.Degraded {
			t.Fatalf("degraded %v, %v", f.Degraded, err)
		}
		if d := time.Since(start); d < 5*time.Second || d > 15*time.Second {
			t.Errorf("settle is 10 s, the upload took %v", d)
		}
	})
}

func TestRangesFetchOnlyTheBlocksTheyNeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 3)
		defer b.close()
		body := content(4 * bubbleStripe)
		f, err := b.put(body, nil)
		if err != nil {
			t.Fatal(err)
		}
		r, err := b.store.Open(b.ctx, f)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		at := int64(bubbleStripe + raid.BlockSize - 5)
		if _, err := r.Seek(at, 0); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if _, err := r.WriteN(&out, 10); err != nil || !bytes.Equal(out.Bytes(), body[at:at+10]) {
			t.Fatalf("%x, %v", out.Bytes(), err)
		}
		var fetched int64
		for _, n := range b.nodes {
			fetched += n.getBytes
		}
		if fetched != 2*raid.BlockSize {
			t.Errorf("10 bytes across a block border fetched %d bytes, not two blocks", fetched)
		}
	})
}

func TestWrongBytesFromANodeAreNeverServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 3)
		defer b.close()
		body := content(2*bubbleStripe + 5)
		f, err := b.put(body, nil)
		if err != nil {
			t.Fatal(err)
		}
		liar := b.nodes[0] // its checksums fit its bytes, but not the catalog
		for name, c := range liar.chunks {
			if len(c.payload) > 0 {
				c.payload[0] ^= 1
				c.meta.Blocks = raid.BlockChecksums(c.payload)
				liar.chunks[name] = c
			}
		}
		for range 20 {
			if got, err := b.get(f); err != nil || !bytes.Equal(got, body) {
				t.Fatalf("read: %v", err)
			}
		}
		if b.store.Stats().Corrupt == 0 {
			t.Error("nothing was counted as corrupt")
		}
	})
}

func TestBodiesOfAnotherLengthThanAnnouncedStoreNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 3)
		defer b.close()
		for _, announced := range []int64{0, 99, 101, bubbleStripe, bubbleStripe + 1} {
			_, err := b.store.Upload(b.ctx, Upload{
				Size: announced, Bound: -1, Body: strings.NewReader(strings.Repeat("x", 100)),
				Describe: func() (Description, error) { return Description{Filename: "f"}, nil },
			})
			if !errors.Is(err, raid.ErrInvalid) {
				t.Errorf("100 bytes announced as %d: %v", announced, err)
			}
		}
		if n, err := b.cat.Counts(b.ctx); err != nil || n.Files != 0 {
			t.Errorf("%d files, %v", n.Files, err)
		}
	})
}

// A node that says of its own disk that it hangs is asked last and given nothing.
func TestANodeWhoseDiskHangsIsPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 3)
		defer b.close()
		body := content(2 * bubbleStripe)
		f, err := b.put(body, nil)
		if err != nil {
			t.Fatal(err)
		}
		n := b.nodes[0]
		n.stall.Store(int64(7 * time.Second))
		n.hangDisk()
		time.Sleep(5 * time.Second) // for a heartbeat
		had := len(n.chunks)
		began := time.Now()
		for range 20 {
			if got, err := b.get(f); err != nil || !bytes.Equal(got, body) {
				t.Fatalf("read: %v", err)
			}
		}
		if _, err := b.put(body, nil); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 100*time.Millisecond || len(n.chunks) != had {
			t.Errorf("it took %v, and the node got %d chunks", took, len(n.chunks)-had)
		}
		info := b.store.cfg.Nodes.Nodes()
		i := slices.IndexFunc(info, func(i raid.NodeInfo) bool { return i.State == raid.Suspect })
		if i < 0 || !strings.Contains(info[i].Problem, "7s") {
			t.Errorf("nobody is told: %+v", info)
		}
		n.stall.Store(0)
		n.thaw()
		time.Sleep(5 * time.Second)
		if len(b.store.cfg.Nodes.Candidates()) != 3 {
			t.Error("it answers again, and gets nothing")
		}
	})
}
