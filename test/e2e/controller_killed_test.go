package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

// ledger holds what a few clients know of their uploads.
type ledger struct {
	mu       sync.Mutex
	answered map[int64]cluster.Content  // got their 201, by id
	begun    map[string]cluster.Content // all that were ever sent, by filename
}

// keepUploading uploads files of all sizes, one after the other, until the
// first error, which is the array's end.
func (l *ledger) keepUploading(ctx context.Context, api *cluster.API) {
	for {
		c := content(rand.Int64N(1 << rand.IntN(21)))
		name := fmt.Sprintf("ledger-%d", c.Seed)
		l.mu.Lock()
		l.begun[name] = c
		l.mu.Unlock()
		created, err := api.Upload(ctx, name, c.Reader(), c.Size)
		if err != nil {
			return
		}
		l.mu.Lock()
		l.answered[created.ID] = c
		l.mu.Unlock()
	}
}

// audit checks that each 201 holds, and that whatever else is listed is whole. Such a file was
// durable when the controller died and its 201 on the way. There can be one for each client and
// each time the controller died.
func (l *ledger) audit(a *array, mayBeUnanswered int) {
	a.t.Helper()
	listed := map[int64]bool{}
	unanswered := 0
	for _, f := range a.files() {
		listed[f.ID] = true
		c, ok := l.begun[f.Filename]
		if !ok {
			a.t.Errorf("file %d, %q, is listed and was never uploaded", f.ID, f.Filename)
			continue
		}
		if _, ok := l.answered[f.ID]; !ok {
			unanswered++
		}
		if err := a.compare(f.ID, c); err != nil {
			a.t.Errorf("listed file %d is not whole: %v", f.ID, err)
		}
	}
	for id := range l.answered {
		if !listed[id] {
			a.t.Errorf("file %d got its 201 and is gone", id)
		}
	}
	if unanswered > mayBeUnanswered {
		a.t.Errorf("%d files are listed that never got their 201, want at most %d", unanswered, mayBeUnanswered)
	}
}

const (
	uploaders = 4
	rounds    = 5
)

// killInTheMiddle runs uploaders and kills some daemons while they are busy.
func killInTheMiddle(t *testing.T, victims func(*array) []*cluster.Daemon) {
	a := start(t, cluster.Config{Nodes: 4, Joined: true, Bin: programs.race, ControllerEnv: []string{"RAID_CONTROLLER_RAID_STRIPE_SIZE=128KiB"}})
	l := &ledger{answered: map[int64]cluster.Content{}, begun: map[string]cluster.Content{}}
	for range rounds {
		var wg sync.WaitGroup
		for range uploaders {
			wg.Go(func() { l.keepUploading(t.Context(), a.API) })
		}
		time.Sleep(300*time.Millisecond + rand.N(700*time.Millisecond))
		for _, d := range victims(a) {
			a.must(d.Kill())
		}
		wg.Wait()
		for _, d := range victims(a) {
			a.must(d.Start())
		}
		a.must(a.WaitReady(t.Context(), len(a.Nodes)))
	}
	if len(l.answered) < rounds {
		t.Fatalf("only %d uploads got a 201 in %d rounds: nothing was tested", len(l.answered), rounds)
	}
	t.Logf("%d uploads got their 201, %d were sent", len(l.answered), len(l.begun))
	l.audit(a, uploaders*rounds)
	a.becomesWhole()
	a.must(a.AllExplained(t.Context()))
}

func TestEvery201SurvivesControllerKilled(t *testing.T) {
	t.Parallel()
	killInTheMiddle(t, func(a *array) []*cluster.Daemon { return []*cluster.Daemon{a.Controller} })
}

func TestEvery201SurvivesEverythingKilled(t *testing.T) {
	t.Parallel()
	killInTheMiddle(t, func(a *array) []*cluster.Daemon { return a.Daemons() })
}

// What was sent whole is stored, so the last point leaves more than one read's worth.
func TestClientThatGoesAwayLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 4, ControllerEnv: []string{smallStripes}})
	for _, point := range []int64{0, 1, mib / 2, 5 * mib, 8*mib - mib/4} {
		ctx, cancel := context.WithCancel(t.Context())
		body := &tripwire{Reader: content(8 * mib).Reader(), left: point, do: cancel}
		if created, err := a.API.Upload(ctx, "gone", body, 8*mib); err == nil {
			t.Errorf("broken off after %d bytes: got file %d", point, created.ID)
		}
		cancel()
	}
	if files := a.files(); len(files) != 0 {
		t.Errorf("uploads that broke off left %d files", len(files))
	}
	a.becomesWhole()
}
