package wire

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/zmtp"
)

var errHubStops = fmt.Errorf("controller is stopping: %w", raid.ErrShutdown)

// HubConfig holds what a Hub is made of. Zero durations and sizes take the defaults that are named
// beside them.
type HubConfig struct {
	Array     raid.ArrayID
	Store     net.Listener // port 5557
	Response  net.Listener // port 5558
	Request   net.Listener // port 5559
	Plaintext Plaintext    // who may speak without TLS; "" is off
	TLS       *tls.Config  // for those who begin with TLS; nil: they are refused
	// Identify names the native node at the other end of TLS, and fails when that
	// may not come any more. It is asked several times for each connection, from
	// several goroutines, and must not wait. It must be set with TLS.
	Identify func(tls.ConnectionState) (raid.NodeID, error)
	// MayBePlain fails for a native node that must come inside TLS; nil: none must.
	MayBePlain func(raid.NodeID) error
	// Stranger is told of native nodes that say that they belong to another array; nil:
	// nobody is. It must not wait.
	Stranger func(array raid.ArrayID, node raid.NodeID, from net.Addr)
	// Renew reports whether a node should ask for a certificate for a new key; nil:
	// none. It is asked with each heartbeat.
	Renew func(raid.NodeID) bool
	// Tell returns the names to tell a node, when its session begins and when they change; nil:
	// nothing. It must not wait.
	Tell func(raid.NodeID) Told
	// Pool is not drawn upon: nothing comes in here for which no request waits.
	Pool *budget.Pool
	// Commit is the number that nodes are told, 0: none. Prove is the proof that goes with
	// one; nil: none does.
	Commit   func() uint64
	Prove    func(commit uint64) raid.CommitMAC
	Observer Observer
	Window   int64 // unacknowledged payload bytes per node (8 MiB); one part always fits
	MaxFrame int64 // largest payload, bytes (64 MiB)

	Heartbeat time.Duration // between the controller's heartbeats while it works (500 ms)
	Suspect   time.Duration // a session that has not answered for this long may be replaced (1500 ms)
	Dead      time.Duration // one silent for this long is ended (5 s); also the time to become whole

	LabStoreTimeout time.Duration // for a lab node's acknowledgement (2 s)
	LabGetTimeout   time.Duration // without a byte from any lab connection (2 s)

	Log *slog.Logger
}

// Observer is told of nodes coming and going. The calls about one node are made
// in order and never concurrently, those about different nodes may be. They must
// not block.
type Observer interface {
	// NodeUp: all four connections and the first heartbeat are there.
	NodeUp(*Session)
	// NodeHeartbeat is a further heartbeat, or the first once more.
	NodeHeartbeat(*Session, Heartbeat)
	// NodeDown: the session is over. Every NodeUp has its NodeDown, and it comes
	// before the NodeUp of the node's next session.
	NodeDown(*Session, error)
	LabUp(*LabNode)
	LabDown(*LabNode, error)
}

// Hub is the controller's end of the wire.
type Hub struct {
	cfg          HubConfig
	made         time.Time
	lastID       atomic.Uint64
	used         atomic.Int64  // when a node was last asked for something, as time since made
	wake         chan struct{} // of 1: heartbeats are to be sent before their time
	here         chan struct{} // sendHeartbeats sends to the probe that asks whether it moves
	heartbeating atomic.Bool   // it runs
	over         chan struct{} // closed when it does no more
	encoder      encoder
	labs         *labs
	running      sync.WaitGroup // the sessions' own goroutines

	mu     sync.Mutex
	nodes  map[raid.NodeID]*Session // the latest of each, until its NodeDown is over
	clones map[raid.NodeID]*clone
}

// NewHub makes a Hub; Run serves it.
func NewHub(cfg HubConfig) *Hub {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&cfg.Heartbeat, 500*time.Millisecond)
	def(&cfg.Suspect, 1500*time.Millisecond)
	def(&cfg.Dead, 5*time.Second)
	def(&cfg.LabStoreTimeout, 2*time.Second)
	def(&cfg.LabGetTimeout, 2*time.Second)
	if cfg.Window <= 0 {
		cfg.Window = 8 << 20
	}
	if cfg.MaxFrame <= 0 {
		cfg.MaxFrame = defaultMaxFrame
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Commit == nil {
		cfg.Commit = func() uint64 { return 0 }
	}
	if cfg.Prove == nil {
		cfg.Prove = func(uint64) raid.CommitMAC { return raid.CommitMAC{} }
	}
	if cfg.MayBePlain == nil {
		cfg.MayBePlain = func(raid.NodeID) error { return nil }
	}
	if cfg.Stranger == nil {
		cfg.Stranger = func(raid.ArrayID, raid.NodeID, net.Addr) {}
	}
	if cfg.Tell == nil {
		cfg.Tell = func(raid.NodeID) Told { return Told{} }
	}
	if cfg.Renew == nil {
		cfg.Renew = func(raid.NodeID) bool { return false }
	}
	h := &Hub{cfg: cfg, made: time.Now(), wake: make(chan struct{}, 1), here: make(chan struct{}), over: make(chan struct{}), nodes: map[raid.NodeID]*Session{}, clones: map[raid.NodeID]*clone{}}
	h.labs = newLabs(&h.cfg, &h.encoder)
	return h
}

// defaultMaxFrame is the largest payload accepted where nothing else is said:
// that of a part of a 128 MiB stripe.
const defaultMaxFrame = 64 << 20

// Moves returns when the Hub's locks can be had and heartbeats are sent, if Run lives.
// It fails when ctx ends before.
func (h *Hub) Moves(ctx context.Context) error {
	for _, mu := range []*sync.Mutex{&h.mu, &h.labs.mu} {
		mu.Lock()
		//lint:ignore SA2001 that it could be had is all
		mu.Unlock()
	}
	if !h.heartbeating.Load() {
		return nil
	}
	select {
	case <-h.here:
	case <-h.over:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// proved is a commit number as nodes are told it.
func (h *Hub) proved(number uint64) raid.Commit {
	return raid.Commit{Number: number, MAC: h.cfg.Prove(number)}
}

// requestID draws a request id: never 0, never twice in the life of the Hub.
func (h *Hub) requestID() uint64 { return h.lastID.Add(1) }

// Run serves the three listeners until ctx ends, then ends all sessions, waits
// for everything that it started, and returns nil. A listener that fails ends it
// with that error.
func (h *Hub) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	serve := func(ln net.Listener, typ zmtp.SocketType, handle func(context.Context, *zmtp.Conn)) {
		g.Go(func() error {
			err := zmtp.Serve(ctx, ln, zmtp.ServerConfig{
				Config: func(net.Conn) zmtp.Config { return h.connConfig(typ) },
				Handle: handle, MaxHandshakes: 256, MaxConns: 2048, // 500 nodes may come back at once
				Log: h.cfg.Log.With("port", typ),
			})
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("serve %s port %s: %w", typ, ln.Addr(), err)
			}
			return nil
		})
	}
	serve(h.cfg.Store, zmtp.Push, h.handle(ctx, roleStore))
	serve(h.cfg.Response, zmtp.Pull, h.handle(ctx, roleControl))
	serve(h.cfg.Request, zmtp.Pub, h.handle(ctx, roleRequest))
	g.Go(func() error {
		h.sendHeartbeats(ctx)
		return nil
	})
	err := g.Wait()
	h.running.Wait()
	return err
}

// connConfig returns the ZMTP settings of one of our ports.
func (h *Hub) connConfig(typ zmtp.SocketType) zmtp.Config {
	cfg := zmtp.Config{
		Type: typ, Admit: h.admit, TLS: h.cfg.TLS,
		// Each connection is pinged too, at the moments of heartbeats, the rare ones too. So one
		// that is half-open by itself is noticed. That is often enough for a node to hear from us
		// before it asks by itself. A PONG may have to wait for a large payload on a slow line.
		PingEvery: 3 * idleFactor * h.cfg.Heartbeat, TimersFrom: h.made, PingTimeout: 4 * h.cfg.Dead,
	}
	switch typ {
	case zmtp.Pull:
		// Without a Pool, a frame above FreeFrame is accepted only where a Sink says where to put
		// it. Such are payloads that a request waits for, or that are thrown away.
		cfg.Limits = zmtp.Limits{
			MaxFrame: max(h.cfg.MaxFrame, maxResponse), MaxMessage: h.cfg.MaxFrame + maxResponse, MaxFrames: 2, FreeFrame: maxResponse,
		}
	default: // nothing but subscriptions and commands comes in here
		cfg.Limits = zmtp.Limits{MaxFrame: maxTopic + 1, MaxMessage: maxTopic + 1, MaxFrames: 1}
	}
	return cfg
}
