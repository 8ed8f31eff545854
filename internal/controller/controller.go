// Package controller is the composition root of raid-controller. It builds
// the catalog, the nodes' hub, the object store, repair and the REST API, owns their
// goroutines, and stops them in order.
package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/raidpi/raidpi/internal/admission"
	"github.com/raidpi/raidpi/internal/allowance"
	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/catalog"
	"github.com/raidpi/raidpi/internal/events"
	"github.com/raidpi/raidpi/internal/hook"
	"github.com/raidpi/raidpi/internal/httpapi"
	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/object"
	"github.com/raidpi/raidpi/internal/pace"
	"github.com/raidpi/raidpi/internal/placement"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/reconcile"
	"github.com/raidpi/raidpi/internal/relocate"
	"github.com/raidpi/raidpi/internal/repair"
	"github.com/raidpi/raidpi/internal/service"
	"github.com/raidpi/raidpi/internal/stripe"
	"github.com/raidpi/raidpi/internal/trash"
	"github.com/raidpi/raidpi/internal/verify"
	"github.com/raidpi/raidpi/internal/wire"
)

// Config configures a controller. Listeners come from Listen, so that a
// simulation can pass in a network of its own.
type Config struct {
	StateDir string
	NewCA    bool  // make a new CA if there is none, although nodes have joined with another
	Reserve  int64 // bytes of StateDir's disk that uploads leave free

	HTTPListen  string
	HTTPSocket  string         // path of the Unix socket for root; "": none
	HTTPPlain   wire.Plaintext // who may speak HTTP without TLS
	Auth        bool           // REST asks for tokens
	Names       []string       // and addresses of this machine, besides those that it knows itself
	MaxBody     int64          // bytes; 0: no limit
	MaxRequests int

	StoreListen, ResponseListen, RequestListen string
	Plaintext                                  wire.Plaintext
	Settle                                     time.Duration

	Level          string
	Levels         stripe.Levels // that files may have; nil: those that are known
	Copies         int
	StripeSize     int64 // bytes; 0: the whole file is one stripe
	MaxWholeFile   int64 // bytes
	DegradedWrites bool
	Grace          time.Duration
	ScrubEvery     time.Duration // how often nodes read all their chunks; 0: when a person says so
	TrashKeep      time.Duration // how long deleted files can be put back, and nodes keep leftovers; 0: not at all

	EventsExec  string // absolute path of a program that gets each event; empty: none
	Version     string
	Log         *slog.Logger
	Random      io.Reader           // of cryptographic quality
	Draw        func(n int64) int64 // a number below n, for the choice of nodes; nil: math/rand's
	Listen      func(ctx context.Context, network, address string) (net.Listener, error)
	ListenLocal func(path string) (net.Listener, error)          // listens on HTTPSocket
	Machine     func() (hostname string, addresses []netip.Addr) // of its certificate; nil: MachineHosts
	Built       time.Time                                        // of the program: before it no clock is right
	KeyLife     time.Duration                                    // after it nodes are asked for new keys; 0: 90 days
	Ready       func()                                           // called once REST answers; nodes may be away
	Status      func(string)                                     // one line for a person, when it changes

	// Progress is told of a start that takes long, each time that it gets on; nil:
	// nobody wants to know.
	Progress func(step string, done, total int64)
	// Watch asks the controller's parts whether they move, until its context ends;
	// nil: nobody does. They never wait for a node.
	Watch func(ctx context.Context, parts map[string]func(context.Context) error) error
}

// aheadBudget bounds what all requests together may hold in buffers beyond the one
// stripe or piece that each is granted, in bytes.
const aheadBudget = 24 << 20

// piecesAtOnce is the number of pieces of background work that run at once while no request does.
const piecesAtOnce = 64

// window bounds the unacknowledged payload bytes of one node.
const window = 8 << 20

// Controller is a running controller's parts.
type Controller struct {
	cfg         Config
	level       stripe.Level // of new files
	pool        *budget.Pool
	catalog     *catalog.Catalog
	events      *events.Log
	hook        *hook.Hook // nil: none
	ca          *identity.CA
	certificate *httpsCertificate
	registrar   *admission.Registrar
	members     *membership.Members
	strangers   *strangers
	volatile    string // what is to be said of StateDir's disk; empty: nothing
	hub         *wire.Hub
	objects     *object.Store
	repair      *repair.Repairer
	verify      *verify.Verifier
	pace        *pace.Governor // of all background work
	reconcile   *reconcile.Reconciler
	trash       *trash.Bin
	relocate    *relocate.Relocator
	api         *httpapi.API
	reached     reached
	http        net.Listener // 9000
	rest        *httpserver.Listener
	local       net.Listener    // nil: none
	nodes       [3]net.Listener // 5557, 5558, 5559
}

// answerTime bounds the time until REST gives its first answer.
const answerTime = 30 * time.Second

// CatalogFile is the catalog's name within the state directory.
const CatalogFile = "catalog.db"

// ballastFile keeps room for when the state directory's disk is full.
const ballastFile = "spare-room"

// newController completes the configuration. Nothing is opened yet. It fails when the
// level of new files is not known.
func newController(cfg Config) (*Controller, error) {
	if cfg.Draw == nil {
		cfg.Draw = rand.Int64N
	}
	cfg.Log = slog.New(allowance.NewLogs(cfg.Log.Handler())) // no peer fills it
	if cfg.Levels == nil {
		cfg.Levels = stripe.Known()
	}
	level, err := cfg.Levels.Named(cfg.Level)
	if err != nil {
		return nil, err
	}
	cfg.Copies = level.CopiesOf(cfg.Copies)
	return &Controller{cfg: cfg, level: level, volatile: service.Volatile("state_dir", cfg.StateDir)}, nil
}

// Run runs a controller until ctx ends or it can't go on. Errors wrap
// raid.ErrCatalogBroken when the catalog's last write has an unknown outcome;
// the next start will believe what it reads.
func Run(ctx context.Context, cfg Config) (err error) {
	c, err := newController(cfg)
	if err != nil {
		return err
	}
	cfg = c.cfg
	// Ports first: a second controller must fail before it touches the catalog.
	if err := c.listen(ctx); err != nil {
		c.closeListeners()
		return err
	}
	if c.catalog, err = openCatalog(ctx, &cfg); err != nil {
		c.closeListeners()
		return err
	}
	defer func() { err = errors.Join(err, c.catalog.Close()) }()
	told := events.Config{Store: c.catalog, Log: cfg.Log}
	if cfg.EventsExec != "" {
		c.hook = hook.New(hook.Config{Path: cfg.EventsExec, Log: cfg.Log})
		told.Heard = c.hook.Offer
	}
	c.events = events.New(told)
	if err := c.build(ctx); err != nil {
		c.closeListeners() // a Listener of httpapi too, which waits for its goroutines
		return err
	}
	return c.serve(ctx)
}

// openCatalog opens the catalog, and makes one at the first start ever. An array
// whose catalog is lost is no first start: its keys are there.
func openCatalog(ctx context.Context, cfg *Config) (*catalog.Catalog, error) {
	path, keys := filepath.Join(cfg.StateDir, CatalogFile), filepath.Join(cfg.StateDir, identityDir)
	if catalog.Gone(path) && identity.HasCA(keys) {
		return nil, fmt.Errorf("open the catalog: %w", catalog.RefuseGone(path, keys))
	}
	c, err := catalog.Open(ctx, catalog.Config{
		Path: path, Random: cfg.Random, Log: cfg.Log, Reserve: cfg.Reserve, Progress: cfg.Progress, Keep: cfg.TrashKeep,
		Ballast: filepath.Join(cfg.StateDir, ballastFile), Program: cfg.Version,
	})
	if err != nil {
		return nil, fmt.Errorf("open the catalog: %w", inWords(cfg.StateDir, err))
	}
	return c, nil
}

func (c *Controller) listen(ctx context.Context) (err error) {
	for _, l := range []struct {
		to            *net.Listener
		address, what string
	}{
		{&c.http, c.cfg.HTTPListen, "[http] listen"},
		{&c.nodes[0], c.cfg.StoreListen, "[nodes] store_listen"},
		{&c.nodes[1], c.cfg.ResponseListen, "[nodes] response_listen"},
		{&c.nodes[2], c.cfg.RequestListen, "[nodes] request_listen"},
	} {
		if *l.to, err = c.cfg.Listen(ctx, "tcp", l.address); err != nil {
			return fmt.Errorf("listen on %s (%s): %w%s", l.address, l.what, bareListen(err), listenAdvice(err, l.address))
		}
	}
	if c.cfg.HTTPSocket == "" {
		return nil
	}
	// Without it the array works all the same; what needs root then needs a token.
	if c.local, err = c.cfg.ListenLocal(c.cfg.HTTPSocket); err != nil {
		c.cfg.Log.Warn("sudo raidctl finds no socket to speak to: make its folder, or set socket under [http]", "error", err)
	}
	return nil
}

func (c *Controller) closeListeners() {
	for _, l := range append(c.nodes[:], c.http, c.local) {
		if l != nil {
			l.Close()
		}
	}
}

// build makes the parts, bottom up.
func (c *Controller) build(ctx context.Context) error {
	cfg := &c.cfg
	if err := c.endUnfinished(ctx); err != nil {
		return err
	}
	known, err := c.catalog.Nodes(ctx)
	if err != nil {
		return fmt.Errorf("read the known nodes: %w", err)
	}
	c.pool = budget.New(max(aheadBudget, c.largestStripe()))
	c.members = membership.New(membership.Config{
		Known: known, Save: c.catalog.SaveNode, Remembers: c.catalog.Remembers, Decided: c.catalog.Node, Damaged: c.catalog.Damaged,
		Knows: c.catalog.Knows, Genuine: c.catalog.Genuine, Possible: c.catalog.Possible,
		Name:   func(id raid.NodeID) string { return c.registrar.Name(id) },
		Settle: cfg.Settle, Window: window, Log: cfg.Log,
	})
	member, port, err := c.admit(ctx)
	if err != nil {
		return err
	}
	c.strangers = newStrangers(c.catalog.Array(), cfg.Log)
	c.strangers.watch(member)
	c.hub = wire.NewHub(wire.HubConfig{
		Array: c.catalog.Array(), Store: c.nodes[0], Response: c.nodes[1], Request: c.nodes[2], Plaintext: cfg.Plaintext,
		TLS: member, Identify: c.registrar.Identify, MayBePlain: c.registrar.MayBePlain, Stranger: c.strangers.greeted, Renew: c.registrar.RenewDue, Tell: c.tell,
		Commit: c.sentCommit, Prove: c.catalog.Prove, Observer: c.members, Window: window, Log: cfg.Log,
	})
	c.rest = httpserver.NewListener(c.http, httpserver.ListenerConfig{
		TLS: port, Plaintext: cfg.HTTPPlain.Allows, Log: cfg.Log,
	})
	c.http = c.rest
	c.pace = pace.New(piecesAtOnce)
	c.trash = trash.New(trash.Config{
		Record: c.catalog, Files: c.catalog, Removals: c.catalog, Nodes: c.members, Keep: cfg.TrashKeep, Vouched: c.catalog.Vouched,
		Cost: func() placement.Cost { return c.objects.Cost() }, Wake: func() { c.repair.Wake() }, Tell: c.happened, Log: cfg.Log,
	})
	c.objects = object.New(object.Config{
		Trash: c.trash, Writer: c.catalog, Index: c.badCopies(), Nodes: c.members, LabGet: c.hub.LabGet, Pool: c.pool,
		Array: c.catalog.Array(), Run: c.catalog.Run(), Level: c.level, Levels: cfg.Levels, Copies: cfg.Copies,
		StripeSize: cfg.StripeSize, MaxWholeFile: cfg.MaxWholeFile, DegradedWrites: cfg.DegradedWrites,
		Commit: c.catalog.Commit, Random: cfg.Random, Draw: cfg.Draw, Wake: func() { c.repair.Wake(); c.trash.Wake() },
		Request: c.pace.Request, Log: cfg.Log,
	})
	c.repair = repair.New(repair.Config{
		Queue: c.catalog, Copies: c.catalog, Losses: c.catalog, Held: c.catalog, Surplus: c.badCopies(), Pace: c.pace, Maker: c.objects, Nodes: c.members, Vouched: c.catalog.Vouched,
		Array: c.catalog.Array(), Run: c.catalog.Run(), Keep: cfg.TrashKeep, Grace: cfg.Grace, PerPart: cfg.Copies, Spare: cfg.Levels.Spare() > 0,
		Name: c.called, Tell: c.happened, Log: cfg.Log, Wishes: c.wishes(),
	})
	c.reconcile = reconcile.New(reconcile.Config{
		Catalog: c.catalog, Reader: c.objects, Leftovers: c.repair, Nodes: c.members, Pace: c.pace, Tell: c.happened, Log: cfg.Log,
	})
	c.relocate = c.newRelocator()
	c.verify = c.newVerifier(known)
	c.api = c.newAPI()
	return nil
}

// endUnfinished records for removal what the last run was at when it ended. Only a
// broken catalog makes it fail: else the next start tries again.
func (c *Controller) endUnfinished(ctx context.Context) error {
	log := c.cfg.Log
	uploads, err := c.catalog.AbandonUnfinished(ctx)
	var copies int
	if err == nil {
		copies, err = c.catalog.ResolveIntents(ctx)
	}
	switch {
	case errors.Is(err, raid.ErrCatalogBroken):
		return fmt.Errorf("clean up after the last run: %w", err)
	case err != nil:
		log.Warn("what the last run left unfinished is not cleaned up this time", "error", err)
	case uploads > 0 || copies > 0:
		log.Info("what the last run left unfinished will be removed", "uploads", uploads, "copies", copies)
	}
	return nil
}

// sentCommit is the commit number that nodes are told. It is none while the catalog
// is behind them, or may turn out to be.
// What they have seen is the evidence of that.
func (c *Controller) sentCommit() uint64 {
	if c.members.StaleCatalog() != nil || c.members.WarmUp() > 0 {
		return 0
	}
	return c.catalog.Commit()
}

// largestStripe is the most bytes that one stripe may have.
func (c *Controller) largestStripe() int64 {
	if c.cfg.StripeSize == 0 {
		return c.cfg.MaxWholeFile
	}
	return c.cfg.StripeSize
}

// serve runs the parts until ctx ends or one fails, and stops them from the top down. REST is
// first, so that requests in flight finish. Then come repair, which uses the object store, and what
// that has left under way. Then comes the nodes' hub, on which all those wait, then the events, of
// which each of them may tell. The caller ends the catalog last, to which they write.
func (c *Controller) serve(ctx context.Context) error {
	told, stopTelling := context.WithCancel(context.WithoutCancel(ctx))
	defer stopTelling()
	var telling errgroup.Group
	telling.Go(func() error { return c.events.Run(told) })

	below, stopBelow := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBelow()
	hubGroup, hubCtx := errgroup.WithContext(below)
	hubGroup.Go(func() error { return c.hub.Run(hubCtx) })

	middle, stopMiddle := context.WithCancel(hubCtx)
	defer stopMiddle()
	midGroup, midCtx := errgroup.WithContext(middle)
	midGroup.Go(func() error { return c.members.Run(midCtx) })
	midGroup.Go(func() error { return c.repair.Run(midCtx) })
	midGroup.Go(func() error { return c.reconcile.Run(midCtx) })
	midGroup.Go(func() error { return c.trash.Run(midCtx) })
	midGroup.Go(func() error { return c.relocate.Run(midCtx) })
	midGroup.Go(func() error { return c.verify.Run(midCtx) })
	midGroup.Go(func() error { return c.watchCatalog(midCtx) })
	midGroup.Go(func() error { return c.report(midCtx) })
	midGroup.Go(func() error { return c.countSpread(midCtx) })
	midGroup.Go(func() error { return c.noteExpired(midCtx) })
	midGroup.Go(func() error { return c.registrar.Run(midCtx) })
	midGroup.Go(func() error { return c.monitor(midCtx) })
	if c.hook != nil {
		midGroup.Go(func() error { return c.hook.Run(midCtx) })
	}
	midGroup.Go(func() error { return c.certificate.run(midCtx) })
	midGroup.Go(func() error { return c.followNames(midCtx) })

	top, stopTop := context.WithCancel(ctx)
	defer stopTop()
	go func() { // a part that fails below takes REST down with it
		select {
		case <-midCtx.Done():
			stopTop()
		case <-top.Done():
		}
	}()
	if c.cfg.Watch != nil {
		midGroup.Go(func() error { return c.cfg.Watch(midCtx, c.healthProbes()) })
	}
	for _, w := range c.warnings() {
		c.cfg.Log.Warn(w)
	}
	err := c.serveREST(top)
	stopTop()
	stopMiddle()
	err = errors.Join(midGroup.Wait(), err)
	c.objects.Close()
	stopBelow()
	err = errors.Join(err, hubGroup.Wait())
	stopTelling()
	return errors.Join(err, telling.Wait())
}

// serveREST answers requests until ctx ends. The controller is ready when the first
// one is answered, which is its own: /livez. It is not /readyz: what that says of the catalog
// is known only when nodes have come, and a start waits for no node.
func (c *Controller) serveREST(ctx context.Context) error {
	listeners := []net.Listener{c.rest}
	if c.local != nil {
		listeners = append(listeners, c.local)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var g errgroup.Group
	g.Go(func() error {
		defer stop()
		return c.api.Serve(ctx, listeners...)
	})
	asking, cancel := context.WithTimeout(ctx, answerTime)
	err := c.rest.Alive(asking)
	cancel()
	switch {
	case err == nil:
		c.cfg.Ready()
		c.cfg.Log.Info("raid-controller is ready", "http", c.http.Addr(), "array", c.catalog.Array(), "run", c.catalog.Run(), "version", c.cfg.Version)
	case ctx.Err() != nil: // it is to end already
		err = nil
	default:
		stop()
	}
	return errors.Join(g.Wait(), err)
}

// watchCatalog ends the process when a write to the catalog has an unknown
// outcome, and has repair go on when the catalog was checked.
func (c *Controller) watchCatalog(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.catalog.Cleared(): // removals have waited for this
			c.repair.Wake()
		case <-c.catalog.Broken():
			return fmt.Errorf("%w: whether its last write is on disk is not known, so raid-controller ends and believes what the next start reads. Check the disk: dmesg, df",
				raid.ErrCatalogBroken)
		}
	}
}

// reportEvery is the interval of the looks at the status line, beside when a node comes or
// goes: files become whole and a clock is set without any. It needs no disk.
const reportEvery = 5 * time.Second

// reportPause lies between two looks that nodes bring about.
const reportPause = 100 * time.Millisecond

// report keeps the status line true.
func (c *Controller) report(ctx context.Context) error {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	last := ""
	for {
		changed := c.members.Changed()
		if line := c.statusLine(ctx); line != last && c.cfg.Status != nil {
			c.cfg.Status(line)
			last = line
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			select { // a node that changes all the time costs no more than this
			case <-ctx.Done():
			case <-time.After(reportPause):
			}
		case <-tick.C:
		}
	}
}

// statusLine says in one line how the array is.
func (c *Controller) statusLine(ctx context.Context) string {
	up, known := 0, 0
	for _, n := range c.members.Nodes() {
		known++
		if n.State == raid.Up {
			up++
		}
	}
	line := fmt.Sprintf("%d/%d nodes up", up, known)
	if len(c.warnings()) > 0 {
		line += ", with warnings (see raidctl status)"
	}
	if a := c.assess(ctx); len(a.Findings) > 0 {
		line += fmt.Sprintf("; %s: %s", a.Health, a.Text())
	}
	return line
}
