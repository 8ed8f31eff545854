package repair

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/raidpi/raidpi/internal/raid"
)

// away makes copies on one node, while that is there.
type away struct {
	*hands
	crowd *crowd
	took  time.Duration // by each copy
}

func (a *away) Rereplicate(ctx context.Context, f raid.File, p raid.Part, m raid.Move) (raid.Copy, error) {
	time.Sleep(a.took)
	if _, ok := a.crowd.members.Peer(a.crowd.nodes[2]); !ok {
		return raid.Copy{}, raid.ErrTooFewNodes
	}
	return a.hands.Rereplicate(ctx, f, p, m)
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

// mute reads parts from a node that says nothing.
type mute struct {
	*hands
	from raid.NodeID
	took atomic.Int32
}

func (m *mute) Rereplicate(ctx context.Context, f raid.File, p raid.Part, mv raid.Move) (raid.Copy, error) {
	for _, c := range p.Copies {
		if !c.Bad && c.Node == m.from {
			m.took.Add(1)
			time.Sleep(10 * time.Second)
			return raid.Copy{}, fmt.Errorf("%w: %w", raid.ErrTooFewNodes, raid.ErrExpired)
		}
	}
	return m.hands.Rereplicate(ctx, f, p, mv)
}

// Many parts have their good copy on a node that is up and sends nothing. It is that one
// that is left alone, not the one whose copies of them are bad: others of its parts are
// repaired meanwhile.
func TestWhoIsReadInVainIsLeftAloneAndNotWhoseCopyIsBad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, m := &rows{}, &mute{hands: newHands()}
		c := newCrowd(t, 3, r, m)
		defer c.stop()
		x, s, z := c.nodes[0], c.nodes[1], c.nodes[2]
		m.set(func() { m.from = s })
		r.add(300, x, s, true)
		r.add(300, x, z, true)
		r.add(100, z, x, true)
		c.repair.Wake()
		time.Sleep(time.Minute)
		if n := r.waiting(); n != 300 {
			t.Errorf("%d wait, want the 300 that only the node has that sends nothing", n)
		}
		if n := m.took.Load(); n > 6 {
			t.Errorf("it was asked %d times in a minute", n)
		}
	})
}

// tardy has a node that answers each time just before it counts as hanging.
type tardy struct {
	*hands
	node raid.NodeID
}

func (s *tardy) Check(ctx context.Context, f raid.File, p raid.Part, c raid.Copy) error {
	if c.Node == s.node {
		time.Sleep(slowTask - 100*time.Millisecond)
	}
	return s.hands.Check(ctx, f, p, c)
}

// A node that is very slow, and does not hang, has a thousand bad copies. What comes after
// them in the catalog need not wait for all of those.
func TestANodeThatIsSlowDoesNotHoldUpTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := &rows{}, &tardy{hands: newHands()}
		c := newCrowd(t, 3, r, s)
		defer c.stop()
		s.node = c.nodes[0]
		r.add(1000, c.nodes[0], c.nodes[1], true)
		r.add(100, c.nodes[2], c.nodes[1], true)
		c.repair.Wake()
		time.Sleep(2 * time.Minute)
		if n := s.triesOf(c.nodes[2]); n != 100 {
			t.Errorf("%d parts of another node were tried in two minutes, want all 100", n)
		}
		time.Sleep(58 * time.Minute)
		if n := r.waiting(); n > 0 {
			t.Errorf("%d wait after an hour: the slow node is not used well", n)
		}
	})
}

func (h *hands) triesOf(node raid.NodeID) (n int) { h.set(func() { n = h.tries[node] }); return n }

// A scan makes a part, and meanwhile its row turns bad. What the scan does may not be what
// the row needs: who repairs flawed rows looks once more, and so does another scan.
func TestAPartThatIsInALaneForAnotherReasonIsLookedAtAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var again atomic.Int32
		hold := make(chan struct{})
		ls := newLanes(unpaced{}, func() { again.Add(1) }, func(context.Context, raid.NodeID, task) (bool, error) {
			<-hold
			return false, nil
		})
		g := &errgroup.Group{}
		part := raid.Repair{File: 7, Part: raid.Part{Stripe: 1, Number: 2, Length: 100}}
		first, later := newTally(), newTally()
		for _, tl := range []*tally{first, first, nil, later} {
			if !ls.offer(t.Context(), g, "n", task{repair: part, tally: tl}) {
				t.Error("it found no room")
			}
		}
		synctest.Wait()
		if n := again.Load(); n != 0 {
			t.Errorf("looked at again %d times while it is made", n)
		}
		close(hold)
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		if n := again.Load(); n != 1 {
			t.Errorf("looked at again %d times", n)
		}
		if first.left().parts != 0 || later.left().parts != 1 || !later.passes() {
			t.Errorf("left by the scan that makes it: %+v, by a later one: %+v", first.left(), later.left())
		}
	})
}

// gone is a catalog whose files were deleted after their rows were read.
type gone struct{ *rows }

func (gone) File(context.Context, raid.FileID) (raid.File, error) {
	return raid.File{}, raid.ErrNotFound
}

func TestPartsOfAFileThatIsGoneAreNotLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := gone{&rows{}}
		c := newCrowd(t, 2, r, newHands())
		defer c.stop()
		r.add(3, c.nodes[0], c.nodes[1], true)
		c.repair.Wake()
		time.Sleep(time.Minute)
		if p := c.repair.Progress(); p.PartsLeft != 0 {
			t.Errorf("progress %+v", p)
		}
	})
}
