package object

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// What an upload has sent and forgotten can't be sent again: it needs the nodes where that
// is. That this is true shows when the node goes.
func TestAnUploadDependsOnTheNodesOfItsFinishedStripes(t *testing.T) {
	for _, c := range []struct {
		name string
		cut  int // of the two nodes, after the other one
		ends bool
	}{{"both stay", 0, true}, {"one goes", 1, true}, {"both go", 2, false}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, 3)
				defer b.close()
				body := content(8 * bubbleStripe)
				looked := false
				_, err := b.store.Upload(b.ctx, Upload{
					Size: int64(len(body)), Bound: -1, Describe: named(nil),
					Body: &pausing{r: bytes.NewReader(body), at: 7 * bubbleStripe, pause: func() error {
						looked = true
						set := b.setOfStripe(0)
						b.wantDepending(set[0].id, b.nodes, 0)
						b.wantDepending(set[0].id, set[:1], 1)
						b.wantDepending(set[1].id, set[1:], 1)
						b.wantDepending(set[0].id, nil, 1)
						b.wantDepending("nobody", b.nodes, 0)
						for _, n := range set[:c.cut] {
							n.cut()
						}
						time.Sleep(time.Minute)
						return nil
					}},
				})
				if !looked || (err == nil) != c.ends {
					t.Errorf("looked: %v; it ended with %v", looked, err)
				}
				if n, _ := b.store.Depending(b.nodes[0].id, false, func(raid.NodeID) bool { return false }, false); n != 0 {
					t.Errorf("%d uploads are under way after the end", n)
				}
			})
		})
	}
}

// setOfStripe are the two nodes that have part 1 of a stripe.
func (b *bubble) setOfStripe(stripe int64) (set []*memNode) {
	b.t.Helper()
	for _, n := range b.nodes {
		for _, k := range n.stored() {
			if k.Stripe == stripe && k.Part == 1 {
				set = append(set, n)
			}
		}
	}
	if len(set) != 2 {
		b.t.Fatalf("part 1 of stripe %d is on %d nodes", stripe, len(set))
	}
	return set
}

func (b *bubble) wantDepending(on raid.NodeID, there []*memNode, want int) {
	b.t.Helper()
	uploads, n := b.store.Depending(on, false, func(id raid.NodeID) bool {
		for _, t := range there {
			if t.id == id {
				return true
			}
		}
		return false
	}, false)
	if uploads != 1 || n != want {
		b.t.Errorf("%d of %d uploads depend on %s, want %d of 1", n, uploads, on, want)
	}
}

func TestWhatAnUploadRestsOnIsBoundedAndNeverTooLittle(t *testing.T) {
	set := func(nodes ...raid.NodeID) []raid.Part {
		p := raid.Part{}
		for _, n := range nodes {
			p.Copies = append(p.Copies, raid.Copy{Node: n})
		}
		return []raid.Part{p}
	}
	for _, most := range []int{maxResting, 1, 0} {
		was := maxResting
		maxResting = most
		var r resting
		for range 3 {
			r.add(set("a", "b"))
			r.add(set("b", "c"))
			r.add(set("d", "d"))
			r.add(set(onLab, onLab))
			r.add(set("e", onLab))
		}
		maxResting = was
		if len(r.sets) > most {
			t.Errorf("%d sets are kept, %d are the most", len(r.sets), most)
		}
		for _, c := range []struct {
			node  raid.NodeID
			there string
			need  bool
			loose bool // may be said to be needed when it is not
		}{
			{"a", "abcde ", false, true}, {"a", "ace ", true, false}, {"c", "acde ", true, false},
			{"d", "abcde ", true, false}, {onLab, "abcde ", true, false}, {"e", "abcde", true, false},
			{"e", "abcde ", false, true}, {"f", "f", false, false},
		} {
			got := r.need(c.node, func(id raid.NodeID) bool { return bytes.ContainsRune([]byte(c.there), rune((string(id) + " ")[0])) })
			if got != c.need && (c.need || most > 9 || !c.loose) {
				t.Errorf("with %d sets, %q there: need of %q is %v", most, c.there, c.node, got)
			}
		}
	}
}
