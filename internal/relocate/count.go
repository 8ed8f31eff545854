package relocate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// countRows bounds the rows of the catalog that one page of a count looks at. After
	// restPages of them each page is followed by a rest that is twice as long.
	countRows = 4000
	restPages = 16
	// drift is the part of all bytes of files that may come or go until it is counted anew.
	// That is no sooner than countPause and countRest times as long as it takes.
	drift      = 0.1
	countPause = 3 * time.Second
	countRest  = 20
	// countAgain is when it is counted anew although as many bytes are there.
	// Files may have come and gone, and copies may have been made again elsewhere. An array that
	// nothing is written to is not counted.
	countAgain = time.Hour
)

// count sums up what nodes hold together, as the catalog had it.
type count struct {
	held   map[string]raid.Holding // by its nodes
	ended  time.Time               // zero: there was none yet
	took   time.Duration
	totals raid.Totals // as they were then
	fresh  bool        // no plan was made from it yet
}

func keyOf(nodes []raid.NodeID) string {
	ids := make([]string, len(nodes))
	for i, n := range nodes {
		ids[i] = string(n)
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

func (c *count) add(h raid.Holding) {
	if c.held == nil {
		c.held = map[string]raid.Holding{}
	}
	key := keyOf(h.Nodes)
	old := c.held[key]
	h.Parts, h.Bytes = h.Parts+old.Parts, h.Bytes+old.Bytes
	if h.Parts <= 0 {
		delete(c.held, key)
		return
	}
	c.held[key] = h
}

// moveBytes counts a part of so many bytes where it is now.
func (c *count) moveBytes(before, after []raid.NodeID, bytes int64) {
	if _, known := c.held[keyOf(before)]; !known {
		return // it came after the count
	}
	c.add(raid.Holding{Nodes: before, Parts: -1, Bytes: -bytes})
	c.add(raid.Holding{Nodes: after, Parts: 1, Bytes: bytes})
}

func (c *count) sums() (all []raid.Holding) {
	for _, h := range c.held {
		all = append(all, h)
	}
	return all
}

// stale reports whether it is time to count anew.
func (r *Relocator) stale(ctx context.Context) bool {
	now, err := r.cfg.Record.Counts(ctx)
	if err != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &r.count
	if c.ended.IsZero() {
		return now.Files > 0
	}
	age := time.Since(c.ended)
	if now == c.totals || age < max(countPause, countRest*c.took) {
		return false
	}
	change := max(now.Bytes-c.totals.Bytes, c.totals.Bytes-now.Bytes)
	files := max(now.Files-c.totals.Files, c.totals.Files-now.Files)
	return float64(change) > drift*float64(c.totals.Bytes) || float64(files) > drift*float64(c.totals.Files) || age >= countAgain
}

// recount counts from the catalog, page by page. Only one count is made at a time.
func (r *Relocator) recount(ctx context.Context) error {
	select {
	case r.counting <- struct{}{}:
		defer func() { <-r.counting }()
	case <-ctx.Done():
		return ctx.Err()
	}
	began := time.Now()
	totals, err := r.cfg.Record.Counts(ctx)
	if err != nil {
		return fmt.Errorf("count what nodes hold: %w", err)
	}
	var c count
	var at raid.PartCursor
	for page, more := 0, true; more; page++ {
		start := time.Now()
		var sums []raid.Holding
		if sums, at, more, err = r.cfg.Record.Holdings(ctx, at, countRows); err != nil {
			return fmt.Errorf("count what nodes hold: %w", err)
		}
		for _, h := range sums {
			c.add(h)
		}
		if page < restPages || !more {
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Since(start)):
		}
	}
	c.ended, c.took, c.totals, c.fresh = time.Now(), time.Since(began), totals, true
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count = c
	return nil
}
