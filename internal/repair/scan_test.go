package repair

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// told are the events of a Repairer.
type told struct {
	mu     sync.Mutex
	events []raid.Event
}

func (l *told) tell(e raid.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

func (l *told) kinds() (out []raid.EventKind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		out = append(out, e.Kind)
	}
	return out
}

func (a *array) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

// What a node held that is away for longer than grace is on other nodes again, without a
// write for any other chunk, and its own chunks are surplus.
func TestCopiesOfALostNodeAreMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArray(t)
		c := newCrowd(t, 3, a.catalog, a)
		defer c.stop()
		lost, b, other := c.nodes[0], c.nodes[1], c.nodes[2]
		a.set(func() { a.put = other })
		f := a.storeOn(30, [2]raid.NodeID{lost, b}, [2]raid.NodeID{b, other})
		c.down[0]()
		time.Sleep(crowdGrace - time.Minute)
		if a.on(lost, f) != 30 || len(c.told.kinds()) != 0 {
			t.Fatalf("before grace %d copies are left there; told %v", a.on(lost, f), c.told.kinds())
		}
		time.Sleep(2 * time.Minute)
		if a.on(lost, f) != 0 || a.on(other, f) != 60 || a.on(b, f) != 60 {
			t.Errorf("on the lost node %d, on others %d and %d", a.on(lost, f), a.on(other, f), a.on(b, f))
		}
		if now, err := a.catalog.Counts(t.Context()); err != nil || now.Degraded != 0 || now.Removals != 0 {
			t.Errorf("%+v, %v", now, err)
		}
		spare, _, _, err := a.catalog.Surpluses(t.Context(), lost, raid.SurplusCursor{}, 100)
		if err != nil || len(spare) != 30 {
			t.Errorf("%d surplus copies, %v", len(spare), err)
		}
		if p := c.repair.Progress(); p.PartsLeft != 0 || p.BlockedBy != "" || p.SecondsLeft != 0 {
			t.Errorf("progress %+v", p)
		}
		if got := c.told.kinds(); !slices.Equal(got, []raid.EventKind{raid.HealBegan, raid.HealEnded}) {
			t.Errorf("told %v", got)
		}
		commit := a.catalog.Commit()
		time.Sleep(24 * time.Hour)
		if a.catalog.Commit() != commit {
			t.Error("the catalog was written with nothing to do")
		}
		// A deleted file comes back from the trash, as it was before the node was lost.
		g := a.storeOn(1, [2]raid.NodeID{lost, b})
		time.Sleep(time.Minute)
		if a.on(lost, g) != 0 || a.on(other, g) != 1 {
			t.Errorf("of a file that came later %d copies are left there", a.on(lost, g))
		}
	})
}

// A node that comes back while its copies are being made again keeps those that are not.
func TestWhatIsNotMadeYetWhenANodeReturnsIsNotMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newArray(t)
		c := newCrowd(t, 3, a.catalog, a)
		defer c.stop()
		lost, b, other := c.nodes[0], c.nodes[1], c.nodes[2]
		a.set(func() { a.put, a.took = other, time.Minute })
		f := a.storeOn(400, [2]raid.NodeID{lost, b}, [2]raid.NodeID{b, other})
		c.down[0]()
		time.Sleep(crowdGrace + 5*time.Minute)
		before := c.repair.Progress()
		if before.PartsLeft == 0 || before.PartsLeft >= 400 {
			t.Errorf("in the middle: %+v", before)
		}
		c.up[0]()
		time.Sleep(2 * time.Minute)
		left := a.on(lost, f)
		time.Sleep(time.Hour)
		if left == 0 || a.on(lost, f) != left {
			t.Errorf("%d copies were left on it when it came, %d now", left, a.on(lost, f))
		}
		if p := c.repair.Progress(); p.PartsLeft != 0 {
			t.Errorf("progress %+v", p)
		}
	})
}

// An array that can't heal says what would help, tries no part all the time, and goes on
// by itself once there is room.
func TestAnArrayThatCanNotHealSaysWhatWouldHelp(t *testing.T) {
	for name, why := range map[string]struct {
		err   error
		words []string
	}{
		"no room": {raid.ErrArrayFull, []string{"20 copies", "add a node, or free 1 MiB"}},
		"no node": {raid.ErrTooFewNodes, []string{"20 copies", "each part wants 2: add a node"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newArray(t)
				c := newCrowd(t, 3, a.catalog, a)
				defer c.stop()
				lost, b, other := c.nodes[0], c.nodes[1], c.nodes[2]
				a.set(func() { a.put, a.fails = other, why.err })
				f := a.storeOn(20, [2]raid.NodeID{lost, b}, [2]raid.NodeID{b, other})
				c.down[0]()
				time.Sleep(crowdGrace + time.Hour)
				p := c.repair.Progress()
				for _, w := range why.words {
					if !strings.Contains(p.BlockedBy, w) {
						t.Errorf("%q does not say %q", p.BlockedBy, w)
					}
				}
				if got := c.told.kinds(); p.PartsLeft != 20 || !slices.Equal(got, []raid.EventKind{raid.HealBegan, raid.HealBlocked}) {
					t.Errorf("%+v, told %v", p, got)
				}
				if n := a.tries(); n > 20*8 {
					t.Errorf("tried %d times in an hour in which nothing happened", n)
				}
				a.set(func() { a.fails = nil })
				d := c.disks[2]
				d.mu.Lock()
				d.beat.FreeBytes = 5 << 20 // news of room
				d.mu.Unlock()
				time.Sleep(time.Minute)
				if a.on(lost, f) != 0 {
					t.Errorf("%d copies are left: %+v", a.on(lost, f), c.repair.Progress())
				}
				if got := c.told.kinds(); got[len(got)-1] != raid.HealEnded {
					t.Errorf("told %v", got)
				}
			})
		})
	}
}

// The room of a disk that is nearly full changes all the time. A scan of many rows is not made
// anew each time.
func TestRoomThatComesAndGoesCausesNoScanAfterScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := mender(&failing{}, nil)
		s := &scan{}
		r.renew(s)
		s.took = time.Second
		s.rest(true, false)
		other := r.look().room + 1
		s.room = other
		time.Sleep((scanRest - 1) * time.Second)
		if r.renew(s); !s.done || s.room != other {
			t.Error("it is made anew at once, or what is new of the room is forgotten")
		}
		time.Sleep(time.Second)
		if r.renew(s); s.done {
			t.Error("it is not made anew although there is other room")
		}
		s.took = time.Millisecond
		s.rest(true, false)
		s.room = other
		time.Sleep(scanLook)
		if r.renew(s); s.done {
			t.Error("a quick one is not made anew at the next look")
		}
	})
}
