package wire

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/zmtp"
)

// LinkConfig holds what a Link is made of. Zero values take the defaults that are named beside
// them.
type LinkConfig struct {
	Dial         func(ctx context.Context, network, addr string) (net.Conn, error) // net.Dialer's
	StoreAddr    string                                                            // host:port, 5557
	ResponseAddr string                                                            // host:port, 5558
	RequestAddr  string                                                            // host:port, 5559
	Plaintext    Plaintext                                                         // which controllers may be spoken to without TLS; "" is off
	// TLS is asked for each connection, which then is made inside it, and never
	// without. Nil: all connections are plaintext.
	TLS func() *tls.Config

	Node  raid.NodeID
	Array raid.ArrayID // empty: none yet, the first controller's is taken
	// Adopt makes the array durable. It is called when the node had none, before
	// the session counts; its error ends the session.
	Adopt func(raid.ArrayID) error

	Handler Handler
	Trash   TrashHandler // nil: there is no trash, and leftovers stay
	Scrub   ScrubHandler // nil: the node has no scrub
	// Describer tells more of chunks than their names; nil: nothing more is known.
	Describer Describer
	Lab       LabHandler // nil: a lab controller is refused
	Pool      *budget.Pool
	// Heartbeat describes the node for a heartbeat. It must not block.
	State func() Heartbeat
	// SawCommit is told every commit number that the controller sends.
	SawCommit func(raid.Commit)
	// RenewKey is called when a heartbeat asks for a new key, with each that does.
	// It must not wait.
	RenewKey func()
	// Told is called when a heartbeat tells names. It must not wait.
	Told func(Told)
	// Unwelcome is called each time that the controller's TLS does not let the node in,
	// as when it was removed. It must not wait.
	Unwelcome func()

	Concurrency int   // Stores handled at once, and as many other requests beside them (16)
	MaxFrame    int64 // largest payload, bytes (64 MiB)

	// Heartbeat is the time between heartbeats while the controller works (500 ms). The
	// node's heartbeats answer the controller's, or go by its own clock when these are late.
	Heartbeat  time.Duration
	Dead       time.Duration // a controller silent for this long is left (5 s)
	BackoffMin time.Duration // first pause before connecting again (100 ms)
	BackoffMax time.Duration // longest pause (5 s)
	// Drain bounds the time that Run, once it shall end, goes on for the Stores that have come and
	// their answers (25 s). The controller is told that nothing new is taken.
	Drain time.Duration

	Log    *slog.Logger
	Random io.Reader // for session ids and jitter (crypto/rand)
}

// Handler does what the controller asks. Its methods are called concurrently.
// Their context ends with the request's time and with the session. Errors are
// answered by the raid sentinel that they wrap, with their text.
type Handler interface {
	// Store keeps a chunk durably. The payload is valid until it returns.
	Store(ctx context.Context, req StoreRequest) error
	Get(ctx context.Context, req NodeGet) (NodeChunk, error)
	// Delete returns one error for each name.
	Delete(ctx context.Context, names []raid.ChunkName) []error
	List(ctx context.Context, req ListRequest) (names []raid.ChunkName, more bool, err error)
	Verify(ctx context.Context, name raid.ChunkName, length int64, crc uint32) error
}

// LabHandler does what a lab controller asks. Names are checked by
// raid.ValidName before. There is no way to answer an error: it is logged.
type LabHandler interface {
	StoreLab(ctx context.Context, name string, payload []byte) error
	// GetLab returns a chunk, which the Link releases, or raid.ErrNotFound, to
	// which the node stays silent.
	GetLab(ctx context.Context, name string) (*budget.Buffer, error)
}

// Link is the node's end of the wire.
type Link struct {
	cfg    LinkConfig
	made   time.Time
	stores chan linkRequest
	others chan linkRequest
	queued *window // bytes of Stores between their arrival and their end

	moved        atomic.Uint64 // see Pulse
	draining     atomic.Bool
	heartbeatNow chan struct{}
	changed      chan struct{} // of 1: the status did

	mu        sync.Mutex
	array     raid.ArrayID
	status    string
	running   bool
	connected bool
	lab       bool // connected to a lab controller
}

// queueLength bounds the requests that wait for a free hand, of each kind.
const queueLength = 1024

// queueBytes bounds the payloads that wait or are being stored. A native
// controller's window is smaller; a lab controller has none, and is slowed down
// by TCP.
const queueBytes = 16 << 20

// NewLink makes a Link; Run connects it.
func NewLink(cfg LinkConfig) *Link {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&cfg.Heartbeat, 500*time.Millisecond)
	def(&cfg.Dead, 5*time.Second)
	def(&cfg.BackoffMin, 100*time.Millisecond)
	def(&cfg.BackoffMax, 5*time.Second)
	def(&cfg.Drain, 25*time.Second)
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{}).DialContext
	}
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = 16
	}
	if cfg.MaxFrame <= 0 {
		cfg.MaxFrame = defaultMaxFrame
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	if cfg.State == nil {
		cfg.State = func() Heartbeat { return Heartbeat{} }
	}
	if cfg.RenewKey == nil {
		cfg.RenewKey = func() {}
	}
	if cfg.Told == nil {
		cfg.Told = func(Told) {}
	}
	if cfg.Unwelcome == nil {
		cfg.Unwelcome = func() {}
	}
	if cfg.SawCommit == nil {
		cfg.SawCommit = func(raid.Commit) {}
	}
	return &Link{
		cfg: cfg, made: time.Now(), array: cfg.Array, status: "Not started",
		stores: make(chan linkRequest, queueLength), others: make(chan linkRequest, queueLength),
		queued: newWindow(queueBytes), heartbeatNow: make(chan struct{}, 1), changed: make(chan struct{}, 1),
	}
}

// Status is one line for a person.
func (l *Link) Status() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}

// Changed has room for one sign that Status may say something else now.
func (l *Link) Changed() <-chan struct{} { return l.changed }

// Connected reports whether there is a session with a controller right now.
func (l *Link) Connected() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.connected
}

func (l *Link) setConnected(on, lab bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connected, l.lab = on, on && lab
}

// Pulse returns a number that rises every few seconds while the Link's own goroutines move,
// whatever the controller does. Where none of them has to move, it rises with each look at it. That
// is so when Run is over or only waits for handlers, and with a lab controller, which nobody
// watches.
func (l *Link) Pulse() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.running || l.lab {
		l.moved.Add(1)
	}
	return l.moved.Load()
}

func (l *Link) setRunning(on bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running = on
}

func (l *Link) setStatus(format string, args ...any) {
	l.mu.Lock()
	l.status = fmt.Sprintf(format, args...)
	l.mu.Unlock()
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// Run connects to the controller, serves it, and connects again when the session
// ends, until ctx ends. Then it drains, closes the connections, waits for the
// handlers and returns nil.
func (l *Link) Run(ctx context.Context) error {
	l.setRunning(true)
	ending := ctx
	ctx, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	drained := make(chan struct{})
	stop := context.AfterFunc(ending, func() {
		defer close(drained)
		l.drain()
		cut()
	})
	defer func() {
		if !stop() {
			<-drained
		}
	}()
	workers := l.startWorkers(ctx)
	defer func() {
		l.setRunning(false) // a disk that hangs is waited for, and is no reason to end the process
		workers.Wait()
	}()
	pause := newBackoff(l.cfg.BackoffMin, l.cfg.BackoffMax, l.cfg.Random)
	for attempt := 1; ctx.Err() == nil; attempt++ {
		l.moved.Add(1)
		lived, err := l.runSession(ctx)
		if ctx.Err() != nil {
			break
		}
		if lived {
			attempt = 0
			pause.reset()
		}
		l.report(attempt, err)
		timer := time.NewTimer(pause.next())
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	l.setStatus("Stopped")
	return nil
}

// runSession makes one set of connections and serves it to its end. lived says
// that the controller accepted it, and not for a moment only.
func (l *Link) runSession(ctx context.Context) (lived bool, err error) {
	s, err := l.connect(ctx)
	if err != nil {
		return false, err
	}
	kind := "controller"
	if s.lab {
		kind = "lab controller"
	}
	l.setStatus("Connected to %s %s as %s", kind, host(l.cfg.RequestAddr), l.cfg.Node)
	l.cfg.Log.Info("Connected", "kind", kind, "addr", l.cfg.RequestAddr, "session", s.id)
	l.setConnected(true, s.lab)
	defer l.setConnected(false, false)
	start := time.Now()
	err = s.serve(ctx)
	return (s.lab || s.heard.Load()) && time.Since(start) >= 5*l.cfg.BackoffMin, err
}

// report logs the first failure of a row, and puts each into the status.
func (l *Link) report(attempt int, err error) {
	to := host(l.cfg.RequestAddr)
	var refused *zmtp.RefusedError
	switch {
	case errors.As(err, &refused):
		l.setStatus("Refused by %s: %s", to, refused.Reason)
	case errors.Is(err, zmtp.ErrUnwelcome):
		l.setStatus("%s does not let this node in: it was removed, has another key there, or the array has another CA now. "+
			"There: sudo raidctl node ls, and the log of raid-controller says which (attempt %d: %v)", to, attempt+1, err)
		l.cfg.Unwelcome()
	default:
		l.setStatus("Reconnecting to %s, attempt %d: %v", to, attempt+1, err)
	}
	if attempt <= 1 || attempt%100 == 0 {
		l.cfg.Log.Warn("No session with the controller", "addr", l.cfg.RequestAddr, "attempt", attempt, "reason", err)
	}
}

func host(addr string) string {
	if h, _, err := net.SplitHostPort(addr); err == nil {
		return h
	}
	return addr
}
