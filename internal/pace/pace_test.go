package pace

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// disk is shared by requests and pieces: each piece that runs makes a request take half as long
// again.
type disk struct {
	g       *Governor
	running atomic.Int32
	most    atomic.Int32
	pieces  atomic.Int64
}

const (
	usual = 4 * time.Millisecond
	piece = 20 * time.Millisecond
)

// work runs pieces of background work, so many at once as the governor lets.
func (d *disk) work(ctx context.Context, wg *sync.WaitGroup, workers int) {
	for range workers {
		wg.Go(func() {
			for {
				end, err := d.g.Begin(ctx)
				if err != nil {
					return
				}
				if n := d.running.Add(1); n > d.most.Load() {
					d.most.Store(n)
				}
				time.Sleep(piece)
				d.running.Add(-1)
				d.pieces.Add(1)
				end()
			}
		})
	}
}

// request is a small one, and returns how long it took.
func (d *disk) request(cost float64) time.Duration {
	end := d.g.Request()
	took := time.Duration(float64(usual) * (1 + cost*float64(d.running.Load())))
	time.Sleep(took)
	end(true)
	return took
}

func TestAllRunsAtOnceWhileNothingIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{g: New(16)}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		d.work(ctx, &wg, 40)
		time.Sleep(10 * time.Second)
		cancel()
		wg.Wait()
		if d.most.Load() != 16 || d.pieces.Load() < 16*490 {
			t.Errorf("%d at once, %d in all", d.most.Load(), d.pieces.Load())
		}
	})
}

// While requests run, most of them take no more than twice as long as without background work. That
// goes on all the same, and all of it runs again soon after the last request.
func TestRequestsTakeAtMostTwiceAsLong(t *testing.T) {
	for name, cost := range map[string]float64{"one piece is too much": 2, "two are": 0.5, "they share well": 0.02} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &disk{g: New(16)}
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				d.work(ctx, &wg, 40)
				time.Sleep(time.Second)
				slow, all := 0, 0
				for began := time.Now(); time.Since(began) < time.Minute; all++ {
					if took := d.request(cost); took > 2*usual && time.Since(began) > 10*time.Second {
						slow++
					}
					time.Sleep(time.Millisecond)
				}
				if slow > all/20 {
					t.Errorf("%d of %d requests took more than twice as long", slow, all)
				}
				done := d.pieces.Load()
				if alone := int64(time.Minute / piece); done < alone/32 {
					t.Errorf("%d pieces were done in a minute of requests", done)
				}
				if cost < 0.1 && done < 8*int64(time.Minute/piece) {
					t.Errorf("%d pieces were done beside requests that hardly notice", done)
				}
				time.Sleep(quiet + time.Second)
				synctest.Wait() // pieces that end at this very moment are followed by others
				if d.running.Load() != 16 {
					t.Errorf("%d run after the last request", d.running.Load())
				}
				cancel()
				wg.Wait()
			})
		})
	}
}

// Large requests alone tell nothing of how long small ones take.
func TestOnePieceRunsBesideLargeRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{g: New(16)}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		end := d.g.Request()
		d.work(ctx, &wg, 40)
		time.Sleep(time.Minute)
		if d.most.Load() != 1 || d.pieces.Load() < int64(time.Minute/piece)/2 {
			t.Errorf("%d at once, %d in all", d.most.Load(), d.pieces.Load())
		}
		end(false)
		cancel()
		wg.Wait()
	})
}

func TestWhoGivesUpWaitingIsLetGo(t *testing.T) {
	g := New(1)
	end, err := g.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Begin(ctx); err == nil {
		t.Error("it began")
	}
	end()
	if end, err = g.Begin(t.Context()); err != nil {
		t.Error(err)
	}
	end()
}
