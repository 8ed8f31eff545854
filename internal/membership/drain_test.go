package membership

import (
	"context"
	"crypto/rand"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
	"github.com/raidpi/raidpi/internal/zmtp/memnet"
)

// A node's process that ends, most often to be started again, takes nothing new. It is
// waited for from then on as if it had gone; not when a person wants it empty.
func TestANodeThatEndsIsWaitedForWhileItIsStillThere(t *testing.T) {
	id, err := raid.NewID(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name    string
		known   bool // to the catalog
		drained bool // by a person
		want    time.Duration
	}{
		{"known", true, false, 10 * time.Second},
		{"drained by a person", true, true, 0},
		{"without a chunk", false, false, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := config()
				cfg.Known = nil
				if c.known {
					cfg.Known = []raid.NodeRecord{{ID: raid.NodeID(id), Relocation: raid.Relocation{Draining: c.drained}}}
				}
				cfg.Remembers = func(raid.NodeID) bool { return c.known }
				m := New(cfg)
				var ends atomic.Bool
				stop := connect(t, m, raid.NodeID(id), func() wire.Heartbeat { return wire.Heartbeat{FreeBytes: 1 << 30, Draining: ends.Load()} })
				defer stop()
				if left := m.ReconnectGrace(); left != 0 || len(m.Natives()) != 1 {
					t.Fatalf("while it is there, %v are left of waiting for it", left)
				}
				if n := len(m.Candidates()); (n == 1) == c.drained {
					t.Errorf("%d candidates before it ends", n)
				}
				ends.Store(true)
				time.Sleep(3 * time.Second) // by then it has said so
				left := m.ReconnectGrace()
				if c.want == 0 && left != 0 || c.want > 0 && (left < c.want-3*time.Second || left >= c.want) {
					t.Errorf("up to 3 s after it said that it ends, %v are left, want %v less these", left, c.want)
				}
				if n := len(m.Candidates()); n != 0 {
					t.Errorf("%d candidates while it ends", n)
				}
			})
		})
	}
}

// connect runs a node without a disk and the Hub that m observes.
func connect(t *testing.T, m *Members, id raid.NodeID, beat func() wire.Heartbeat) (stop func()) {
	t.Helper()
	network := &memnet.Network{}
	listen := func(addr string) net.Listener {
		l, err := network.Listen(addr)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	array, err := raid.NewID(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	hub := wire.NewHub(wire.HubConfig{
		Array: raid.ArrayID(array), Store: listen("c:5557"), Response: listen("c:5558"), Request: listen("c:5559"),
		Plaintext: wire.PlaintextAny, Observer: m,
	})
	link := wire.NewLink(wire.LinkConfig{
		Dial: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return network.DialFrom(ctx, "pi", addr)
		},
		StoreAddr: "c:5557", ResponseAddr: "c:5558", RequestAddr: "c:5559", Plaintext: wire.PlaintextAny,
		Node: id, Adopt: func(raid.ArrayID) error { return nil }, Pool: budget.New(1 << 20), State: beat, Random: rand.Reader,
	})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = hub.Run(ctx) })
	wg.Go(func() { _ = link.Run(ctx) })
	time.Sleep(7 * time.Second) // the array is idle
	return func() { cancel(); wg.Wait() }
}
