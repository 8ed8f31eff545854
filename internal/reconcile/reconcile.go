package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
)

// Catalog says what nodes should hold. [catalog.Catalog] does.
type Catalog interface {
	EachHeld(ctx context.Context, nodes []raid.NodeID, after raid.PartCursor, copies int, see func(*raid.Held)) (next raid.PartCursor, more bool, err error)
	HeldOn(ctx context.Context, node raid.NodeID, after raid.HeldCursor, to string, limit int) (held []raid.Held, next raid.HeldCursor, more bool, err error)
	MarkAllBad(ctx context.Context, copies []raid.CopyID) (marked []raid.CopyID, err error)
	// Unexplained returns those of the chunks on a node of which nothing is on record.
	Unexplained(ctx context.Context, node raid.NodeID, keys []raid.ChunkKey) ([]raid.ChunkKey, error)
	File(ctx context.Context, id raid.FileID) (raid.File, error)
}

// Reader reads copies; object.Store does.
type Reader interface {
	// Check reads a copy and compares every byte with the catalog. raid.ErrNotFound and
	// raid.ErrCorrupt say that it is not good.
	Check(ctx context.Context, f raid.File, part raid.Part, c raid.Copy) error
	// UnderWay reports whether chunks of an upload may be stored that no row has yet.
	UnderWay(upload raid.UploadID) bool
}

// Leftovers is who removes what earlier runs left, and makes copies again;
// repair.Repairer does.
type Leftovers interface {
	// Cleaned reports whether a node was cleaned in this session. It is not compared
	// before.
	Cleaned(p *membership.Peer) bool
	// Stray is told of chunks that nothing explains.
	Stray(ctx context.Context, p *membership.Peer, keys []raid.ChunkKey) error
	// CheckAgain is told of a part whose bad copy may be good.
	CheckAgain(file raid.FileID, part raid.Part)
	// Wake is called when copies were marked bad.
	Wake()
}

// Config configures a Reconciler.
type Config struct {
	Catalog   Catalog
	Reader    Reader
	Leftovers Leftovers
	Nodes     *membership.Members
	Pace      Pace      // nil: work goes as fast as it can
	Tell      raid.Tell // nil: nobody wants to know
	Log       *slog.Logger
}

// Pace holds background work back while requests run; pace.Governor does.
type Pace interface {
	// Begin waits until a piece of work may begin. end must be called when it is done.
	Begin(ctx context.Context) (end func(), err error)
}

// unpaced holds nothing back.
type unpaced struct{}

// Begin implements Pace.
func (unpaced) Begin(ctx context.Context) (end func(), err error) { return func() {}, ctx.Err() }

const (
	// week is the interval of a node's comparisons, of the controller's run time.
	week = 7 * 24 * time.Hour
	// Where something is unexplained it may have come meanwhile, and is looked at again:
	// after againMin, and each time after twice as long.
	againMin = time.Minute
	againMax = 24 * time.Hour
	// A node on which comparing failed rests for restMin, and each time for twice as long, up to
	// restMax. After each, failed or not, it rests for restFactor times as long as that took. Who
	// restarts all the time is not compared all the time.
	restMin    = 5 * time.Second
	restMax    = time.Hour
	restFactor = 20
	// listedAtOnce bounds the nodes that list their chunks at the same time, and sumsAtMost
	// what the sums of all that are compared take, in bytes.
	listedAtOnce = 4
	sumsAtMost   = 8 << 20
)

// Reconciler compares nodes with the catalog. Its methods may be called concurrently.
type Reconciler struct {
	cfg      Config
	interval time.Duration   // week, but in tests
	group    *errgroup.Group // of all goroutines; Run sets it
	lists    chan struct{}   // one for each node that lists
	room     *semaphore.Weighted
	walks    chan *walk // to walkLoop
	logLimit seldom

	mu      sync.Mutex
	nodes   map[raid.NodeID]*node
	listing int // nodes whose sums come
}

// New makes a Reconciler; Run does its work.
func New(cfg Config) *Reconciler {
	if cfg.Tell == nil {
		cfg.Tell = func(raid.Event) {}
	}
	if cfg.Pace == nil {
		cfg.Pace = unpaced{}
	}
	return &Reconciler{
		cfg: cfg, interval: week, group: &errgroup.Group{}, lists: make(chan struct{}, listedAtOnce), room: semaphore.NewWeighted(sumsAtMost),
		walks: make(chan *walk), nodes: map[raid.NodeID]*node{},
	}
}

// sleep waits, and returns early with ctx's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// piece does a piece of work when it may.
func (r *Reconciler) piece(ctx context.Context, do func() error) error {
	end, err := r.cfg.Pace.Begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	return do()
}

// seldom limits log lines that others can cause.
type seldom struct {
	mu   sync.Mutex
	last time.Time
}

func (p *seldom) due() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.last.IsZero() && time.Since(p.last) < time.Minute {
		return false
	}
	p.last = time.Now()
	return true
}

// Run works until ctx ends, or until the catalog is broken.
func (r *Reconciler) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	r.group = g
	g.Go(func() error { return r.walkLoop(ctx) })
	g.Go(func() error {
		for ctx.Err() == nil {
			changed := r.cfg.Nodes.Changed()
			r.follow(ctx)
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
		return nil
	})
	if err := g.Wait(); errors.Is(err, raid.ErrCatalogBroken) {
		return err
	}
	return nil
}

// nodesKept bounds the nodes of which is known how far they were compared, also when they
// are not there.
const nodesKept = 2000

// follow begins to compare each node that came.
func (r *Reconciler) follow(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.nodes) > nodesKept { // but not those that are compared: they would be so twice
		maps.DeleteFunc(r.nodes, func(_ raid.NodeID, n *node) bool {
			select {
			case <-n.ended:
				return true
			default:
				return false
			}
		})
	}
	for _, p := range r.cfg.Nodes.Natives() {
		n := r.nodes[p.ID()]
		if n != nil && n.connection == p.Done() {
			continue
		}
		fresh := &node{r: r, session: p.Session(), connection: p.Done(), ended: make(chan struct{})}
		before := n
		r.nodes[p.ID()] = fresh
		r.group.Go(func() error {
			defer close(fresh.ended)
			return fresh.serve(ctx, p, before)
		})
	}
}
