package repair

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
	"github.com/raidpi/raidpi/internal/zmtp/memnet"
)

// crowd is a Repairer and several nodes, in a bubble.
type crowd struct {
	t       *testing.T
	members *membership.Members
	repair  *Repairer
	nodes   []raid.NodeID
	disks   []*disk
	down    []func() // ends a node
	up      []func() // starts it again
	queue   *queue
	told    told
	stop    func()
	again   func() // ends the Repairer and starts another, as a controller's restart does
}

// crowdGrace is how long its nodes may be away or hang.
const crowdGrace = 20 * time.Minute

// newCrowd makes n nodes. begin starts the Repairer; stop must be called at the end.
func newCrowd(t *testing.T, n int, copies Copies, m Maker) *crowd {
	t.Helper()
	c := &crowd{t: t, queue: &queue{known: map[raid.UploadID]bool{}}}
	log := slog.New(slog.DiscardHandler)
	network := &memnet.Network{}
	listen := func(addr string) net.Listener {
		l, err := network.Listen(addr)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	c.members = membership.New(membership.Config{
		Save: func(context.Context, raid.NodeRecord) error { return nil }, Knows: func(uint64) bool { return true },
		Settle: time.Second, Window: 8 << 20, Log: log,
	})
	hub := wire.NewHub(wire.HubConfig{
		Array: raid.ArrayID(newID(t)), Store: listen("c:5557"), Response: listen("c:5558"), Request: listen("c:5559"),
		Plaintext: wire.PlaintextAny, Commit: func() uint64 { return lastKnown }, Observer: c.members, Log: log,
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = hub.Run(ctx) })
	wg.Go(func() { _ = c.members.Run(ctx) })
	for i := range n {
		d := &disk{beat: wire.Heartbeat{TotalBytes: 1 << 40, FreeBytes: 1 << 30, Scanned: true, HighestCommit: lastKnown}, chunks: map[raid.ChunkName]bool{}}
		id := raid.NodeID(newID(t))
		start := func() {
			link := wire.NewLink(wire.LinkConfig{
				Dial: func(ctx context.Context, _, addr string) (net.Conn, error) {
					return network.DialFrom(ctx, fmt.Sprintf("pi%d", i), addr)
				},
				StoreAddr: "c:5557", ResponseAddr: "c:5558", RequestAddr: "c:5559", Plaintext: wire.PlaintextAny,
				Node: id, Adopt: func(raid.ArrayID) error { return nil }, Handler: d, Pool: budget.New(1 << 20),
				State: d.said, Random: rand.Reader,
			})
			nctx, end := context.WithCancel(ctx)
			c.down[i] = end
			wg.Go(func() { _ = link.Run(nctx) })
		}
		c.nodes, c.disks, c.up, c.down = append(c.nodes, id), append(c.disks, d), append(c.up, start), append(c.down, nil)
		start()
	}
	held, _ := copies.(Held)
	spares, _ := copies.(SurplusCopies)
	losses, real := copies.(Losses)
	if !real {
		losses = none{}
	}
	cfg := Config{
		Queue: c.queue, Copies: copies, Losses: losses, Held: held, Surplus: spares, Maker: m, Nodes: c.members, Run: thisRun, Grace: crowdGrace, Tell: c.told.tell, Log: log,
	}
	c.repair = New(cfg)
	c.stop = func() { cancel(); wg.Wait() }
	for len(c.members.Natives()) < n {
		time.Sleep(100 * time.Millisecond)
	}
	run := func() (end func()) {
		ctx, cancel := context.WithCancel(ctx)
		over := make(chan struct{})
		r := c.repair
		wg.Go(func() {
			defer close(over)
			_ = r.Run(ctx)
		})
		return func() { cancel(); <-over }
	}
	end := run()
	c.again = func() {
		end()
		c.repair = New(cfg)
		end = run()
	}
	return c
}

// rows is a catalog of parts to repair.
type rows struct {
	mu   sync.Mutex
	left []raid.Repair
	done []raid.PartCursor
}

func (r *rows) Stored(_ context.Context, id raid.FileID) (raid.File, error) {
	return raid.File{ID: id}, nil
}

func (r *rows) Repairs(_ context.Context, after raid.PartCursor, limit int) (out []raid.Repair, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.left {
		if w.File > after.File && len(out) < limit {
			w.Part.Copies = slices.Clone(w.Part.Copies)
			out = append(out, w)
		}
	}
	return out, nil
}

func (r *rows) ReplaceCopy(_ context.Context, file raid.FileID, _ int64, _ int, old, fresh raid.Copy) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.left, func(w raid.Repair) bool { return w.File == file })
	if i < 0 {
		return raid.ErrPrecondition
	}
	copies := slices.Clone(r.left[i].Part.Copies)
	copies[old.Index-1] = fresh
	r.left[i].Part.Copies = copies
	if _, flawed := flawed(&r.left[i].Part); !flawed {
		r.done = append(r.done, r.left[i].Cursor())
		r.left = slices.Delete(r.left, i, i+1)
	}
	return nil
}

func (r *rows) ReplaceLost(ctx context.Context, file raid.FileID, stripe int64, part int, old, fresh raid.Copy) error {
	return r.ReplaceCopy(ctx, file, stripe, part, old, fresh)
}

func (r *rows) Record(context.Context, []raid.Removal) error { return nil }

func (r *rows) waiting() int { r.mu.Lock(); defer r.mu.Unlock(); return len(r.left) }

// add adds so many parts with a bad copy on one node and another copy, good or not, on a
// second.
func (r *rows) add(n int, bad, other raid.NodeID, good bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for range n {
		r.left = append(r.left, raid.Repair{File: raid.FileID(len(r.left) + len(r.done) + 1), Part: raid.Part{Number: 1, Copies: []raid.Copy{
			{Index: 1, Attempt: 1, Node: bad, Bad: true}, {Index: 2, Attempt: 2, Node: other, Bad: !good},
		}}})
	}
}

// hands make copies anew, and hang or fail by node.
type hands struct {
	mu     sync.Mutex
	hangs  map[raid.NodeID]bool // whose copies can't be read to an end
	rotten map[raid.NodeID]bool // whose copies are
	full   bool                 // no node has room
	inVain int                  // so many copies are not kept by who takes them
	tries  map[raid.NodeID]int  // checks by node
	remade int
	atOnce int
	most   int // at the same time
}

func newHands() *hands {
	return &hands{hangs: map[raid.NodeID]bool{}, rotten: map[raid.NodeID]bool{}, tries: map[raid.NodeID]int{}}
}

func (h *hands) enter(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.atOnce += n
	h.most = max(h.most, h.atOnce)
}

func (h *hands) set(f func()) { h.mu.Lock(); defer h.mu.Unlock(); f() }

func (h *hands) Check(ctx context.Context, _ raid.File, _ raid.Part, c raid.Copy) error {
	h.enter(1)
	defer h.enter(-1)
	h.mu.Lock()
	h.tries[c.Node]++
	hangs := h.hangs[c.Node]
	h.mu.Unlock()
	if hangs {
		ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
		defer cancel()
		<-ctx.Done()
		return raid.ErrExpired
	}
	time.Sleep(20 * time.Millisecond)
	return raid.ErrCorrupt
}

func (h *hands) Rereplicate(_ context.Context, _ raid.File, p raid.Part, m raid.Move) (raid.Copy, error) {
	h.enter(1)
	defer h.enter(-1)
	time.Sleep(20 * time.Millisecond)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch good := slices.ContainsFunc(p.Copies, func(c raid.Copy) bool { return !c.Bad || !h.rotten[c.Node] }); {
	case h.full:
		return raid.Copy{}, raid.ErrArrayFull
	case h.inVain > 0:
		h.inVain--
		return raid.Copy{Index: m.Old.Index, Attempt: 400 + h.inVain, Node: "faithless"}, raid.ErrTooFewNodes
	case !good:
		return raid.Copy{}, raid.ErrCorrupt
	}
	h.remade++
	return raid.Copy{Index: m.Old.Index, Attempt: 500 + h.remade, Node: raid.NodeID(fmt.Sprint("new", h.remade))}, nil
}

// Many parts are rotten in both copies, or wait for a node that hangs. What
// comes after them in the catalog is repaired at once.
func TestWhatCanBeMendedGoesFirstAndWhatCanNotWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h := &rows{}, newHands()
		c := newCrowd(t, 4, r, h)
		defer c.stop()
		a, b, slow, d := c.nodes[0], c.nodes[1], c.nodes[2], c.nodes[3]
		h.set(func() { h.hangs[slow] = true; h.rotten[a], h.rotten[b] = true, true })
		r.add(400, a, b, false)
		r.add(400, slow, d, true)
		r.add(100, d, "away", true)
		r.add(100, b, d, true)
		began := time.Now()
		c.repair.Wake()
		for r.waiting() > 900 && time.Since(began) < time.Hour {
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("what could be mended took %v", took)
		}
		time.Sleep(3 * time.Minute) // the rest is tried once, and then rests
		h.mu.Lock()
		tried, onSlow, onA := h.remade, h.tries[slow], h.tries[a]
		h.mu.Unlock()
		if onA > 400 || onSlow > 10 || tried < 100 {
			t.Errorf("checked %d on a rotten node and %d on one that hangs, %d made anew", onA, onSlow, tried)
		}
		if h.most > atOnce {
			t.Errorf("%d were under way at the same time", h.most)
		}
		time.Sleep(6 * time.Minute)
		h.mu.Lock()
		if h.tries[a] != onA || h.tries[slow] > onSlow+3 {
			t.Errorf("in six minutes without an event %d and %d more", h.tries[a]-onA, h.tries[slow]-onSlow)
		}
		h.hangs[slow] = false
		h.mu.Unlock()
		time.Sleep(6 * time.Minute)
		if n := r.waiting(); n > 500 {
			t.Errorf("%d wait after the node answers again", n)
		}
	})
}

// A node that hangs is given no more time than one that is away.
func TestWhatHangsForLongerThanGraceIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h := &rows{}, newHands()
		c := newCrowd(t, 3, r, h)
		defer c.stop()
		h.set(func() { h.hangs[c.nodes[0]] = true })
		r.add(200, c.nodes[0], c.nodes[1], true)
		c.repair.Wake()
		time.Sleep(crowdGrace - time.Minute)
		if r.waiting() != 200 {
			t.Errorf("%d wait before", r.waiting())
		}
		time.Sleep(3 * time.Minute)
		if r.waiting() != 0 {
			t.Errorf("%d wait after", r.waiting())
		}
	})
}

// A node that takes a copy and has it not is no reason to wait: another one may do.
func TestACopyThatANodeDidNotKeepIsMadeElsewhereAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h := &rows{}, newHands()
		c := newCrowd(t, 2, r, h)
		defer c.stop()
		h.set(func() { h.inVain = anew })
		r.add(20, c.nodes[0], c.nodes[1], true)
		c.repair.Wake()
		time.Sleep(10 * time.Second)
		if r.waiting() != 0 {
			t.Errorf("%d wait", r.waiting())
		}
	})
}

// Room on a node that is full, and a node that comes back, are events.
func TestWhatWaitsIsMendedWhenSomethingHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h := &rows{}, newHands()
		c := newCrowd(t, 3, r, h)
		defer c.stop()
		for _, d := range c.disks {
			d.says(wire.Heartbeat{TotalBytes: 1 << 40, FreeBytes: 1 << 10, Scanned: true, HighestCommit: lastKnown})
		}
		time.Sleep(10 * time.Second)
		h.set(func() { h.full = true })
		r.add(50, c.nodes[0], c.nodes[1], true)
		c.repair.Wake()
		time.Sleep(3 * time.Minute)
		h.set(func() { h.full = false })
		time.Sleep(7 * time.Minute)
		if r.waiting() != 50 || h.tries[c.nodes[0]] > 51 {
			t.Errorf("%d wait for room, tried %d times", r.waiting(), h.tries[c.nodes[0]])
		}
		c.disks[2].says(wire.Heartbeat{TotalBytes: 1 << 40, FreeBytes: 1 << 30, Scanned: true, HighestCommit: lastKnown})
		time.Sleep(20 * time.Second)
		if r.waiting() != 0 {
			t.Errorf("%d wait after there is room", r.waiting())
		}
		c.down[0]()
		time.Sleep(time.Minute)
		r.add(50, c.nodes[0], c.nodes[1], true)
		c.repair.Wake()
		time.Sleep(time.Minute)
		if r.waiting() != 50 {
			t.Errorf("%d wait for a node that went a minute ago", r.waiting())
		}
		c.up[0]()
		time.Sleep(20 * time.Second)
		if r.waiting() != 0 {
			t.Errorf("%d wait after it came back", r.waiting())
		}
	})
}

// A copy on a node that is away too long is made anew as soon as that is so.
func TestGraceEndsByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h := &rows{}, newHands()
		c := newCrowd(t, 2, r, h)
		defer c.stop()
		c.down[0]()
		time.Sleep(time.Minute)
		r.add(1, c.nodes[0], c.nodes[1], true)
		c.repair.Wake()
		time.Sleep(crowdGrace - 2*time.Minute)
		if r.waiting() != 1 {
			t.Error("it was made anew before")
		}
		time.Sleep(2 * time.Minute)
		if r.waiting() != 0 {
			t.Error("it waits yet")
		}
	})
}

// A node that hangs while it lists, or deletes, keeps no other from being cleaned.
func TestANodeThatHangsKeepsNoOtherFromBeingCleaned(t *testing.T) {
	for name, hang := range map[string]func(d *disk, over <-chan struct{}){
		"in a listing": func(d *disk, over <-chan struct{}) { d.onList = func(wire.ListRequest) { <-over } },
		"in a delete":  func(d *disk, over <-chan struct{}) { d.onDelete = func() { <-over } },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				over := make(chan struct{})
				c := newCrowd(t, 3, &whole{}, newHands())
				defer c.stop()
				time.Sleep(10 * time.Second)
				c.disks[0].mu.Lock()
				hang(c.disks[0], over)
				c.disks[0].mu.Unlock()
				defer close(over)
				c.queue.mu.Lock()
				for _, n := range c.nodes {
					c.queue.removals = append(c.queue.removals, raid.Removal{Node: n, Key: newKey(t)})
				}
				c.queue.mu.Unlock()
				c.members.SetCleanedRun(c.nodes[0], 0) // so that it is listed
				c.repair.Wake()
				time.Sleep(time.Second)
				if n := c.queue.waiting(); n > 1 {
					t.Errorf("%d removals wait, want that of the node that hangs alone", n)
				}
				// It goes on so: later ones of others are not held up either.
				for range 3 {
					c.queue.mu.Lock()
					c.queue.removals = append(c.queue.removals, raid.Removal{Node: c.nodes[1], Key: newKey(t)})
					c.queue.mu.Unlock()
					c.repair.Wake()
					time.Sleep(time.Second)
					if n := c.queue.waiting(); n > 1 {
						t.Errorf("later %d removals wait", n)
					}
				}
			})
		})
	}
}

func TestABrokenCatalogEndsAllLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &failing{replaced: raid.ErrCatalogBroken}
		r := mender(f, func() (raid.Copy, error) { return raid.Copy{Index: 1, Attempt: 9, Node: "n"}, nil })
		r.cfg.Queue = &queue{}
		if err := r.Run(t.Context()); !errors.Is(err, raid.ErrCatalogBroken) {
			t.Errorf("run: %v", err)
		}
	})
}
