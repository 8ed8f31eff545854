// Package trash is where deleted files wait. They can be put back until their time is
// over, somebody empties the trash, or their room is needed. Then the oldest goes first.
//
// The files' chunks stay where they are, and their rows stay in the catalog. What goes
// for good becomes removals there, as recorded deletes do; package repair has the nodes
// carry them out.
//
// # Time
//
// The time of a deleted file is time that controllers ran. So what is deleted before the
// array is switched off for a week is still there after it. What passed since the last
// write to the catalog is forgotten with a power cut: the file then stays longer. It is
// noted a few times in a file's time, and at the end of the process, only while
// there is some file in the trash.
//
// # Room
//
// See [Bin.MakeRoom]. Nothing goes for room while the catalog can't be believed, nor
// again and again for nodes that are full all the same afterwards. What nodes say is free
// is no evidence: where files have been, there is room once they went.
package trash

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/placement"
	"github.com/raidpi/raidpi/internal/raid"
)

// Record is which files are in the trash, durably, and since when.
type Record interface {
	Discard(ctx context.Context, d raid.Discard) (raid.TrashTotals, error)
	Oldest(ctx context.Context) (since time.Duration, some bool, err error)
	NoteRan(ctx context.Context, every time.Duration) error
	Ran() time.Duration
	Counts(ctx context.Context) (raid.Totals, error)
}

// Files are the deleted files, one by one.
type Files interface {
	Undelete(ctx context.Context, id raid.FileID) (raid.File, error)
	Purge(ctx context.Context, id raid.FileID) error
	Trashed(ctx context.Context, id raid.FileID) (raid.TrashedFile, error)
	Trash(ctx context.Context, q raid.FileQuery) iter.Seq2[raid.TrashedFile, error]
}

// Removals are the chunks that wait to be removed from nodes.
type Removals interface {
	Sweep(ctx context.Context, limit int) (more bool, err error)
	RemovalCounts(ctx context.Context) (map[raid.NodeID]int64, error)
}

// Nodes are those of the array.
type Nodes interface {
	StaleCatalog() error // why the catalog may be older than the nodes; nil: it is not
	WarmUp() time.Duration
	Changed() <-chan struct{}
	Candidates() []placement.Candidate
	Nodes() []raid.NodeInfo
}

// Config configures a Bin.
type Config struct {
	Record   Record
	Files    Files
	Removals Removals
	Nodes    Nodes
	Keep     time.Duration // how long a deleted file can be put back
	// Vouched is nil once the catalog's bytes were checked since the start, and found
	// good. Until then no file goes by itself. It does no I/O.
	Vouched func() error
	Cost    func() placement.Cost // of the nodes' space
	Wake    func()                // is called when there is something to remove or repair
	Tell    raid.Tell
	Log     *slog.Logger
}

// Bin is the trash. Its methods may be called concurrently.
type Bin struct {
	cfg    Config
	wake   chan struct{}
	making chan struct{} // held by who makes room
	stats  counters

	mu   sync.Mutex
	rest restState

	// failing is the time for which nothing goes ahead of need after files could not go for room, at failedAt.
	// Both belong to who is making room.
	failing   time.Duration
	failedAt  time.Time
	told      told
	allowance allowance
}

const (
	// batch is the number of files that go in one transaction.
	batch = 1024
	// retryAfter is the time until what failed, or may not be done now, is tried again. What goes
	// on failing is so after ever longer pauses, up to retryMax.
	retryAfter = 10 * time.Second
	retryMax   = 5 * time.Minute
	// Files go together, so that one that was deleted each second costs no write each
	// second: keep/slackShare later than they could, at most slackMax.
	slackShare = 100
	slackMax   = 10 * time.Minute
	// noteShare is the number of notes of run time in the time that files are kept, where no other
	// write does it. noteMin lies between two such notes.
	noteShare = 8
	noteMin   = time.Minute
	// lastNote bounds the time that the note at the end of the process may take.
	lastNote = 5 * time.Second
)

// New makes a Bin; Run does what it does by itself.
func New(cfg Config) *Bin {
	return &Bin{cfg: cfg, wake: make(chan struct{}, 1), making: make(chan struct{}, 1)}
}

// Wake says that a file was deleted.
func (b *Bin) Wake() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Held sums up the trash. No I/O.
func (b *Bin) Held() raid.TrashTotals {
	n, _ := b.cfg.Record.Counts(context.Background()) // nothing, when the catalog is broken
	return n.Trash
}

// Run lets files go whose time is over, and keeps some room on the nodes, until ctx
// ends or the catalog is broken.
func (b *Bin) Run(ctx context.Context) error {
	var rooms sync.WaitGroup
	defer rooms.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	rooms.Go(func() { b.keepRoom(ctx) })
	err := b.expireAll(ctx)
	if err == nil && b.cfg.Nodes.StaleCatalog() == nil {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastNote)
		defer cancel()
		if err := b.cfg.Record.NoteRan(last, noteMin); err != nil {
			b.cfg.Log.Debug("how long the controller ran is not noted", "cause", err)
		}
	}
	return err
}

func (b *Bin) expireAll(ctx context.Context) error {
	failed := time.Duration(0)
	for {
		pause, err := b.expire(ctx)
		switch {
		case errors.Is(err, raid.ErrCatalogBroken):
			return err
		case err != nil && ctx.Err() == nil:
			failed = min(max(2*failed, retryAfter), retryMax)
			b.cfg.Log.Warn("the trash could not be looked through; it is tried again", "error", err, "again_in", failed)
			pause = failed
		case err == nil:
			failed = 0
		}
		var again <-chan time.Time
		if pause >= 0 {
			again = time.After(pause)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-b.wake:
		case <-again:
		}
	}
}

// expire lets files go whose time is over. It returns when to look again, less than
// 0: when a file is deleted.
func (b *Bin) expire(ctx context.Context) (pause time.Duration, err error) {
	for {
		since, some, err := b.cfg.Record.Oldest(ctx)
		if err != nil || !some {
			return -1, err
		}
		if b.mayDiscard() != nil {
			return retryAfter, nil
		}
		if left := since + b.cfg.Keep - b.cfg.Record.Ran(); left > 0 {
			every := max(b.cfg.Keep/noteShare, noteMin)
			slack := min(b.cfg.Keep/slackShare, slackMax)
			return min(left+slack, every), b.cfg.Record.NoteRan(ctx, every)
		}
		gone, err := b.cfg.Record.Discard(ctx, raid.Discard{Until: b.cfg.Record.Ran() - b.cfg.Keep, Limit: batch})
		if err != nil {
			return 0, err
		}
		b.stats.expired.Add(gone.Files)
		b.cfg.Log.Info("deleted files are gone for good: their time in the trash is over", "files", gone.Files, "bytes", gone.Bytes)
		b.cfg.Wake()
	}
}

// mayDiscard says why no file may go by itself now.
func (b *Bin) mayDiscard() error {
	if err := b.cfg.Nodes.StaleCatalog(); err != nil {
		return err
	}
	if b.cfg.Nodes.WarmUp() > 0 {
		return fmt.Errorf("%w: it is not known yet whether the catalog is the newest", raid.ErrBusy)
	}
	return b.cfg.Vouched()
}

// orStale is err, or that the catalog may be older than the nodes where that can be why
// a file is not there.
func (b *Bin) orStale(err error) error {
	if behind := b.cfg.Nodes.StaleCatalog(); behind != nil && errors.Is(err, raid.ErrNotFound) {
		return behind
	}
	return err
}

// Undelete puts a file back; see catalog.Catalog.Undelete. It also fails with
// raid.ErrCatalogBehind, when the catalog may be older than the nodes.
func (b *Bin) Undelete(ctx context.Context, id raid.FileID) (raid.File, error) {
	if err := b.cfg.Nodes.StaleCatalog(); err != nil {
		return raid.File{}, err
	}
	f, err := b.cfg.Files.Undelete(ctx, id)
	if err == nil {
		b.stats.undeleted.Add(1)
		b.cfg.Wake() // some copy may have to be made again
	}
	return f, err
}

// Purge deletes a file for good, also one that is in the trash already; see
// catalog.Catalog.Purge. It also fails with raid.ErrCatalogBehind.
func (b *Bin) Purge(ctx context.Context, id raid.FileID) error {
	if err := b.cfg.Nodes.StaleCatalog(); err != nil {
		return err
	}
	if err := b.cfg.Files.Purge(ctx, id); err != nil {
		return err
	}
	b.stats.purged.Add(1)
	b.cfg.Wake()
	return nil
}

// Empty has all files go that are in the trash now, and returns what they were. After
// an error some may have gone.
func (b *Bin) Empty(ctx context.Context) (gone raid.TrashTotals, err error) {
	if err := b.cfg.Nodes.StaleCatalog(); err != nil {
		return gone, err
	}
	until := b.cfg.Record.Ran()
	for {
		some, err := b.cfg.Record.Discard(ctx, raid.Discard{Until: until, Limit: batch})
		gone = gone.Add(some)
		if err == nil && some.Files > 0 {
			continue
		}
		if gone.Files > 0 {
			b.stats.purged.Add(gone.Files)
			b.cfg.Wake()
			b.cfg.Tell(raid.Event{Kind: raid.TrashEmptied, Text: "the trash was emptied by a person: " + describe(gone)})
		}
		return gone, err
	}
}

// Find describes a file that is in the trash; raid.ErrNotFound, or
// raid.ErrCatalogBehind where that may be why.
func (b *Bin) Find(ctx context.Context, id raid.FileID) (raid.TrashedFile, error) {
	f, err := b.cfg.Files.Trashed(ctx, id)
	return f, b.orStale(err)
}

// List lists deleted files that can be put back, by ascending id.
func (b *Bin) List(ctx context.Context, q raid.FileQuery) iter.Seq2[raid.TrashedFile, error] {
	return b.cfg.Files.Trash(ctx, q)
}

// describe says how much went.
func describe(t raid.TrashTotals) string {
	files := "1 file"
	if t.Files != 1 {
		files = fmt.Sprintf("%d files", t.Files)
	}
	return files + ", " + size(t.Bytes)
}

// size writes a number of bytes for a person.
func size(n int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
