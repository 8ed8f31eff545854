package catalog

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// maxEvents bounds the events that are kept.
	maxEvents = 10_000
	// seqBlock is the number of events whose numbers one write sets aside.
	seqBlock = 1000
	// maxEventText bounds the texts of an event, in bytes.
	maxEventText = 1000
)

// eventLog is the part of the events that is kept in memory.
type eventLog struct {
	source  atomic.Pointer[eventSource]
	program string // that an earlier run was of

	mu   sync.Mutex
	next int64 // the number to give out next
	end  int64 // the first one that is not set aside
}

// eventSource is where events come from that wait to be written.
type eventSource struct {
	pending func() []raid.Event
	written func(upTo int64)
}

// begin sets this run's first numbers aside, in the transaction of the start.
func (l *eventLog) begin(w *conn, program string) error {
	err := w.query(func(r []driver.Value) error {
		l.next, l.program = integer(r[0])+1, text(r[1])
		return nil
	}, "SELECT set_to, program FROM event_log")
	if err != nil {
		return fmt.Errorf("read the numbers of events: %w", err)
	}
	l.end = l.next + seqBlock
	if _, err := w.exec("UPDATE event_log SET set_to = ?, program = ?", l.end-1, program); err != nil {
		return fmt.Errorf("set numbers of events aside: %w", err)
	}
	return nil
}

// FormerProgram is the version of the raid-controller that used this catalog before
// this start; empty: none has said so.
func (c *Catalog) FormerProgram() string { return c.events.program }

// NextEvent gives out the number of an event, higher than any that this or an earlier
// run has given out. ok is false when none is set aside, which ends with the next
// events that are written. No I/O.
func (c *Catalog) NextEvent() (seq int64, ok bool) {
	l := &c.events
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next >= l.end {
		return 0, false
	}
	l.next++
	return l.next - 1, true
}

// CarryEvents names where events come from that wait to be written. pending returns them, in order
// and with numbers of NextEvent, and written is told up to which they are durable. Each write
// transaction takes them along. Neither function may wait.
func (c *Catalog) CarryEvents(pending func() []raid.Event, written func(upTo int64)) {
	c.events.source.Store(&eventSource{pending, written})
}

// carried is an op that writes the events that wait, nil when none does. A damaged
// catalog gets them by KeepEvents alone: others must not fail with them.
func (c *Catalog) carried() *op {
	s := c.events.source.Load()
	if s == nil || c.health.err() != nil || len(s.pending()) == 0 {
		return nil
	}
	return c.eventOp()
}

func (c *Catalog) eventOp() *op {
	o := &op{name: "keep events", rows: 1, done: make(chan error, 1), run: func(t *tx) error {
		s := c.events.source.Load()
		if s == nil {
			return nil
		}
		return c.keepEvents(t, s)
	}}
	return o
}

// KeepEvents writes the events that wait now, durably.
func (c *Catalog) KeepEvents(ctx context.Context) error { return c.write(ctx, c.eventOp()) }

// keepEvents writes the events that wait. Two ops of one transaction may find the same.
func (c *Catalog) keepEvents(t *tx, s *eventSource) error {
	all := s.pending()
	if len(all) == 0 {
		return nil
	}
	kept, _, err := t.conn.queryInt("SELECT kept FROM event_log")
	if err != nil {
		return err
	}
	for _, e := range all {
		n, err := t.exec("INSERT INTO event (seq, at, kind, node, file, text, advice) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
			e.Seq, e.At.UTC().Format(time.DateTime), string(e.Kind), string(e.Node), int64(e.File), clip(e.Text), clip(e.Advice))
		if err != nil {
			return err
		}
		kept += n
	}
	if more := kept - maxEvents; more > 0 {
		if err := t.pruneEvents(more); err != nil {
			return err
		}
		kept -= more
	}
	end := c.events.furtherEnd()
	if _, err := t.exec("UPDATE event_log SET kept = ?, set_to = ?", kept, end-1); err != nil {
		return err
	}
	last := all[len(all)-1].Seq
	t.after = append(t.after, func() {
		c.events.setEnd(end)
		s.written(last)
	})
	return nil
}

// pruneEvents drops so many, the oldest first.
func (t *tx) pruneEvents(n int64) error {
	_, err := t.exec("DELETE FROM event WHERE seq IN (SELECT seq FROM event ORDER BY seq LIMIT +?)", n)
	return err
}

// clip bounds a text by whole characters.
func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxEventText)], "") }

// furtherEnd is up to where numbers are to be set aside now.
func (l *eventLog) furtherEnd() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.end, l.next+seqBlock)
}

func (l *eventLog) setEnd(end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = max(l.end, end)
}

const eventColumns = "SELECT seq, at, kind, node, file, text, advice FROM event"

// Events returns up to limit events that are written, with numbers above after, in order.
func (c *Catalog) Events(ctx context.Context, after int64, limit int) (out []raid.Event, err error) {
	err = c.read(ctx, "read the events", func(r *conn) error {
		return r.query(func(row []driver.Value) error {
			out = append(out, scanEvent(row))
			return nil
		}, eventColumns+" WHERE seq > ? ORDER BY seq LIMIT +?", after, int64(limit))
	})
	return out, err
}

// LastEvents returns the newest events that are written, up to limit, the oldest first.
func (c *Catalog) LastEvents(ctx context.Context, limit int) (out []raid.Event, err error) {
	err = c.read(ctx, "read the newest events", func(r *conn) error {
		return r.query(func(row []driver.Value) error {
			out = append(out, scanEvent(row))
			return nil
		}, eventColumns+" ORDER BY seq DESC LIMIT +?", int64(limit))
	})
	slices.Reverse(out)
	return out, err
}

func scanEvent(row []driver.Value) raid.Event {
	return raid.Event{
		Seq: integer(row[0]), At: parseDay(text(row[1])), Kind: raid.EventKind(text(row[2])), Node: raid.NodeID(text(row[3])),
		File: raid.FileID(integer(row[4])), Text: text(row[5]), Advice: text(row[6]),
	}
}
