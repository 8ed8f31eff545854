package catalog

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// maxGroupOps and maxGroupRows bound one transaction: what a caller that
	// comes late waits for.
	maxGroupOps  = 256
	maxGroupRows = 4096
)

// op is one call that writes.
type op struct {
	name  string // verb noun, begins its errors
	rows  int    // about how many rows it writes, at least 1
	grows bool   // needs the reserve free
	frees bool   // may use the room that is kept for a full disk
	files bool   // changes what is known of files and chunks: not on a damaged catalog
	run   func(*tx) error

	taken atomic.Bool // by the writer, or by a caller that gave up waiting
	done  chan error  // gets one result when the writer took it
}

// writer owns the one connection that writes, and the goroutine that uses it.
type writer struct {
	conn    *conn
	log     *slog.Logger
	random  io.Reader
	path    string
	reserve int64
	spare   *ballast
	reading *sync.RWMutex // readers hold it while they read
	now     func() string // the time of day, noted by each transaction
	ran     func() int64  // how long controllers have run, noted by each transaction
	base    func() state  // what is committed
	keep    func(*tx)     // publishes what was committed
	carried func() *op    // what a transaction takes along; nil: nothing
	health  *health
	moving  sync.Mutex // held while the log is moved into the database

	ops                     chan *op
	looks                   chan struct{} // taken between two steps, see Catalog.WriterMoves
	held                    *op           // taken from ops but too large for the last group
	pages                   int           // written to the log since the last checkpoint
	logged                  int           // pages in the log at that time
	checkpointAt, restartAt int           // pages of log, see checkpoint
	wait                    sync.WaitGroup
	once                    sync.Once
	closing                 chan struct{}
	stopped                 chan struct{}
	broken                  chan struct{}
	cause                   error // set before broken is closed
}

// start runs the goroutine until stop.
func (w *writer) start() {
	w.ops = make(chan *op, maxGroupOps)
	w.looks = make(chan struct{})
	w.closing, w.stopped, w.broken = make(chan struct{}), make(chan struct{}), make(chan struct{})
	w.wait.Go(w.loop)
}

func (w *writer) stop() {
	w.once.Do(func() { close(w.closing) })
	w.wait.Wait()
}

// do has o done in a transaction and returns when that is durable or failed.
func (w *writer) do(ctx context.Context, o *op) error {
	o.done = make(chan error, 1)
	select {
	case <-w.closing:
		return errClosed(o.name)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", o.name, ctx.Err())
	default:
	}
	select {
	case w.ops <- o:
	case <-w.closing:
		return errClosed(o.name)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", o.name, ctx.Err())
	}
	done := ctx.Done()
	for {
		select {
		case err := <-o.done:
			return err
		case <-done:
			if o.taken.CompareAndSwap(false, true) {
				return fmt.Errorf("%s: %w", o.name, ctx.Err())
			}
			done = nil // its turn has come: only the outcome counts
		case <-w.stopped:
			select {
			case err := <-o.done:
				return err
			default:
				return errClosed(o.name)
			}
		}
	}
}

// offer queues an op that nobody waits for. It reports whether there was room.
func (w *writer) offer(o *op) bool {
	o.done = make(chan error, 1)
	select {
	case w.ops <- o:
		return true
	default:
		return false
	}
}

func errClosed(name string) error {
	return fmt.Errorf("%s: the catalog is closed: %w", name, raid.ErrShutdown)
}

func (w *writer) loop() {
	defer close(w.stopped)
	for {
		var first *op
		if first, w.held = w.held, nil; first == nil {
			select {
			case <-w.closing:
				return
			case <-w.looks:
				continue
			case first = <-w.ops:
			}
		}
		w.group(w.takeAlong(w.gather(first)))
		w.looked()
		select {
		case <-w.closing:
			return
		default:
		}
	}
}

// looked answers whoever wants to know whether the writer moves.
func (w *writer) looked() {
	select {
	case <-w.looks:
	default:
	}
}

// gather takes what waits, up to the bounds of a group.
func (w *writer) gather(first *op) []*op {
	var group []*op
	rows := 0
	for next := first; next != nil; {
		if len(group) > 0 && rows+next.rows > maxGroupRows {
			w.held = next
			break
		}
		if next.taken.CompareAndSwap(false, true) {
			group, rows = append(group, next), rows+next.rows
		}
		if len(group) == maxGroupOps {
			break
		}
		select {
		case next = <-w.ops:
		default:
			next = nil
		}
	}
	return group
}

// takeAlong adds to a group what waits for any transaction.
func (w *writer) takeAlong(group []*op) []*op {
	if len(group) == 0 || w.carried == nil {
		return group
	}
	if o := w.carried(); o != nil {
		group = append(group, o)
	}
	return group
}

func (w *writer) isBroken() bool {
	select {
	case <-w.broken:
		return true
	default:
		return false
	}
}

// fail makes the catalog broken for good.
func (w *writer) fail(what string, err error) {
	if w.isBroken() {
		return
	}
	w.cause = fmt.Errorf("%w, the outcome of the last write is unknown: %s: %w", raid.ErrCatalogBroken, what, err)
	close(w.broken)
	w.log.Error("catalog broken: the controller must end; its next start believes what it finds", "during", what, "err", err)
}

// check returns raid.ErrCatalogBroken when the catalog is.
func (w *writer) check() error {
	if w.isBroken() {
		return w.cause
	}
	return nil
}
