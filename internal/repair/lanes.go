package repair

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// laneRoom bounds the parts that wait for one node.
	laneRoom = 64
	// laneWidth is the number of parts of one lane that are repaired at the same time, so that their
	// reads, writes and flushes overlap.
	laneWidth = 16
	// atOnce is the number of parts that are repaired at the same time in all lanes. Each holds a
	// part's bytes, whose sum the Maker bounds.
	atOnce = 64
	// slowTask is when a lane is passed over by those who would wait for room in it.
	slowTask = 3 * time.Second
	// laneWait bounds the wait for one lane in all, also when it moves: others have
	// parts, too.
	laneWait = time.Minute
)

// task is one part that is to be repaired.
type task struct {
	repair raid.Repair
	tally  *tally // of the scan that has found it; nil: its row is flawed
}

// lanes repair parts: some at a time of those that wait for the same node, and those
// of several nodes at once. So a node that hangs holds up nobody's parts but its own.
type lanes struct {
	do    func(ctx context.Context, node raid.NodeID, t task) (silent bool, err error)
	again func() // a part with a flawed row was in a scan's task, which is over
	pace  Pace
	slots chan struct{} // one for each task under way

	mu    sync.Mutex
	of    map[raid.NodeID]*lane
	busy  map[raid.PartCursor]*entry // in some lane
	freed chan struct{}              // closed and replaced when a task is over
}

// entry is a part that is in a lane.
type entry struct {
	tally  *tally // its task's
	flawed bool   // it was offered for its flawed row meanwhile
}

// lane are the parts that wait for one node. It is there while there are any.
type lane struct {
	tasks   []task
	workers int
	done    int           // tasks: one worker alone finds out whether the node answers
	moved   time.Time     // when a task was over last, or it began
	waited  time.Duration // by those who wanted room in it
}

func (l *lane) slow() bool { return time.Since(l.moved) > slowTask }

func newLanes(pace Pace, again func(), do func(context.Context, raid.NodeID, task) (bool, error)) *lanes {
	return &lanes{
		do: do, again: again, pace: pace, slots: make(chan struct{}, atOnce),
		of: map[raid.NodeID]*lane{}, busy: map[raid.PartCursor]*entry{}, freed: make(chan struct{}),
	}
}

// offer has a part repaired in a node's lane, unless it is in one already. It waits for
// room in the lane while that moves, but not for ever, and returns false when it got none.
// When the part is in a lane for another reason, what is done there may not be what it needs. It
// is looked at once more after that.
func (ls *lanes) offer(ctx context.Context, g *errgroup.Group, node raid.NodeID, t task) bool {
	key := t.repair.Cursor()
	for ctx.Err() == nil {
		ls.mu.Lock()
		l := ls.of[node]
		if l == nil {
			l = &lane{moved: time.Now()}
		}
		if e := ls.busy[key]; e != nil {
			if e.tally != t.tally {
				e.flawed = e.flawed || t.tally == nil
				t.tally.missed(t.repair.Part.Length)
			}
			ls.mu.Unlock()
			return true
		}
		if len(l.tasks) < laneRoom {
			ls.put(ctx, g, node, l, t)
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

// put has a task wait in a lane, and begins a worker when there are few. Callers hold mu.
func (ls *lanes) put(ctx context.Context, g *errgroup.Group, node raid.NodeID, l *lane, t task) {
	ls.of[node] = l
	l.tasks = append(l.tasks, t)
	ls.busy[t.repair.Cursor()] = &entry{tally: t.tally}
	t.tally.begin()
	ls.widen(ctx, g, node, l)
}

// widen begins workers while there are too few for what waits. Callers hold mu.
func (ls *lanes) widen(ctx context.Context, g *errgroup.Group, node raid.NodeID, l *lane) {
	for n := min(laneWidth, 1+l.done, l.workers+len(l.tasks)); l.workers < n; l.workers++ {
		g.Go(func() error { return ls.run(ctx, g, node, l) })
	}
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
func (ls *lanes) run(ctx context.Context, g *errgroup.Group, node raid.NodeID, l *lane) error {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	defer func() { l.workers-- }()
	for {
		if len(l.tasks) == 0 || ctx.Err() != nil {
			if l.workers == 1 || ctx.Err() != nil {
				ls.end(node, l)
			}
			return nil
		}
		t := l.tasks[0]
		l.tasks = l.tasks[1:]
		ls.mu.Unlock()
		silent, err := ls.one(ctx, node, t)
		t.tally.end()
		ls.mu.Lock()
		ls.free(&t.repair)
		l.moved = time.Now()
		if silent || err != nil {
			ls.end(node, l)
			return err
		}
		l.done++
		ls.widen(ctx, g, node, l)
		ls.tell()
	}
}

// free notes that a part is in no lane any more. Callers hold mu.
func (ls *lanes) free(w *raid.Repair) {
	key := w.Cursor()
	if e := ls.busy[key]; e != nil && e.flawed {
		ls.again()
	}
	delete(ls.busy, key)
}

func (ls *lanes) one(ctx context.Context, node raid.NodeID, t task) (silent bool, err error) {
	select {
	case ls.slots <- struct{}{}:
		defer func() { <-ls.slots }()
	case <-ctx.Done():
		return false, nil
	}
	end, err := ls.pace.Begin(ctx)
	if err != nil {
		return false, nil
	}
	defer end()
	return ls.do(ctx, node, t)
}

// end takes a lane away. Callers hold mu.
func (ls *lanes) end(node raid.NodeID, l *lane) {
	for _, t := range l.tasks {
		ls.free(&t.repair)
		t.tally.missed(t.repair.Part.Length)
		t.tally.end()
	}
	l.tasks = nil
	if ls.of[node] == l {
		delete(ls.of, node)
	}
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

// collectSoon has a node cleaned in a loop of its own, which ends with its session. A node
// that hangs while it is asked holds up no other.
func (r *Repairer) collectSoon(ctx context.Context, p *membership.Peer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.cleanings[p.ID()]; c != nil && c.session == p.Session() {
		wake(c.wake)
		return
	}
	c := &cleaning{session: p.Session(), wake: make(chan struct{}, 1)}
	r.cleanings[p.ID()] = c
	r.group.Go(func() error {
		err := r.loop(ctx, p.Done(), c.wake, func(ctx context.Context) (bool, error) {
			awaitAnswers(ctx, p)
			return r.collectNode(ctx, p)
		})
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.cleanings[p.ID()] == c {
			delete(r.cleanings, p.ID())
		}
		return err
	})
}

// awaitAnswers returns when a node is not suspect any more, or its session is over. That it
// answers again it tells nobody, and a pause that doubles would outlast that by minutes.
func awaitAnswers(ctx context.Context, p *membership.Peer) {
	if !p.Suspect() {
		return
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for p.Suspect() {
		select {
		case <-ctx.Done():
			return
		case <-p.Done():
			return
		case <-look.C:
		}
	}
}
