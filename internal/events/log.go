package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// writeAfter is the longest wait of an event for a transaction to be written with.
	writeAfter = time.Minute
	// writeAgain is the pause before a write that failed is tried again.
	writeAgain = time.Minute
	// lastWrite bounds the time that the end of Run takes.
	lastWrite = 5 * time.Second
	// maxRecent is the number of events in memory.
	maxRecent = 512
)

// Store keeps events. NextEvent and CarryEvents do not wait.
type Store interface {
	// NextEvent gives out a number that no event has had; not ok: none is left until
	// something is written.
	NextEvent() (seq int64, ok bool)
	// CarryEvents sets two functions. pending returns the events to write with each transaction.
	// written is told up to which number they are durable.
	CarryEvents(pending func() []raid.Event, written func(upTo int64))
	// KeepEvents writes what pending returns.
	KeepEvents(ctx context.Context) error
	// Events are those that were written, with numbers above after, in order.
	Events(ctx context.Context, after int64, limit int) ([]raid.Event, error)
	// LastEvents are the newest that were written, in order.
	LastEvents(ctx context.Context, limit int) ([]raid.Event, error)
}

// Config holds what a Log is made of.
type Config struct {
	Store Store
	// Heard is told of each event, in order. It must not wait, nor call the Log. nil:
	// nobody is.
	Heard func(raid.Event)
	Log   *slog.Logger
}

// Log takes note of events. Its methods may be called concurrently.
type Log struct {
	cfg  Config
	wake chan struct{} // of Run

	mu      sync.Mutex
	recent  []raid.Event // the newest, in order
	floor   int64        // what is kept above it is in recent, if there is any
	written int64        // what is above it is not on disk
	since   time.Time    // when the first of those came
	urgent  bool         // there is a grave one among those
	lost    int          // events for which there was no room
	changed chan struct{}
	repeats repeats
}

// New makes a log. Run writes what it is told.
func New(cfg Config) *Log {
	l := &Log{cfg: cfg, wake: make(chan struct{}, 1), changed: make(chan struct{})}
	cfg.Store.CarryEvents(l.pending, l.wrote)
	return l
}

// Tell takes note of an event; it is a raid.Tell. One that comes too often is counted,
// and told later.
func (l *Log) Tell(e raid.Event) {
	e.Text, e.Advice = line(e.Text), line(e.Advice)
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.repeats.allow(e, now) {
		l.add(e, now)
	}
	l.nudge()
}

// add gives an event its number and its time. Callers hold mu.
func (l *Log) add(e raid.Event, now time.Time) {
	seq, ok := l.cfg.Store.NextEvent()
	if !ok {
		l.lost++
		return
	}
	e.Seq, e.At = seq, now
	if len(l.recent) == 0 {
		l.floor = seq - 1
	}
	if l.unwritten() == 0 {
		l.since = now
	}
	l.urgent = l.urgent || e.Kind.IsGrave()
	l.recent = append(l.recent, e)
	l.bound()
	close(l.changed)
	l.changed = make(chan struct{})
	if l.cfg.Heard != nil {
		l.cfg.Heard(e)
	}
}

// bound drops an event when there are too many: the oldest, unless it would be lost.
// Then one that is not grave is. Callers hold mu.
func (l *Log) bound() {
	if len(l.recent) <= maxRecent {
		return
	}
	i := 0
	if l.recent[0].Seq > l.written {
		l.lost++
		i = max(0, slices.IndexFunc(l.recent, func(e raid.Event) bool { return !e.Kind.IsGrave() }))
	}
	if i == 0 {
		l.floor = l.recent[0].Seq
	}
	l.recent = slices.Delete(l.recent, i, i+1)
}

// unwritten counts the events that are not on disk. Callers hold mu.
func (l *Log) unwritten() int { return len(l.recent) - l.from(l.written) }

// from is the index of the first event above a number. Callers hold mu.
func (l *Log) from(after int64) int {
	i, _ := slices.BinarySearchFunc(l.recent, after+1, func(e raid.Event, seq int64) int { return int(min(max(e.Seq-seq, -1), 1)) })
	return i
}

// pending are the events that are to be written.
func (l *Log) pending() []raid.Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.recent[l.from(l.written):])
}

// wrote takes note of what is on disk.
func (l *Log) wrote(upTo int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if upTo <= l.written {
		return
	}
	l.written, l.urgent = upTo, false
	if n := l.from(upTo); n < len(l.recent) { // they came meanwhile
		l.since = l.recent[n].At
		l.urgent = slices.ContainsFunc(l.recent[n:], func(e raid.Event) bool { return e.Kind.IsGrave() })
	}
	l.nudge()
}

// nudge has Run look what there is to do.
func (l *Log) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Run writes events until ctx ends, and then what is left.
func (l *Log) Run(ctx context.Context) error {
	timer := time.NewTimer(writeAfter)
	defer timer.Stop()
	var failed time.Time // the last write that did; zero: it did not
	for {
		wait := l.step(ctx, &failed)
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			l.finish(context.WithoutCancel(ctx))
			return nil
		case <-l.wake:
		case <-timer.C:
		}
	}
}

// step does what is due, and returns for how long there is nothing to do if nothing
// happens.
func (l *Log) step(ctx context.Context, failed *time.Time) time.Duration {
	wait, due := l.sumUp(*failed)
	if !due {
		return wait
	}
	err := l.cfg.Store.KeepEvents(ctx)
	switch {
	case err == nil:
		if !failed.IsZero() {
			l.cfg.Log.Info("events are written again")
		}
		*failed = time.Time{}
		l.reportLost()
	case ctx.Err() == nil && !errors.Is(err, raid.ErrCatalogBroken):
		if failed.IsZero() {
			l.cfg.Log.Warn("events could not be written; the newest are in memory, and it is tried again", "error", err)
		}
		*failed = time.Now()
	}
	return writeAgain
}

// sumUp tells what was counted and is due. It returns whether something is to be
// written now, or else how long it can wait.
func (l *Log) sumUp(failed time.Time) (wait time.Duration, due bool) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	sums, next := l.repeats.due(now, false)
	for _, e := range sums {
		l.add(e, now)
	}
	wait = time.Hour
	if next > 0 {
		wait = min(wait, next)
	}
	if l.unwritten() == 0 {
		return wait, false
	}
	at := l.since.Add(writeAfter)
	if l.urgent {
		at = now
	}
	if !failed.IsZero() && at.Before(failed.Add(writeAgain)) {
		at = failed.Add(writeAgain)
	}
	return min(wait, at.Sub(now)), !at.After(now)
}

// reportLost tells how many events were lost, when others can be written.
func (l *Log) reportLost() {
	l.mu.Lock()
	lost := l.lost
	l.lost = 0
	l.mu.Unlock()
	if lost > 0 {
		l.Tell(raid.Event{
			Kind: raid.EventsLost, Text: fmt.Sprintf("%d events are not in this list: the catalog's disk took no writes when they happened", lost),
			Advice: "the journal may have more: journalctl -u raid-controller",
		})
	}
}

// finish writes what there is, at the end.
func (l *Log) finish(ctx context.Context) {
	now := time.Now()
	l.mu.Lock()
	sums, _ := l.repeats.due(now, true)
	for _, e := range sums {
		l.add(e, now)
	}
	left := l.unwritten()
	l.mu.Unlock()
	if left == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lastWrite)
	defer cancel()
	if err := l.cfg.Store.KeepEvents(ctx); err != nil {
		l.cfg.Log.Warn("the last events could not be written", "events", left, "error", err)
	}
}

// After returns up to limit events with numbers above after, in order, written or not.
func (l *Log) After(ctx context.Context, after int64, limit int) ([]raid.Event, error) {
	l.mu.Lock()
	news := slices.Clone(l.recent[l.from(after):])
	known := len(l.recent) > 0 && after >= l.floor
	l.mu.Unlock()
	if known {
		return news[:min(len(news), limit)], nil
	}
	old, err := l.cfg.Store.Events(ctx, after, limit)
	if err != nil {
		return nil, err
	}
	all := join(old, news)
	return all[:min(len(all), limit)], nil
}

// Last returns the newest events, up to limit, the oldest first.
func (l *Log) Last(ctx context.Context, limit int) ([]raid.Event, error) {
	l.mu.Lock()
	news := slices.Clone(l.recent)
	l.mu.Unlock()
	if len(news) < limit {
		old, err := l.cfg.Store.LastEvents(ctx, limit)
		if err != nil {
			return nil, err
		}
		news = join(old, news)
	}
	return news[max(0, len(news)-limit):], nil
}

// join adds to events from the disk those from memory that came after them.
func join(old, news []raid.Event) []raid.Event {
	if len(old) > 0 {
		last := old[len(old)-1].Seq
		news = slices.DeleteFunc(news, func(e raid.Event) bool { return e.Seq <= last })
	}
	return append(old, news...)
}

// Changed returns a channel that is closed at the next event.
func (l *Log) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}
