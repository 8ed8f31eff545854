package catalog

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// Config says where a catalog is and what it takes from outside.
type Config struct {
	Path    string       // of the database file; its folder is made when missing
	Random  io.Reader    // for the array id and the tags of runs; crypto/rand when nil
	Log     *slog.Logger // discarded when nil
	Reserve int64        // bytes of the disk that uploads leave free; deletes and repairs still work

	// Wall is the time of day, for the end of REST tokens and the age of nodes' keys
	// alone; time.Now when nil.
	Wall func() time.Time

	// Keep bounds how long a deleted file can be put back, of the time that controllers
	// run with this catalog; 0: not at all.
	Keep time.Duration

	// Ballast is a file on the same disk, for this alone, that keeps some room for when
	// the disk is full; "": none is kept.
	Ballast string

	// Progress is told while Open is at a step that can take minutes, each time that
	// it has got on: not while SQLite or the disk hangs. step is for a person; done and
	// total are bytes, total 0 where it is not known. It is called by one goroutine at
	// a time, and no more when Open has returned. May be nil.
	Progress func(step string, done, total int64)

	Program string // version of the raid-controller, for FormerProgram of the next start
}

// Catalog is an open catalog. Its methods may be called concurrently.
type Catalog struct {
	path    string
	log     *slog.Logger
	started time.Time // monotonic: what idempotency keys and the trash are timed from
	keep    time.Duration
	lock    *os.File

	array     raid.ArrayID
	run       uint32
	firstID   int64 // ids of earlier runs are lower
	ranBefore int64 // milliseconds of meta.ran at the start
	commit    atomic.Uint64
	proofs    proofs
	ids       ids
	events    eventLog
	wall      *wallClock
	writer    *writer
	readers   chan *conn   // those that nobody uses
	reading   sync.RWMutex // held by readers; see writer.restartLog
	closing   chan struct{}
	health    *health
	query     url.Values // of connections that only read
	checker   checker
	unwatch   func()
	closer    sync.Once
	closeErr  error

	// mu guards state. Only the writer's goroutine changes it, after a commit.
	mu    sync.RWMutex
	state state
}

// state is the part of what is committed that the catalog keeps in memory.
type state struct {
	meta  meta
	nodes []node // by key: node k is at k-1, also when it was removed
	byID  map[raid.NodeID]int64
	ends  map[epoch]uint64 // the last commit number of each earlier epoch

	spread spreadTable

	tokens map[string]raid.AccessToken // by id; changed by what a transaction does after its commit
}

// meta is the part of the row of the table meta that changes while running.
type meta struct {
	run    uint32 // of commit numbers; Catalog.run until that run's are used up
	commit uint64
	nextID int64
	latest string // the highest time of day that is durable

	spreadTo int64 // files with ids up to it are in spread
	ran      int64 // milliseconds, see Catalog.Ran
	counts   raid.Totals
}

// node is a row of the table node.
type node struct {
	raid.NodeRecord
	identity
	removals int64
}

// Array is the array's id, drawn at the first start.
func (c *Catalog) Array() raid.ArrayID { return c.array }

// Run is the number of this start of the controller, from 1.
func (c *Catalog) Run() uint32 { return c.run }

// Commit is the number of the last durable write transaction. It only grows.
// It does no I/O.
func (c *Catalog) Commit() uint64 { return c.commit.Load() }

// Knows reports whether a commit number that a node has seen is one of this
// catalog's past. When it is not, the node has seen a newer catalog, or one that
// went on where this one was put back. Commit number 0 means none. No I/O.
func (c *Catalog) Knows(commit uint64) bool {
	now, e := c.Commit(), epochOf(commit)
	switch {
	case commit == 0:
		return true
	case e == epochOf(now):
		return commit <= now
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return commit <= c.state.ends[e]
}

// Broken is closed when a write failed in a way that leaves its outcome unknown.
// All calls fail with raid.ErrCatalogBroken from then on.
func (c *Catalog) Broken() <-chan struct{} { return c.writer.broken }

// Close waits for the write in progress, fails those that wait with
// raid.ErrShutdown, and closes the database. A broken catalog is closed without
// writing.
func (c *Catalog) Close() error {
	c.closer.Do(func() { c.closeErr = c.close() })
	return c.closeErr
}

func (c *Catalog) close() error {
	close(c.closing)
	c.checker.stop()
	c.writer.stop()
	readers := make([]*conn, 0, cap(c.readers))
	for range cap(c.readers) {
		readers = append(readers, <-c.readers)
	}
	// SQLite's last connection to close moves the log into the database. That
	// must be a read-only one, which can't, when the catalog is broken.
	order := append(readers, c.writer.conn)
	if c.writer.isBroken() {
		order = append([]*conn{c.writer.conn}, readers...)
	}
	var first error
	for _, conn := range order {
		if err := conn.close(); err != nil && first == nil {
			first = fmt.Errorf("close catalog %s: %w", c.path, err)
		}
	}
	c.unwatch()
	_ = c.checker.file.Close() // not before: that would end SQLite's locks on it
	if err := c.lock.Close(); err != nil && first == nil {
		first = fmt.Errorf("unlock catalog %s: %w", c.path, err)
	}
	return first
}
