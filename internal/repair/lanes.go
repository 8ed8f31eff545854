package repair

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/raidpi/raidpi/internal/catalog"
	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// laneRoom bounds the parts that wait for one node.
	laneRoom = 32
	// atOnce is how many parts are mended at the same time. Each holds a part's bytes,
	// which come from the budget of all requests.
	atOnce = 4
	// slowTask is when a lane is passed over by those who would wait for room in it.
	slowTask = 3 * time.Second
	// laneWait is how long in all one lane is waited for, also when it moves: others have
	// parts, too.
	laneWait = time.Minute
)

// task is one part that is to be mended.
type task struct{ repair raid.Repair }

// lanes mend parts: one after the other of those that wait for the same node, and those
// of several nodes at once. So a node that hangs holds up nobody's parts but its own.
type lanes struct {
	do    func(ctx context.Context, node raid.NodeID, t task) (silent bool, err error)
	slots chan struct{} // one for each task under way

	mu    sync.Mutex
	of    map[raid.NodeID]*lane
	busy  map[catalog.RepairCursor]bool // in some lane
	freed chan struct{}                 // closed and replaced when a task is over
}

// lane are the parts that wait for one node. It is there while there are any.
type lane struct {
	tasks  []task
	began  time.Time     // of the task that is done now
	waited time.Duration // by those who wanted room in it
}

func (l *lane) slow() bool { return time.Since(l.began) > slowTask }

func newLanes(do func(context.Context, raid.NodeID, task) (bool, error)) *lanes {
	return &lanes{
		do: do, slots: make(chan struct{}, atOnce),
		of: map[raid.NodeID]*lane{}, busy: map[catalog.RepairCursor]bool{}, freed: make(chan struct{}),
	}
}

// offer has a part mended in a node's lane, unless it is in one already. It waits for
// room in the lane while that moves, but not for ever, and returns false when it got none.
func (ls *lanes) offer(ctx context.Context, g *errgroup.Group, node raid.NodeID, t task) bool {
	key := catalog.Cursor(t.repair)
	for ctx.Err() == nil {
		ls.mu.Lock()
		l := ls.of[node]
		switch {
		case ls.busy[key]:
			ls.mu.Unlock()
			return true
		case l == nil:
			l = &lane{began: time.Now()}
			ls.of[node] = l
			g.Go(func() error { return ls.run(ctx, node, l) })
			fallthrough
		case len(l.tasks) < laneRoom:
			l.tasks = append(l.tasks, t)
			ls.busy[key] = true
			ls.mu.Unlock()
			return true
		}
		passed, freed := l.slow() || l.waited > laneWait, ls.freed
		ls.mu.Unlock()
		if passed {
			return false
		}
		began := time.Now()
		ls.wait(ctx, freed)
		ls.mu.Lock()
		l.waited += time.Since(began)
		ls.mu.Unlock()
	}
	return false
}

func (ls *lanes) wait(ctx context.Context, freed <-chan struct{}) {
	t := time.NewTimer(slowTask)
	defer t.Stop()
	select {
	case <-freed:
	case <-t.C:
	case <-ctx.Done():
	}
}

// settle waits until all lanes are empty, or slow, and reports whether they are empty.
func (ls *lanes) settle(ctx context.Context) (empty bool) {
	for {
		ls.mu.Lock()
		moving := false
		for _, l := range ls.of {
			moving = moving || !l.slow()
		}
		empty, freed := len(ls.of) == 0, ls.freed
		ls.mu.Unlock()
		if !moving || ctx.Err() != nil {
			return empty
		}
		ls.wait(ctx, freed)
	}
}

// run does a lane's tasks. When the node does not answer, the others of the lane are
// given up: whoever planned them will do so again.
func (ls *lanes) run(ctx context.Context, node raid.NodeID, l *lane) error {
	for {
		ls.mu.Lock()
		if len(l.tasks) == 0 || ctx.Err() != nil {
			ls.end(node, l)
			ls.mu.Unlock()
			return nil
		}
		t := l.tasks[0]
		l.tasks, l.began = l.tasks[1:], time.Now()
		ls.mu.Unlock()
		silent, err := ls.one(ctx, node, t)
		ls.mu.Lock()
		delete(ls.busy, catalog.Cursor(t.repair))
		if silent || err != nil {
			ls.end(node, l)
			ls.mu.Unlock()
			return err
		}
		ls.tell()
		ls.mu.Unlock()
	}
}

func (ls *lanes) one(ctx context.Context, node raid.NodeID, t task) (silent bool, err error) {
	select {
	case ls.slots <- struct{}{}:
		defer func() { <-ls.slots }()
	case <-ctx.Done():
		return false, nil
	}
	return ls.do(ctx, node, t)
}

// end takes a lane away. Callers hold mu.
func (ls *lanes) end(node raid.NodeID, l *lane) {
	for _, t := range l.tasks {
		delete(ls.busy, catalog.Cursor(t.repair))
	}
	delete(ls.of, node)
	ls.tell()
}

// tell wakes those who wait for a task to be over. Callers hold mu.
func (ls *lanes) tell() {
	close(ls.freed)
	ls.freed = make(chan struct{})
}

// cleaning is the loop that cleans one session of a node.
type cleaning struct {
	session raid.SessionID
	wake    chan struct{}
}

// cleanSoon has a node cleaned in a loop of its own, which ends with its session. A node
// that hangs while it is asked holds up no other.
func (r *Repairer) cleanSoon(ctx context.Context, p *membership.Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.cleanings[p.ID()]; c != nil && c.session == p.Session() {
		wake(c.wake)
		return
	}
	c := &cleaning{session: p.Session(), wake: make(chan struct{}, 1)}
	r.cleanings[p.ID()] = c
	r.group.Go(func() error {
		err := r.loop(ctx, p.Done(), c.wake, func(ctx context.Context) (bool, error) { return r.cleanNode(ctx, p) })
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.cleanings[p.ID()] == c {
			delete(r.cleanings, p.ID())
		}
		return err
	})
}
