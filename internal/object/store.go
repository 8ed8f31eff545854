package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/hedge"
	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/stripe"
)

// Writer has what an upload needs of the catalog.
type Writer interface {
	NextID(ctx context.Context) (raid.FileID, error)
	Begin(ctx context.Context, f raid.File) error
	Append(ctx context.Context, id raid.FileID, parts []raid.Part) error
	Finish(ctx context.Context, f raid.FinishedUpload) (raid.File, error)
	Abandon(ctx context.Context, f raid.File, removals []raid.Removal) error
}

// Index has what downloads, deletes and repairs need of the catalog.
type Index interface {
	Parts(ctx context.Context, id raid.FileID, from, to int64) ([]raid.Part, error)
	MarkBad(ctx context.Context, file raid.FileID, stripe int64, part, index, attempt int) error
	Delete(ctx context.Context, id raid.FileID) error
	// NextAttempt gives out a number that no chunk of the part ever had, and notes that
	// the chunk is about to be stored on the node, durably.
	NextAttempt(ctx context.Context, file raid.FileID, stripe int64, part int, node raid.NodeID) (int, error)
}

// LabGet asks all lab peers for a chunk of size bytes. It fills dst, of that
// length, with the first answer that accept agrees to; see wire.Hub.LabGet.
type LabGet func(ctx context.Context, name raid.ChunkName, size int64, dst []byte, accept func([]byte) bool) error

// Trash knows what deleted files still take of the nodes' space.
type Trash interface {
	// MakeRoom gives some of it back until enough says that there is room; see trash.Bin.
	MakeRoom(ctx context.Context, bytes int64, enough func() bool) bool
	// Makes returns the bytes of files that could still be given way, about. No I/O.
	Makes() int64
}

// Config configures a Store.
type Config struct {
	Writer Writer
	Index  Index
	Nodes  *membership.Members
	LabGet LabGet
	Trash  Trash        // nil: there is none
	Pool   *budget.Pool // of requests
	// Healing bounds what copies that are made again hold, so that no request waits for
	// that; nil: a pool of healingBudget.
	Healing *budget.Pool
	Array   raid.ArrayID
	Run     uint32        // the controller's run number
	Level   stripe.Level  // of new files
	Levels  stripe.Levels // of stored ones; nil: those that are known
	Copies  int           // of each part
	// StripeSize is in bytes; 0 makes every file one stripe, of at most
	// MaxWholeFile bytes.
	StripeSize     int64
	MaxWholeFile   int64
	DegradedWrites bool
	Commit         func() uint64 // the catalog's last durable commit number
	Random         io.Reader     // of cryptographic quality
	// Draw returns a number in [0, n), for placement and the choice of copies.
	Draw func(n int64) int64
	// Wake is called when there is something to remove or repair.
	Wake func()
	// Request is told that a request begins, and then that it is over and whether it was
	// small; nil: nobody wants to know.
	Request func() (end func(small bool))
	Log     *slog.Logger
}

// healingBudget bounds what copies that are made again may hold in buffers, in bytes. A block
// of each that is read back comes on top, and a second buffer where a node is slow.
const healingBudget = 24 << 20

// smallRequest is the most bytes that a request moves whose time matters most.
const smallRequest = raid.BlockSize

// Store stores files and reads them back. Its methods may be called
// concurrently.
type Store struct {
	cfg    Config
	cancel context.CancelCauseFunc
	ctx    context.Context // ends when Close begins

	mu       sync.Mutex
	closed   bool
	underWay map[raid.UploadID]*upload // from the first chunk until the rows or removals are durable
	// background counts what spawn started: goroutines that may outlive a request
	// for a moment, such as chunk sends to nodes that hang, reads that lost, and
	// the recording of what an upload left behind.
	background sync.WaitGroup
	hedges     hedge.Budget
	lists      lists
	faithless  faithless
	stats      counters
}

// counters hold what Stats reports; each counts from the start of the process.
type counters struct {
	uploads, uploadsFailed, downloads, deletes atomic.Int64
	bytesIn, bytesOut                          atomic.Int64
	replaced, hedged, corrupt, missing         atomic.Int64
}

// Stats counts events since the start of the process.
type Stats struct {
	Uploads, UploadsFailed, Downloads, Deletes int64
	BytesIn, BytesOut                          int64
	Replaced                                   int64 // copies placed again because a node failed
	Hedged                                     int64 // reads that asked a second copy out of impatience
	Corrupt, Missing                           int64 // copies found bad while reading
}

// New makes a Store.
func New(cfg Config) *Store {
	ctx, cancel := context.WithCancelCause(context.Background())
	if cfg.Levels == nil {
		cfg.Levels = stripe.Known()
	}
	if cfg.Healing == nil {
		cfg.Healing = budget.New(healingBudget)
	}
	if cfg.Request == nil {
		cfg.Request = func() func(bool) { return func(bool) {} }
	}
	return &Store{cfg: cfg, ctx: ctx, cancel: cancel, underWay: map[raid.UploadID]*upload{}}
}

// Close ends what is still under way with raid.ErrShutdown and waits for it.
// Calls that come later fail.
func (s *Store) Close() {
	s.cancel(raid.ErrShutdown)
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.background.Wait()
}

// UnderWay reports whether chunks of an upload may be on nodes that the catalog does
// not know yet.
func (s *Store) UnderWay(upload raid.UploadID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.underWay[upload] != nil
}

// Uploads returns a function that reports whether all uploads are over that are under way
// now. One that begins later chooses nodes by what is known of them then.
func (s *Store) Uploads() (over func() bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	begun := maps.Clone(s.underWay)
	return func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		maps.DeleteFunc(begun, func(id raid.UploadID, _ *upload) bool { return s.underWay[id] == nil })
		return len(begun) == 0
	}
}

func (s *Store) setUnderWay(up *upload, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if on {
		s.underWay[up.file.Upload] = up
	} else {
		delete(s.underWay, up.file.Upload)
	}
}

// spawn runs f in a goroutine that Close waits for, or returns false when Close
// has begun.
func (s *Store) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.background.Go(f)
	return true
}

// Stats returns the counters.
func (s *Store) Stats() Stats {
	c := &s.stats
	return Stats{
		Uploads: c.uploads.Load(), UploadsFailed: c.uploadsFailed.Load(), Downloads: c.downloads.Load(), Deletes: c.deletes.Load(),
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(), Replaced: c.replaced.Load(), Hedged: c.hedged.Load(),
		Corrupt: c.corrupt.Load(), Missing: c.missing.Load(),
	}
}

// Delete removes a file: when it returns nil, the file is not found any more, durably.
// Its chunks follow, once it can't be put back. raid.ErrNotFound, or
// raid.ErrCatalogBehind when the catalog may be older than the nodes.
func (s *Store) Delete(ctx context.Context, id raid.FileID) error {
	if err := s.cfg.Nodes.StaleCatalog(); err != nil {
		return err
	}
	if err := s.cfg.Index.Delete(ctx, id); err != nil {
		return err
	}
	s.stats.deletes.Add(1)
	s.cfg.Wake()
	return nil
}

// orStale is err, or that the catalog may be older than the nodes where that can be why bytes are
// not to be had. The file may have been deleted since, or its copies moved.
func (s *Store) orStale(err error) error {
	if behind := s.cfg.Nodes.StaleCatalog(); behind != nil && (errors.Is(err, raid.ErrCorrupt) || errors.Is(err, raid.ErrNotFound)) {
		return fmt.Errorf("%w: %w", behind, err)
	}
	return err
}

// backgroundLimit bounds how long the recording of an abandoned upload may take.
const backgroundLimit = 30 * time.Second

// ended reports whether err only says that somebody stopped waiting.
func ended(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, raid.ErrShutdown)
}
