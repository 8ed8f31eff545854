// Package pace holds background work back while requests run. Healing, comparing and moving go as
// fast as they can while nothing is asked of the array. Otherwise they slow small requests down by
// a limited factor.
//
// A [Governor] is told of each request, and asked before each piece of background work. While no
// request runs, as many pieces run at once as there may be. While some do, it compares how long
// small requests take beside background work with how long they take without. For that it leaves a
// short gap now and then. When requests take too long, half as many pieces run at once, down to one
// with long rests. When they do not, some more run.
//
// # Caveats
//
// What a request needs beside this process, and what else slows it down, is not known. A
// piece that has begun is not interrupted, so pieces must be short: some tens of
// milliseconds of a busy disk. Until small requests were seen, one piece runs at a time.
package pace

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// quiet is the time after the last request for which background work is held back.
	quiet = 500 * time.Millisecond
	// gapEvery is the time between pauses of background work while requests run. Each lasts gap,
	// and shows how long requests take without.
	gapEvery = 2 * time.Second
	gap      = 250 * time.Millisecond
	// Small requests may take atMost times as long as without, and slack more: what timers
	// and schedulers add.
	atMost = 1.5
	slack  = 500 * time.Microsecond
	// enough is the number of requests that make one comparison. few is the number that is needed
	// without background work, and kept the number of these that are remembered.
	enough = 32
	few    = 8
	kept   = 128
	// least is the smallest share of the time in which a piece runs.
	least = 1.0 / 16
	// growth is the factor by which more runs at once after each good comparison.
	growth = 1.25
	// look bounds how long a piece waits without a look at the clock.
	look = 50 * time.Millisecond
)

// Governor is safe for concurrent use.
type Governor struct {
	most int

	mu       sync.Mutex
	freed    chan struct{} // closed and replaced when something may begin
	open     int           // requests under way
	last     time.Time     // when one was; zero: never
	since    time.Time     // since when requests run with no more than quiet between
	running  int           // pieces of background work
	begun    int64         // of these, ever
	limit    float64       // pieces at once while requests run; below 1 a share of the time
	rest     time.Time     // no piece begins before, while requests run
	unloaded []time.Duration
	loaded   []time.Duration
}

// New makes a Governor that lets at most so many pieces of background work run at once.
func New(most int) *Governor {
	return &Governor{most: most, limit: 1, freed: make(chan struct{})}
}

// Request says that a request begins. end is called when it is over; small says that it
// was one of those whose time matters.
func (g *Governor) Request() (end func(small bool)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	began := time.Now()
	if g.open == 0 && (g.last.IsZero() || began.Sub(g.last) > quiet) {
		g.since = began
	}
	g.open++
	before, alone := g.begun, g.running == 0
	return func(small bool) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.open--
		g.last = time.Now()
		if small {
			g.took(g.last.Sub(began), alone && g.begun == before)
		}
	}
}

// took takes note of how long a small request took, without background work or beside
// it. Callers hold mu.
func (g *Governor) took(d time.Duration, alone bool) {
	if alone {
		if len(g.unloaded) == kept {
			g.unloaded = slices.Delete(g.unloaded, 0, kept/4)
		}
		g.unloaded = append(g.unloaded, d)
		return
	}
	if g.loaded = append(g.loaded, d); len(g.loaded) < enough || len(g.unloaded) < few {
		g.loaded = g.loaded[:min(len(g.loaded), enough-1)]
		return
	}
	if most := time.Duration(atMost*float64(high(g.unloaded))) + slack; high(g.loaded) > most {
		g.limit = max(g.limit/2, least)
	} else {
		g.limit = min(g.limit*growth, float64(g.most))
	}
	g.loaded = g.loaded[:0]
}

// high is the 95th percentile.
func high(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[(len(sorted)-1)*95/100]
}

// Begin waits until one more piece of background work may begin. end must be called when
// it is done. It fails with the context's error when that ends first.
func (g *Governor) Begin(ctx context.Context) (end func(), err error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		g.mu.Lock()
		now := time.Now()
		wait := g.wait(now)
		if wait == 0 {
			g.running++
			g.begun++
			g.mu.Unlock()
			return func() { g.end(now) }, nil
		}
		freed := g.freed
		g.mu.Unlock()
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-freed:
		case <-t.C:
		}
		t.Stop()
	}
}

// wait is the time for which no piece may begin, as far as the clock tells; 0: one may now.
// Callers hold mu.
func (g *Governor) wait(now time.Time) time.Duration {
	if g.isQuiet(now) {
		if g.running < g.most {
			return 0
		}
		return time.Hour // until one ends
	}
	if at := now.Sub(g.since) % gapEvery; at < gap {
		return gap - at
	}
	if float64(g.running) >= max(g.limit, 1) {
		return look
	}
	if now.Before(g.rest) {
		return min(g.rest.Sub(now), look)
	}
	return 0
}

func (g *Governor) isQuiet(now time.Time) bool {
	return g.open == 0 && (g.last.IsZero() || now.Sub(g.last) >= quiet)
}

// end ends a piece that began then.
func (g *Governor) end(began time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running--
	now := time.Now()
	if g.limit < 1 {
		took := now.Sub(began)
		g.rest = now.Add(time.Duration(float64(took) * (1/g.limit - 1)))
	}
	close(g.freed)
	g.freed = make(chan struct{})
}
