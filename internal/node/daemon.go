package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/scrub"
	"github.com/raidpi/raidpi/internal/service"
	"github.com/raidpi/raidpi/internal/wear"
	"github.com/raidpi/raidpi/internal/wire"
)

// daemon is a node over its changes of identity.
type daemon struct {
	cfg     *Config
	disk    *chunkstore.Disk
	pool    *budget.Pool
	machine identity.Machine
	control net.Listener // nil: none

	volatile []string // what is to be said of the disks

	// busy is held while a command or a renewal is at work on the identity. It is
	// only ever tried: a command that waited for it could wait for itself.
	busy    sync.Mutex
	changes chan *change
	others  atomic.Pointer[string] // names of the controller that it has told; nil: those of addressFile
	current atomic.Pointer[session]
	begun   chan struct{} // closed when the first session is there
	over    chan struct{} // closed when the last one is over
}

func newDaemon(cfg *Config, disk *chunkstore.Disk) *daemon {
	var volatile []string
	for _, dir := range [][2]string{{"chunk_dir", cfg.ChunkDir}, {"state_dir", cfg.StateDir}} {
		if said := service.Volatile(dir[0], dir[1]); said != "" {
			volatile = append(volatile, said)
		}
	}
	return &daemon{
		volatile: volatile, cfg: cfg, disk: disk, pool: budget.New(bufferBudget), machine: identity.MachineOf(cfg.MachineID),
		changes: make(chan *change), begun: make(chan struct{}), over: make(chan struct{}),
	}
}

// session is a node between two changes: a store, and a link to the controller that knows it under
// one id.
type session struct {
	joinState
	log      *slog.Logger
	store    *chunkstore.Store
	scrub    *scrub.Scrubber
	wear     *wear.Meter // nil: nothing is counted
	link     *wire.Link  // nil: joinState says why
	volatile string      // what is to be said of the disks
	open     bool        // what goes over the link can be read by others in the network
	who      atomic.Pointer[identity.Node]

	once   sync.Once
	heard  chan struct{} // closed when the controller's first heartbeat is here
	renewC chan struct{} // the controller asks for a new key

	unwelcome chan struct{} // the controller does not let the node in
	removed   atomic.Bool   // it says that it removed the node

	name atomic.Pointer[string] // that the array calls the node by; nil: not told
}

// change is done between two sessions, when nothing is connected and no store is open.
type change struct {
	do    func() error
	err   error
	begun chan *session // the session after it
}

// live runs one session after the other until ctx ends.
func (d *daemon) live(ctx context.Context) error {
	defer close(d.over)
	var before *change
	for {
		next, err := d.runSession(ctx, before)
		if err != nil || next == nil {
			return err
		}
		next.err = next.do()
		before = next
	}
}

// runSession runs one until the next change; nil: until ctx ended.
func (d *daemon) runSession(ctx context.Context, before *change) (next *change, err error) {
	l, err := d.begin()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.store.Close()) }()
	d.current.Store(l)
	if before != nil {
		before.begun <- l
	} else {
		// A disk that fails this is read only from then on, and serves what it has.
		if err := l.store.Probe(); err != nil && !errors.Is(err, raid.ErrNoSpace) {
			l.log.Error("The disk took no write at the start: its chunks can be read, and nothing is stored on it", "reason", err)
		}
		close(d.begun)
		if d.cfg.Ready != nil {
			d.cfg.Ready()
		}
		l.log.Info("raid-node is ready", "chunk_dir", d.cfg.ChunkDir, "array", d.disk.Array(), "version", d.cfg.Version)
	}
	g, gctx := errgroup.WithContext(ctx)
	gctx, end := context.WithCancel(gctx)
	defer end()
	g.Go(func() error { return d.report(gctx, l) })
	g.Go(func() error { return l.scrubs(gctx) })
	if l.wear != nil {
		g.Go(func() error { l.wear.Run(gctx); return nil })
	}
	if l.link != nil {
		g.Go(func() error { return l.link.Run(gctx) })
	}
	if l.who.Load() != nil {
		g.Go(func() error { return d.renewKeys(gctx, l) })
		g.Go(func() error { return d.watchMembership(gctx, l) })
	}
	select {
	case next = <-d.changes:
		end()
	case <-gctx.Done():
	}
	return next, g.Wait()
}

// begin opens the store and makes the link that suits its joinState.
func (d *daemon) begin() (*session, error) {
	stand, err := d.joinState()
	if err != nil {
		return nil, err
	}
	l := &session{
		joinState: stand, volatile: strings.Join(d.volatile, ". "), log: d.cfg.Log.With("node", d.disk.Node()),
		heard: make(chan struct{}), renewC: make(chan struct{}, 1), unwelcome: make(chan struct{}, 1),
	}
	l.store, err = chunkstore.Open(chunkstore.Config{
		FS: d.disk.FS, Reserve: d.cfg.Reserve, Array: d.disk.Array, Pool: d.pool, Log: l.log,
	})
	if err != nil {
		return nil, fmt.Errorf("open the chunk store in %s: %w", d.cfg.ChunkDir, err)
	}
	l.scrub, l.wear = d.newScrub(l), d.newMeter(l)
	l.who.Store(l.joinState.who)
	switch {
	case l.broken:
		l.log.Error(l.problem)
	case l.problem != "" && !d.said(l.problem):
		l.log.Warn(l.problem)
	case l.problem != "": // once is enough, also while the node joins
	default:
		l.open = l.joinState.who == nil && d.cfg.Plaintext == wire.PlaintextAny
		l.link = d.newLink(l)
	}
	if l.open {
		l.log.Warn("Talking without TLS: others in the network can read and change what goes over it; join, then this ends")
	}
	return l, nil
}

// said reports whether the session before had the same problem.
func (d *daemon) said(problem string) bool {
	before := d.current.Load()
	return before != nil && before.problem == problem
}

// between ends the session, does something, and begins the next session, which it
// returns. It fails with do's error, and when the daemon ends.
func (d *daemon) between(ctx context.Context, do func() error) (*session, error) {
	c := &change{do: do, begun: make(chan *session, 1)}
	ended := fail(ExitAgain, nil, "raid-node is stopping; try again when it runs")
	select {
	case d.changes <- c:
	case <-ctx.Done():
		return nil, ended
	case <-d.over:
		return nil, ended
	}
	// From here on it happens; whoever asked may be gone.
	select {
	case l := <-c.begun:
		return l, c.err
	case <-d.over:
		return nil, ended
	}
}

// sawCommit tells the store, and whoever waits for the controller's first word.
func (l *session) sawCommit(n raid.Commit) {
	l.store.SawCommit(n)
	if l.removed.Load() {
		l.removed.Store(false)
	}
	l.once.Do(func() { close(l.heard) })
}

// askRenewal never waits.
func (l *session) askRenewal() {
	select {
	case l.renewC <- struct{}{}:
	default:
	}
}

// line is the status for a person.
func (l *session) line() string {
	line := l.connection()
	if l.volatile != "" {
		line += " (" + l.volatile + ")"
	}
	return line
}

// connection says how the disk is, and whether the controller is there.
func (l *session) connection() string {
	if l.link == nil {
		return status(l.store.Stats(), l.problem)
	}
	if l.removed.Load() {
		return status(l.store.Stats(), removedText(l.who.Load()))
	}
	line := status(l.store.Stats(), l.link.Status())
	if l.open {
		line += ` (plaintext = "any": others in the network can read and change it)`
	}
	return line
}
