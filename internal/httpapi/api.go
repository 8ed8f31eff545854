package httpapi

import (
	"cmp"
	"context"
	"crypto/rand"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/object"
	"github.com/raidpi/raidpi/internal/peercred"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/stripe"
)

// Files stores, reads and removes whole files.
type Files interface {
	// Upload stores a file; see object.Store. A body whose digest or length is
	// not what was announced is raid.ErrInvalid.
	Upload(ctx context.Context, u object.Upload) (raid.File, error)
	// CheckRoom is raid.ErrArrayFull when a file of a size can't have room, as far as
	// that is known before any of it is read.
	CheckRoom(size int64) error
	// Open reads a file's verified bytes. The reader may also have
	// WriteN(io.Writer, int64) (int64, error), which then serves whole files and
	// ranges, or else WriteTo, which serves up to the end. Without
	// them bytes are copied through a buffer. Nothing is opened for HEAD, 304, 412 and 416.
	Open(ctx context.Context, f raid.File) (io.ReadSeekCloser, error)
	// Delete removes a file, which can be put back for a while; raid.ErrNotFound.
	Delete(ctx context.Context, id raid.FileID) error
}

// Index has what the catalog tells of files. While the catalog is behind what
// nodes have seen, File and Names return raid.ErrCatalogBehind where they would
// say raid.ErrNotFound.
type Index interface {
	File(ctx context.Context, id raid.FileID) (raid.File, error)
	// Names yields the chunk names of all stripes of a file, of the parts of one
	// number, from 1, until the first error. As Files does, it holds nothing open
	// between two of them, and no more than a page of them.
	Names(ctx context.Context, f raid.File, part int) iter.Seq2[raid.ChunkName, error]
	// Files yields complete files by ascending id until the first error. It holds
	// nothing open between two of them that a slow client could block.
	Files(ctx context.Context, q raid.FileQuery) iter.Seq2[raid.File, error]
	// FindKey looks an idempotency key of the last 24 hours up.
	FindKey(ctx context.Context, key string) (id raid.FileID, fingerprint [32]byte, found bool, err error)
}

// Config configures an API. Files, Index, Nodes, Status, Ready and Log
// must be set.
type Config struct {
	Files  Files
	Index  Index
	Levels stripe.Levels // that files may have; nil: those that are known
	Trash  Trash         // must be set for the calls of deleted files
	Nodes  func() []raid.NodeInfo
	Status func(context.Context) (Status, error)
	Node   func(context.Context, raid.NodeID) (NodeDetail, error) // must be set for the calls about one node; raid.ErrNotFound
	Ready  func() error                                           // nil when requests can be served; its text is for people

	// Metrics is where the API's own metrics go, and what /metrics shows. nil: a
	// registry of its own.
	Metrics *prometheus.Registry
	Version string
	Log     *slog.Logger

	Auth      bool       // ask for tokens; see allow
	Names     []string   // host names of this machine, besides localhost
	Tokens    Tokens     // must be set with Auth, and for the calls that manage them
	Registrar Registrar  // must be set for the calls of nodes that join, and of who removes them
	Events    Events     // nil: none are kept
	Tell      raid.Tell  // is told what people did here; nil: nobody is
	Change    ChangeNode // must be set for the call that changes nodes
	// Scrubs must be set for the calls about scrubs; without them no file has a time of
	// its check.
	Scrubs Scrubs
	// Relocations must be set for the calls that drain and replace nodes.
	Relocations Relocations
	JoinTokens  JoinTokens      // must be set for the calls that manage them
	Hosts       func() []string // under which nodes and browsers reach this machine, the best first
	Port        func() int      // of TCP, on which Serve answers
	CAPEM       []byte          // the array's CA certificate
	Pin         [16]byte        // the first half of the CA's pin, for access tokens
	Random      io.Reader       // for secrets; crypto/rand when nil

	// Peer is the id of the user whose program is at the other end of a connection on this machine.
	// nil is passed for a request that did not come through Serve. peercred.Of when nil.
	Peer func(net.Conn) (uid uint32, err error)

	MaxBody     int64         // bytes of a request's body, 0: no limit
	MaxFile     int64         // bytes of a file, 0: no limit; what is known to be larger is refused unread
	MaxRequests int           // uploads and downloads at once of one caller, and as many listings; 64 unless set. See places
	Wait        time.Duration // of a request for a place among those, 10 s unless set
	MaxConns    int           // open connections, 1024 unless set; for more see connections
	Stall       time.Duration // without progress a connection is cut, 30 s unless set
	Drain       time.Duration // for requests under way when Serve has to end, 10 s unless set
}

// API answers HTTP requests. It is safe for concurrent use and owns no
// goroutine outside Serve.
type API struct {
	cfg       Config
	log       *slog.Logger
	metrics   *metrics
	routes    *router
	transfers *httpserver.RequestLimiter // of uploads and downloads under way
	// listings are answers that are streamed out of the catalog. Their places are
	// others than those for files, so that one can look what there is while these are
	// taken; small answers need none.
	listings *httpserver.RequestLimiter
	keys     keys
	origins  *http.CrossOriginProtection
	attempts httpserver.RateLimiter // to show a token
	bearers  bearers
	// followers are those who follow the events, until ending is closed.
	followers followers
	ending    chan struct{}
	end       sync.Once
	people    peercred.People
	mentions  httpserver.RateLimiter // of what else strangers can have logged; apart, so that neither hides the other
}

// New makes an API.
func New(cfg Config) *API {
	cfg.MaxRequests = cmp.Or(max(cfg.MaxRequests, 0), 64)
	cfg.Stall = cmp.Or(max(cfg.Stall, 0), 30*time.Second)
	if cfg.Metrics == nil {
		cfg.Metrics = prometheus.NewRegistry()
	}
	if cfg.Levels == nil {
		cfg.Levels = stripe.Known()
	}
	if cfg.Tell == nil {
		cfg.Tell = func(raid.Event) {}
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	a := &API{
		cfg:       cfg,
		log:       cfg.Log,
		transfers: httpserver.NewRequestLimiter("uploads and downloads", cfg.MaxRequests, cfg.Wait),
		listings:  httpserver.NewRequestLimiter("listings", cfg.MaxRequests, cfg.Wait),
		keys:      keys{running: map[string][32]byte{}},
		origins:   http.NewCrossOriginProtection(),
		people:    peercred.KnownPeople("/etc/login.defs"),
		ending:    make(chan struct{}),
	}
	a.bearers.over = func(id string) (over, ends bool) {
		k, found := a.cfg.Tokens.Token(id)
		return !found || k.Revoked || k.Expired, k.Expires != ""
	}
	a.metrics = newMetrics(cfg.Metrics, func() float64 { return float64(a.transfers.InUse()) }, func() float64 { return float64(a.followers.count()) })
	a.routes = newRouter(a.table(), a.metrics)
	return a
}

// Serve answers requests on listeners until ctx ends or one of them fails; see
// [httpserver.Serve]. Who comes through a listener on a Unix socket as root or as this
// process's user may do everything; see originOf for others.
func (a *API) Serve(ctx context.Context, listeners ...net.Listener) error {
	return httpserver.Serve(ctx, httpserver.Config{
		Handler: a.Handler(), Log: a.log, MaxConns: a.cfg.MaxConns, Stall: a.cfg.Stall, Drain: a.cfg.Drain,
		Ending: func() { a.end.Do(func() { close(a.ending) }) }, // who follows the events would be waited for in vain
	}, listeners...)
}

// Handler is the API as an http.Handler, for servers other than Serve's.
func (a *API) Handler() http.Handler { return http.HandlerFunc(a.serveHTTP) }
