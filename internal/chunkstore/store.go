package chunkstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/raid"
)

// Config holds what a Store is made of.
type Config struct {
	FS      FS
	Reserve int64 // bytes of the file system that are never used

	// Array is the array that chunks must belong to; nil: any. It may change from
	// none to one while the store is open.
	Array func() raid.ArrayID

	Pool       *budget.Pool // where ReadLab's buffers come from; nil: 64 MiB of its own
	MaxWriters int          // writes at once (32): enough to share a slow card's journal commits
	Log        *slog.Logger
}

const (
	defaultWriters  = 32
	defaultPoolSize = 64 << 20
)

// Store keeps chunks. It is safe for concurrent use.
type Store struct {
	fs      FS
	ends    endReader // of fs; nil: it has none
	calls   *calls    // of fs
	log     *slog.Logger
	array   func() raid.ArrayID
	pool    *budget.Pool
	dirs    *dirs
	names   names
	space   space
	corrupt corrupt
	commit  commits
	trash   trash
	slots   chan struct{} // one for each write under way
	pages   chan struct{} // has room for the page of a listing that is being read
	listed  nameCaches    // for the call that has put something into pages
	tmp     atomic.Int64  // numbers temporary files

	trailers, tails, verifyBuffers sync.Pool // of *[]byte, *[tailLen]byte, *[verifyLen]byte

	scanned atomic.Bool
	written atomic.Int64  // chunks of this life
	stored  atomic.Int64  // bytes of their payload, and of lab chunks
	used    chan struct{} // closed once the disk is known to be in use
	working atomic.Int64  // requests under way, to which the scan gives way
	worked  atomic.Int64  // when the last of them ended, as time since opened
	opened  time.Time
	// keepCorrupt is the time that Delete keeps corrupt chunks in the trash; 0: not at all.
	keepCorrupt atomic.Int64
	broken      atomic.Pointer[error]

	stop       context.CancelFunc
	background sync.WaitGroup

	mu       sync.RWMutex // held for reading by every call
	isClosed bool
}

// Stats describes the store's state.
type Stats struct {
	TotalBytes    int64  // of the file system
	FreeBytes     int64  // beyond the reserve and what is being written; never negative. The trash makes room, and counts
	Chunks        int64  // native chunks; rises while they are counted after the start
	HighestCommit uint64 // the highest catalog commit number seen
	FoundCommit   uint64 // the highest that lay on the disk at Open, as far as it was read
	// Proven and FoundProven are the same of those numbers alone that came with a MAC.
	Proven, FoundProven raid.Commit

	Scanned     bool  // FoundCommit covers every trailer on the disk
	ReadOnly    bool  // after a failed write or fsync, or while the disk is mounted so
	Corrupt     int64 // chunks that were found corrupt and are still there
	TrashChunks int64 // chunks in the trash
	TrashBytes  int64 // what they take; part of FreeBytes
	Stored      int64 // bytes of payload written since Open
	// Stalled is the time for which the disk has not answered a call, if that is too long.
	Stalled time.Duration
}

// Open opens the store in cfg.FS. It removes what an earlier life was writing
// and starts to count the chunks and to read their trailers.
func Open(cfg Config) (*Store, error) {
	calls := newCalls()
	watched := &watchedFS{cfg.FS, calls}
	s := &Store{
		opened: time.Now(), fs: watched, calls: calls, log: cfg.Log, array: cfg.Array, pool: cfg.Pool, dirs: newDirs(watched),
		names: newNames(), corrupt: corrupt{names: map[raid.ChunkName]struct{}{}},
		space: space{usage: watched.Usage, reserve: cfg.Reserve},
	}
	s.ends, _ = cfg.FS.(endReader)
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.pool == nil {
		s.pool = budget.New(defaultPoolSize)
	}
	if cfg.MaxWriters <= 0 {
		cfg.MaxWriters = defaultWriters
	}
	s.slots = make(chan struct{}, cfg.MaxWriters)
	s.pages = make(chan struct{}, 1)
	s.trailers.New = func() any { return new([]byte) }
	s.tails.New = func() any { return new([tailLen]byte) }
	s.verifyBuffers.New = func() any { return new([verifyLen]byte) }
	if err := s.emptyTmp(); err != nil {
		return nil, fmt.Errorf("open chunk store: %w", err)
	}
	s.try()
	if err := s.dirs.load(); err != nil {
		return nil, fmt.Errorf("open chunk store: %w", err)
	}
	if err := s.loadTrash(); err != nil {
		return nil, fmt.Errorf("open chunk store: %w", err)
	}
	if _, err := s.space.free(); err != nil {
		return nil, fmt.Errorf("open chunk store: %w", err)
	}
	s.commit.load(readCheckpoint(cfg.FS, s.log))
	s.used = make(chan struct{})

	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.background.Go(func() { s.scan(ctx) })
	s.background.Go(func() { s.keepCheckpoint(ctx) })
	s.background.Go(func() { s.prepare(ctx) })
	s.background.Go(func() { s.keepTrash(ctx) })
	if t, ok := cfg.FS.(toucher); ok {
		s.background.Go(func() { s.watch(ctx, t) })
	}
	return s, nil
}

// emptyTmp makes tmp/ if it is not there, and removes what is in it.
func (s *Store) emptyTmp() error {
	if err := s.fs.Mkdir(tmpDir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make directory %s: %w", tmpDir, err)
	}
	names, err := readNames(s.fs, tmpDir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := s.fs.Remove(join(tmpDir, name)); err != nil {
			s.log.Warn("Unfinished file of an earlier run can't be removed", "file", join(tmpDir, name), "reason", err)
			if n, err := strconv.ParseInt(name, 10, 64); err == nil {
				s.tmp.Store(max(n, s.tmp.Load())) // the next is another one
			}
		}
	}
	return nil
}

// try finds out whether the disk takes writes, before anybody counts on it. One
// that does not is read from all the same.
func (s *Store) try() {
	const name = tmpDir + "/try"
	f, err := s.fs.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fileMode)
	if err == nil {
		_, err = f.Write([]byte{0})
		if err == nil {
			err = f.Sync()
		}
		err = errors.Join(err, f.Close(), s.fs.Remove(name))
	}
	if err != nil && !full(err) && !exhausted(err) {
		_ = s.fail("try whether the disk takes writes", err) // told there
	}
}

// Close waits for the calls under way, saves the commit number and ends. Calls
// that come later fail with raid.ErrShutdown.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.isClosed {
		s.mu.Unlock()
		return nil
	}
	s.isClosed = true
	s.mu.Unlock()
	s.stop()
	s.background.Wait()
	if s.readOnly() != nil {
		return nil
	}
	if err := errors.Join(s.saveCheckpoint(), s.saveTrashTime()); err != nil && !errors.Is(err, raid.ErrNoSpace) {
		return fmt.Errorf("close chunk store: %w", err)
	}
	return nil
}

// enter begins a call; leave ends it.
func (s *Store) enter(ctx context.Context) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	if s.isClosed {
		s.mu.RUnlock()
		return nil, fmt.Errorf("chunk store is closed: %w", raid.ErrShutdown)
	}
	s.working.Add(1)
	return s.leave, nil
}

func (s *Store) leave() {
	s.worked.Store(int64(time.Since(s.opened)))
	s.working.Add(-1)
	s.mu.RUnlock()
}

// Stats tells how the store is. It does no I/O that can block.
func (s *Store) Stats() Stats {
	disk, stale := s.space.known()
	if stale {
		s.askSpace()
	}
	seen, found := s.commit.get()
	trash := s.trash.bytes.Load()
	return Stats{
		TotalBytes: disk.Total, FreeBytes: disk.Free + trash, TrashChunks: s.trash.chunks.Load(), TrashBytes: trash, Stalled: s.calls.stalled(),
		Chunks: s.dirs.chunks.Load(), HighestCommit: seen.highest, FoundCommit: found.highest, Proven: seen.proven, FoundProven: found.proven,
		Scanned: s.scanned.Load(), ReadOnly: disk.ReadOnly || s.readOnly() != nil, Corrupt: s.corrupt.count(), Stored: s.stored.Load(),
	}
}

// askSpace has the file system asked for its free space. Nobody waits for the answer:
// a disk that hangs must not hang those that ask for the store's state.
func (s *Store) askSpace() {
	if !s.mu.TryRLock() {
		return // it is being closed
	}
	defer s.mu.RUnlock()
	if s.isClosed || !s.space.ask() {
		return
	}
	s.background.Go(func() {
		if err := s.space.renew(); err != nil {
			s.log.Debug("Free space unknown", "reason", err)
		}
	})
}

// readOnly is nil while the store takes writes, else the reason why it doesn't.
func (s *Store) readOnly() error {
	if p := s.broken.Load(); p != nil {
		return fmt.Errorf("the disk is read only since an earlier failure (%w): %w", *p, raid.ErrReadOnly)
	}
	return nil
}

// fail is told of a write or fsync that failed: from here on the store is read
// only. It returns the error for the caller that caused it.
func (s *Store) fail(doing string, cause error) error {
	if s.broken.CompareAndSwap(nil, &cause) {
		s.log.Error("Disk failed and is read only now; check it (dmesg, fsck), replace it if need be, then restart raid-node",
			"doing", doing, "reason", cause)
	}
	return fmt.Errorf("%s: %w: %w", doing, raid.ErrReadOnly, cause)
}
