// Package repair keeps the nodes as the catalog wants them. It removes chunks on recorded evidence
// and clears what earlier runs of the controller left behind. It makes bad, missing and degraded
// copies again, and those on nodes that were removed from the array.
//
// Nothing is removed but what is on record: the chunks of a deleted file, of an abandoned upload,
// of a copy that was placed again. Chunks of uploads of earlier runs that the catalog has no trace
// of go to their nodes' trash. And nothing at all is removed while a node is known that has seen a
// newer catalog.
//
// # Who waits for whom
//
// Each node is cleaned in a loop of its own. Each part to be repaired waits in the lane of one
// node, several lanes moving at once. So a node that hangs holds up its own work alone. Parts with
// a good copy go first. A part that can't be repaired waits, in memory, until something happens to
// its nodes or to the room elsewhere. The catalog is not written for it.
//
// An idle Repairer sleeps: it is woken by Wake and by nodes that come, and looks again by itself
// only while work is left.
package repair

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
)

// Queue is the durable record of what has to go.
type Queue interface {
	Sweep(ctx context.Context, limit int) (more bool, err error)
	Removals(ctx context.Context, node raid.NodeID, limit int) ([]raid.Removal, error)
	Removed(ctx context.Context, done []raid.Removal) error
	UnknownUploads(ctx context.Context, ids []raid.UploadID) ([]raid.UploadID, error)
	// Traces looks for uploads everywhere but in the index that UnknownUploads asks.
	Traces(ctx context.Context, claims map[raid.UploadID][]raid.FileID) (map[raid.UploadID]string, error)
}

// Copies is the record of which copies are bad.
type Copies interface {
	// Stored describes a file, also one in the trash.
	Stored(ctx context.Context, id raid.FileID) (raid.File, error)
	Repairs(ctx context.Context, after raid.PartCursor, limit int) ([]raid.Repair, error)
	ReplaceCopy(ctx context.Context, file raid.FileID, stripe int64, part int, old, fresh raid.Copy) error
	// ReplaceLost is ReplaceCopy for a good copy on a lost node, which becomes surplus.
	ReplaceLost(ctx context.Context, file raid.FileID, stripe int64, part int, old, fresh raid.Copy) error
	Record(ctx context.Context, removals []raid.Removal) error
}

// Losses is the record of nodes that were removed for good.
type Losses interface {
	// MarkLost marks some of what they held bad, after the cursor.
	MarkLost(ctx context.Context, at raid.LostCursor, rows int) (next raid.LostCursor, more bool, err error)
	Gone(id raid.NodeID) bool
}

// Held tells what nodes hold, by the catalog.
type Held interface {
	PartsOn(ctx context.Context, nodes []raid.NodeID, after raid.PartCursor, rows int) (parts []raid.Repair, next raid.PartCursor, more bool, err error)
	CountOn(ctx context.Context, nodes []raid.NodeID, after raid.PartCursor, rows int) (copies, bytes int64, next raid.PartCursor, more bool, err error)
	// MayHave reports whether some part may have just so many good copies on nodes that
	// are there, and others. No I/O.
	MayHave(copies int, there func(raid.NodeID) bool) bool
}

// Maker checks copies by their bytes and makes them anew; object.Store does, and says
// what it may leave behind.
type Maker interface {
	Check(ctx context.Context, f raid.File, part raid.Part, c raid.Copy) error
	Rereplicate(ctx context.Context, f raid.File, part raid.Part, m raid.Move) (raid.Copy, error)
}

// Pace holds background work back while requests run; pace.Governor does.
type Pace interface {
	// Begin waits until one more piece of work may begin, or ctx ends; end is called when
	// it is done.
	Begin(ctx context.Context) (end func(), err error)
}

// unpaced lets all work begin at once.
type unpaced struct{}

func (unpaced) Begin(ctx context.Context) (func(), error) { return func() {}, ctx.Err() }

// Config configures a Repairer.
type Config struct {
	Queue   Queue
	Copies  Copies
	Losses  Losses
	Held    Held          // nil: nobody looks for what lost nodes hold
	Surplus SurplusCopies // nil: surplus copies stay
	Pace    Pace          // nil: work goes as fast as it can
	Maker   Maker
	Nodes   *membership.Members
	// Vouched is nil once the catalog's bytes were checked since the start, and found
	// good. Until then nothing is removed on the catalog's word. It does no I/O. nil:
	// it always is.
	Vouched func() error
	Array   raid.ArrayID
	Run     uint32        // the controller's run number
	Keep    time.Duration // how long nodes keep leftovers in their trash; 0: not at all
	Grace   time.Duration // how long a node may be away, or hang, before it is lost, and its copies are made again
	// PerPart is the number of copies that each part should have; 0: two.
	PerPart int
	// Spare says that some level makes a part from others: one without any copy is made
	// too, and Maker finds out from what.
	Spare  bool
	Wishes []Wish
	// Name is the name that people know a node by; nil: its id.
	Name func(raid.NodeID) string
	// Tell is told what happened; nil: nobody wants to know.
	Tell raid.Tell
	Log  *slog.Logger
}

// Batch sizes and times. A batch of removals is one message to a node and one
// transaction; a page of lostRows is what one search for chunks of a removed node
// looks at; retryAfter is how soon failed work is tried again.
const (
	sweepBatch   = 1000
	removalBatch = 500
	listBatch    = 1000
	inspectBatch = 64
	repairBatch  = 200
	lostRows     = 5000
	retryAfter   = 5 * time.Second
	retryMax     = 5 * time.Minute
	lookEvery    = 2 * time.Second // how often nodes are looked at while parts wait for them
	callTimeout  = 30 * time.Second
)

// Repairer does the work. Its methods may be called concurrently.
type Repairer struct {
	cfg          Config
	wakeCollect  chan struct{}
	wakeRepair   chan struct{}
	wakeEvacuate chan struct{}
	lost         raid.LostCursor // of evacuatePass
	lies         pace            // of log lines about nodes that lie

	reading     sync.Mutex // the catalog's tables are read through
	vain        pace       // of those about parts that can't be repaired
	lanes       *lanes
	surplusWake chan struct{}
	progress    progress
	recent      recentFiles
	group       *errgroup.Group // of all goroutines; Run sets it anew

	mu        sync.Mutex
	searches  map[raid.NodeID]*search        // of the nodes that are there
	astray    map[raid.NodeID]raid.SessionID // in which a node was looked through anew, see Stray
	records   map[raid.NodeID]*record        // of nodes whose copies were called bad
	cleanings map[raid.NodeID]*cleaning      // of the nodes that are there
	troubles  map[raid.NodeID]*trouble       // of nodes that did not answer
	failed    map[raid.PartCursor]failure    // parts that were tried in vain
	again     time.Time                      // the earliest end of a pause of those since the last pass began
	roomNews  bool                           // there was other room while a part failed, since the last pass began
}

// pace limits log lines that others can cause.
type pace struct {
	mu   sync.Mutex
	last time.Time
}

// pacedLines is the least time between two such lines.
const pacedLines = time.Minute

// due reports whether it is time for another line.
func (p *pace) due() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.last.IsZero() && time.Since(p.last) < pacedLines {
		return false
	}
	p.last = time.Now()
	return true
}

// New makes a Repairer; Run does its work.
func New(cfg Config) *Repairer {
	if cfg.Vouched == nil {
		cfg.Vouched = func() error { return nil }
	}
	if cfg.Name == nil {
		cfg.Name = func(id raid.NodeID) string { return string(id) }
	}
	if cfg.Pace == nil {
		cfg.Pace = unpaced{}
	}
	if cfg.PerPart == 0 {
		cfg.PerPart = 2
	}
	if cfg.Tell == nil {
		cfg.Tell = func(raid.Event) {}
	}
	r := &Repairer{
		cfg: cfg, wakeCollect: make(chan struct{}, 1), wakeRepair: make(chan struct{}, 1), wakeEvacuate: make(chan struct{}, 1), surplusWake: make(chan struct{}, 1), group: &errgroup.Group{},
		searches: map[raid.NodeID]*search{}, records: map[raid.NodeID]*record{}, cleanings: map[raid.NodeID]*cleaning{},
		astray: map[raid.NodeID]raid.SessionID{}, troubles: map[raid.NodeID]*trouble{}, failed: map[raid.PartCursor]failure{},
	}
	r.lanes = newLanes(cfg.Pace, func() { wake(r.wakeRepair) }, func(ctx context.Context, node raid.NodeID, t task) (bool, error) {
		if t.tally != nil {
			return r.scanTask(ctx, node, t)
		}
		return r.repairTask(ctx, node, t)
	})
	return r
}

// Wake says that something was recorded for removal or found bad, or a node was
// removed.
func (r *Repairer) Wake() {
	wake(r.wakeEvacuate)
	wake(r.wakeCollect)
	wake(r.wakeRepair)
	wake(r.surplusWake)
}

func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run works until ctx ends, or until the catalog is broken.
func (r *Repairer) Run(ctx context.Context) error {
	r.Wake() // an earlier run may have left work
	g, ctx := errgroup.WithContext(ctx)
	r.group = g
	g.Go(func() error { return r.loop(ctx, nil, r.wakeCollect, r.collectPass) })
	g.Go(func() error { return r.repairLoop(ctx) })
	g.Go(func() error { return r.loop(ctx, nil, r.wakeEvacuate, r.evacuatePass) })
	if r.cfg.Held != nil {
		g.Go(func() error { return r.scanLoop(ctx) })
	}
	if r.cfg.Surplus != nil {
		g.Go(func() error { return r.surplusLoop(ctx) })
	}
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return err
	} else if errors.Is(err, raid.ErrCatalogBroken) {
		return err
	}
	return nil
}

// loop runs pass whenever it is woken or nodes changed, and again after a while,
// which doubles, as long as pass says that work is left. It ends with ctx, or when done
// is closed.
func (r *Repairer) loop(ctx context.Context, done, wake <-chan struct{}, pass func(context.Context) (left bool, err error)) error {
	pause := retryAfter
	for {
		changed := r.cfg.Nodes.Changed()
		left, err := pass(ctx)
		if errors.Is(err, raid.ErrCatalogBroken) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			r.cfg.Log.Warn("repair pass failed; it is tried again", "error", err)
		}
		var again <-chan time.Time
		if left || err != nil {
			again = time.After(pause)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-done:
			return nil
		case <-wake:
			pause = retryAfter
		case <-changed:
			pause = retryAfter
		case <-again:
			pause = min(2*pause, retryMax)
		}
	}
}
