// Package membership knows which nodes there are and how they are: up, suspect,
// down or draining, how much they can take, and whether any of them has seen a
// newer catalog than this controller's.
//
// It observes a wire.Hub. All judgements are made from monotonic time when they
// are asked for, so a node that goes silent becomes suspect without any
// event. Nothing here writes to the catalog when a heartbeat arrives.
//
// Lock order: Members.mu is the only lock. No call out of this package
// is made while it is held, except to the accessors of
// a wire.Session or wire.LabNode. Those take no lock of ours.
package membership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/allowance"
	"github.com/raidpi/raidpi/internal/hedge"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// Config configures Members.
type Config struct {
	// Known are the native nodes that the catalog remembers.
	Known []raid.NodeRecord
	// Save makes a record durable. Run calls it when a remembered node changed.
	Save func(context.Context, raid.NodeRecord) error
	// Remembers reports whether the catalog knows a node, which it does from the
	// node's first chunk on; nil: every node. Until then nothing is saved of a
	// node, and nothing is left of it when it goes: anybody can say hello.
	Remembers func(raid.NodeID) bool
	// Decided returns what the catalog has of a node, of which the zone and the size of
	// the disk are a person's decisions; nil: nobody decides. It does no I/O.
	Decided func(raid.NodeID) (raid.NodeRecord, bool)
	// Knows reports whether a commit number that a node has seen belongs to our
	// catalog's past.
	Knows func(commit uint64) bool
	// Genuine reports whether a controller of this array made a number, of our catalog's
	// past or not; nil: none is known to. Possible reports whether one can have come to
	// it; nil: to any.
	Genuine  func(raid.Commit) bool
	Possible func(commit uint64) bool
	// Name is the name that people know a node by, "" when it has no name; nil: none has. It must not
	// wait, nor call Members.
	Name func(raid.NodeID) string
	// Damaged tells what is wrong with our catalog's own bytes, see Behind; nil: nothing
	// ever is. It does no I/O.
	Damaged func() error
	// Settle bounds the wait for a known node that is away.
	Settle time.Duration
	// Window is the number of unacknowledged bytes that make a node count as slow.
	Window int64
	Log    *slog.Logger
}

// Members is the set of nodes. It implements wire.Observer.
type Members struct {
	cfg     Config
	started time.Time
	saves   chan struct{} // wakes Run

	mu      sync.Mutex
	native  map[raid.NodeID]*member
	lab     map[raid.NodeID]*wire.LabNode
	changed chan struct{} // closed and replaced at every change
	claims  map[raid.NodeID]Claim
	stale   error                    // what the claims come to, see judge
	unheard map[raid.NodeID]struct{} // known at the start and not yet seen
}

// member is one native node.
type member struct {
	id        raid.NodeID
	record    raid.NodeRecord
	dirty     bool // record must be saved
	saves     allowance.Bucket
	turns     allowance.Bucket // see turnRate
	known     bool             // the catalog remembers it
	given     bool             // a chunk was sent to it, which the catalog may be told of yet
	session   *wire.Session
	heartbeat wire.Heartbeat
	stored    int64 // bytes that this run has stored on it, less what it has removed; at most what is there
	seen      bool  // by this run
	downSince time.Time
	leftAt    time.Time     // when it first said that it takes nothing new, while it has not taken that back
	stalledAt time.Time     // when a read was last given up
	notedAt   time.Time     // when record.Last was last to be saved
	latency   hedge.Latency // of reads
	stores    hedge.Latency
	problem   string // see Peer.Accuse
	// stallLogged is when the log was last told of its disk.
	stallLogged time.Time
}

// New makes the set of nodes; Run must be called for records to be saved.
func New(cfg Config) *Members {
	m := &Members{
		cfg: cfg, started: time.Now(), saves: make(chan struct{}, 1),
		native: map[raid.NodeID]*member{}, lab: map[raid.NodeID]*wire.LabNode{}, changed: make(chan struct{}),
		unheard: map[raid.NodeID]struct{}{}, claims: map[raid.NodeID]Claim{},
	}
	for _, r := range cfg.Known {
		m.unheard[r.ID] = struct{}{}
		m.native[r.ID] = &member{id: r.ID, record: r, known: true, downSince: m.started}
	}
	return m
}

// saveRate bounds how often a node's record is saved. What changes more often is saved later,
// as it is then: what a node says of itself must not wear the controller's card.
var saveRate = allowance.Rate{Burst: 4, Every: 30 * time.Second}

// saveAgain is the time until a record that could not be saved is tried again.
const saveAgain = 10 * time.Second

// Run saves what changed about nodes until ctx ends. Only a broken catalog ends
// it with an error; whatever else keeps a record from being saved is tried again.
func (m *Members) Run(ctx context.Context) error {
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return m.saveSights(context.WithoutCancel(ctx))
		case <-m.saves:
		case <-again:
		}
		again = nil
		dirty, later := m.takeDirty()
		if later > 0 {
			again = time.After(later)
		}
		for _, r := range dirty {
			err := m.cfg.Save(ctx, r)
			switch {
			case errors.Is(err, raid.ErrCatalogBroken):
				return fmt.Errorf("remember node %s: %w", r.ID, err)
			case err != nil && ctx.Err() == nil:
				m.cfg.Log.Warn("a node's record could not be saved; it is tried again", "node", r.ID, "error", err)
				m.setDirty(r.ID)
				again = time.After(max(later, saveAgain))
			}
		}
	}
}

func (m *Members) setDirty(id raid.NodeID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.native[id]; n != nil {
		n.dirty = true
	}
}

// takeDirty are the records to save now; later is when there may be more, 0: none waits.
func (m *Members) takeDirty() (out []raid.NodeRecord, later time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for _, n := range m.native {
		if !n.dirty || !m.remembers(n) {
			continue
		}
		if n.saves.Take(saveRate, now) {
			n.dirty = false
			out = append(out, n.record)
		} else if wait := n.saves.Wait(saveRate, now); later == 0 || wait < later {
			later = wait
		}
	}
	return out, later
}

// takeLast are all records that are not saved, at the end.
func (m *Members) takeLast() (out []raid.NodeRecord) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.native {
		if n.dirty && m.remembers(n) {
			n.dirty = false
			out = append(out, n.record)
		}
	}
	return out
}

// remembers reports whether the catalog knows the node. Callers hold mu.
func (m *Members) remembers(n *member) bool {
	n.known = n.known || m.cfg.Remembers == nil || m.cfg.Remembers(n.id)
	return n.known
}

// Changed returns a channel that is closed at the next arrival, departure or
// change of a node. A node that falls silent causes no change.
func (m *Members) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// notify wakes those who wait on Changed. Callers hold mu.
func (m *Members) notify() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// StaleCatalog returns an error that wraps raid.ErrCatalogBehind while nodes turn out to
// have seen a newer catalog than ours, see [Members.Claims]. It wraps raid.ErrCatalogDamaged
// once ours is known to be damaged. It stays so until the controller is started with
// the right one, or those nodes are removed.
func (m *Members) StaleCatalog() error {
	if m.cfg.Damaged != nil {
		if err := m.cfg.Damaged(); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stale
}

// WarmUp returns the time for which it is yet to be waited for what nodes have seen: until
// all that the catalog knew at the start have reported, or for settle. Until it
// is zero nothing may be stored or removed and no commit number told to any node,
// since one of the others may prove the catalog to be an old one. Whoever had
// heard a number of that one would then call the right one old.
func (m *Members) WarmUp() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.unheard) == 0 {
		return 0
	}
	return max(0, m.cfg.Settle-time.Since(m.started))
}

// CleanedRun is the run up to which a node's leftovers are removed, and
// SetCleanedRun records a new one.
func (m *Members) CleanedRun(id raid.NodeID) uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.native[id]; n != nil {
		return n.record.CleanedRun
	}
	return 0
}

// SetCleanedRun records that leftovers of runs below run are gone from a node.
func (m *Members) SetCleanedRun(id raid.NodeID, run uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.native[id]; n != nil && n.record.CleanedRun != run {
		n.record.CleanedRun = run
		m.markDirty(n)
	}
}

// markDirty has Run save the record, as soon as the node is remembered. Callers
// hold mu.
func (m *Members) markDirty(n *member) {
	n.dirty = true
	if !n.known {
		return
	}
	select {
	case m.saves <- struct{}{}:
	default:
	}
}
