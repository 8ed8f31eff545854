package membership

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config() Config {
	return Config{
		Known: []raid.NodeRecord{{ID: "known", Zone: "shed"}}, Save: func(context.Context, raid.NodeRecord) error { return nil },
		Knows: func(n uint64) bool { return n <= 100 }, Settle: 10 * time.Second, Window: 8 << 20, Log: slog.New(slog.DiscardHandler),
	}
}

func TestKnownNodesAreWaitedForAndNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(config())
		if left := m.ReconnectGrace(); left != 10*time.Second {
			t.Errorf("at the start %v are left", left)
		}
		time.Sleep(4 * time.Second)
		if left := m.ReconnectGrace(); left != 6*time.Second {
			t.Errorf("after 4 s %v are left", left)
		}
		time.Sleep(20 * time.Second)
		if left := m.ReconnectGrace(); left > 0 {
			t.Errorf("a node that stays away is waited for %v more", left)
		}
		if n := m.Nodes(); len(n) != 1 || n[0].State != raid.Down || n[0].Zone != "shed" || n[0].Seen {
			t.Errorf("listed: %+v", n)
		}
		if away := m.AwayFor("known"); away != 24*time.Second {
			t.Errorf("away for %v", away)
		}
	})
}

func TestANodeThatAPersonDrainsIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.Known[0].Draining = true
		if left := New(cfg).ReconnectGrace(); left != 0 {
			t.Errorf("it is waited for %v", left)
		}
	})
}

func TestTheTimeOfADrainCountsAsBeingAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(config())
		n := m.native["known"]
		m.apply(n, wire.Heartbeat{Draining: true})
		time.Sleep(3 * time.Second)
		m.apply(n, wire.Heartbeat{Draining: true})
		n.downSince = time.Now() // as NodeDown does
		time.Sleep(time.Second)
		if left := m.ReconnectGrace(); left != 6*time.Second {
			t.Errorf("4 s after it said that it ends, %v are left", left)
		}
		m.apply(n, wire.Heartbeat{}) // it is back
		n.downSince = time.Now()
		if left := m.ReconnectGrace(); left != 10*time.Second {
			t.Errorf("when it goes again %v are left", left)
		}
	})
}

func TestRemovedNodeIsNotWaitedForAndNotListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(config())
		changed := m.Changed()
		m.Remove("known")
		m.Remove("nobody")
		select {
		case <-changed:
		default:
			t.Error("nobody who waits is woken")
		}
		if m.ReconnectGrace() != 0 || m.WarmUp() != 0 || len(m.Nodes()) != 0 {
			t.Errorf("%v, %v, %+v", m.ReconnectGrace(), m.WarmUp(), m.Nodes())
		}
	})
}

func TestAStartWaitsForTheWordOfKnownNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.Known = append(cfg.Known, raid.NodeRecord{ID: "gone"})
		m := New(cfg)
		time.Sleep(4 * time.Second)
		delete(m.unheard, "known") // as NodeUp does
		if left := m.WarmUp(); left != 6*time.Second {
			t.Errorf("with one of two, %v are left", left)
		}
		time.Sleep(6 * time.Second)
		if left := m.WarmUp(); left != 0 {
			t.Errorf("a node that stays away is waited for %v more", left)
		}
		cfg.Known = nil
		if left := New(cfg).WarmUp(); left != 0 {
			t.Errorf("nobody is waited for %v", left)
		}
	})
}

func TestACommitNumberThatTheCatalogDoesNotKnowStopsChanges(t *testing.T) {
	for name, beat := range map[string]wire.Heartbeat{"heard of": {HighestCommit: 101}, "found on disk": {FoundCommit: 101}} {
		m := New(config())
		n := m.native["known"]
		m.apply(n, wire.Heartbeat{HighestCommit: 100, FoundCommit: 7})
		if err := m.StaleCatalog(); err != nil {
			t.Fatalf("a known commit: %v", err)
		}
		m.apply(n, beat)
		m.apply(n, wire.Heartbeat{}) // later words don't take it back
		if err := m.StaleCatalog(); !errors.Is(err, raid.ErrCatalogBehind) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRecordsThatCanNotBeSavedAreTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		fails, saved := 3, 0
		cfg.Save = func(context.Context, raid.NodeRecord) error {
			if fails--; fails >= 0 {
				return raid.ErrBusy
			}
			saved++
			return nil
		}
		m := New(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		m.SetCleanedRun("known", 7)
		time.Sleep(time.Minute)
		cancel()
		if err := <-done; err != nil || saved != 1 || m.CleanedRun("known") != 7 {
			t.Errorf("saved %d times, %v", saved, err)
		}
	})
}

func TestABrokenCatalogEndsTheSaving(t *testing.T) {
	cfg := config()
	cfg.Save = func(context.Context, raid.NodeRecord) error { return raid.ErrCatalogBroken }
	m := New(cfg)
	m.SetCleanedRun("known", 7)
	if err := m.Run(t.Context()); !errors.Is(err, raid.ErrCatalogBroken) {
		t.Errorf("Run: %v", err)
	}
}

// A node that says something else all the time costs the catalog a few commits a minute;
// its last word is saved in the end, and nobody else waits for it.
func TestANodeThatFlapsCostsAFewCommitsAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.Known = []raid.NodeRecord{{ID: "flaps"}, {ID: "sound"}}
		var mu sync.Mutex
		saves, last := map[raid.NodeID]int{}, map[raid.NodeID]uint32{}
		cfg.Save = func(_ context.Context, r raid.NodeRecord) error {
			mu.Lock()
			defer mu.Unlock()
			saves[r.ID]++
			last[r.ID] = r.CleanedRun
			return nil
		}
		m := New(cfg)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		for i := range uint32(6000) { // a minute
			m.SetCleanedRun("flaps", i+1)
			time.Sleep(10 * time.Millisecond)
		}
		m.SetCleanedRun("sound", 9)
		synctest.Wait()
		mu.Lock()
		if saves["flaps"] > saveRate.Burst+2 || saves["flaps"] == 0 || last["sound"] != 9 {
			t.Errorf("saved within a minute: %v, last %v", saves, last)
		}
		mu.Unlock()
		time.Sleep(time.Minute)
		mu.Lock()
		if last["flaps"] != 6000 {
			t.Errorf("the last word is not saved: %v", last)
		}
		before := saves["flaps"]
		mu.Unlock()
		time.Sleep(time.Hour)
		cancel()
		if err := <-done; err != nil || saves["flaps"] != before {
			t.Errorf("%v; %d saves later", err, saves["flaps"]-before)
		}
	})
}
