package repair

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// away makes copies on one node, while that is there.
type away struct {
	*hands
	crowd *crowd
	took  time.Duration // by each copy
}

func (a *away) Remake(ctx context.Context, f raid.File, p raid.Part, old raid.Copy) (raid.Copy, error) {
	time.Sleep(a.took)
	if _, ok := a.crowd.members.Peer(a.crowd.nodes[2]); !ok {
		return raid.Copy{}, raid.ErrTooFewNodes
	}
	return a.hands.Remake(ctx, f, p, old)
}

// A long pass of repair is under way. The only node that can take copies restarts in the
// middle of it, and is back before the pass ends: nothing is different from when it began.
func TestWhatFailedWhileANodeRestartedIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, a := &rows{}, &away{hands: newHands(), took: time.Second}
		c := newCrowd(t, 3, r, a)
		defer c.stop()
		a.crowd = c
		r.add(120, c.nodes[0], c.nodes[1], true)
		c.repair.Wake()
		time.Sleep(20 * time.Second)
		c.down[2]()
		time.Sleep(10 * time.Second)
		c.up[2]()
		time.Sleep(10 * time.Minute)
		if n := r.waiting(); n > 0 {
			t.Errorf("%d wait for a node that is there", n)
		}
	})
}

// No node tells that the controller's disk has room again, or that one has memory.
func TestWhatFailedForAReasonThatNoNodeTellsIsTriedAgain(t *testing.T) {
	for _, why := range []error{raid.ErrNoSpace, fmt.Errorf("%w: %w", errLater, raid.ErrBusy)} {
		synctest.Test(t, func(t *testing.T) {
			r := &rows{}
			var tries atomic.Int32
			m := maker(func() (raid.Copy, error) {
				if tries.Add(1) <= 4 {
					return raid.Copy{}, why
				}
				return raid.Copy{Index: 1, Attempt: 500, Node: "new"}, nil
			})
			c := newCrowd(t, 2, r, m)
			defer c.stop()
			r.add(1, "", c.nodes[1], true)
			c.repair.Wake()
			time.Sleep(10 * time.Second)
			if n := tries.Load(); n != 1 {
				t.Errorf("%v: tried %d times at once", why, n)
			}
			time.Sleep(time.Hour)
			if n := tries.Load(); r.waiting() > 0 || n != 5 {
				t.Errorf("%v: %d wait, tried %d times in an hour", why, r.waiting(), n)
			}
		})
	}
}
