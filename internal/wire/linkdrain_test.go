package wire

import (
	"context"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

// A chunk whose Store was never answered was written in vain.
func TestStoreUnderWayIsAcknowledgedWhenANodeStops(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	node := newMemNode()
	entered, free := make(chan struct{}), make(chan struct{})
	node.setBefore(func(context.Context, string, raid.ChunkName) error {
		close(entered)
		<-free
		return nil
	})
	_, stop := startLink(t, th, node, nil)
	s := th.events.next(t, "up").sess
	stored := make(chan error, 1)
	req := newUpload(t, 1).store([]byte("x"))
	go func() { stored <- s.Store(within(t, 20*time.Second), req) }()
	<-entered
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		stop()
	}()
	kit.Eventually(t, "the controller is told", func() bool { return s.Heartbeat().Draining })
	select {
	case err := <-stored:
		t.Fatalf("before it was written: %v", err)
	case <-stopped:
		t.Fatal("it did not wait")
	case <-time.After(300 * time.Millisecond):
	}
	close(free)
	if err := <-stored; err != nil {
		t.Errorf("the store: %v", err)
	}
	<-stopped
}

func TestDrainOfAHangingDiskHasAnEnd(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	node := newMemNode()
	entered, free := make(chan struct{}), make(chan struct{})
	defer close(free)
	node.setBefore(func(context.Context, string, raid.ChunkName) error {
		close(entered)
		<-free
		return nil
	})
	l, stop := startLink(t, th, node, func(c *LinkConfig) { c.Drain = 200 * time.Millisecond })
	s := th.events.next(t, "up").sess
	req := newUpload(t, 1).store([]byte("x"))
	stored := make(chan error, 1)
	go func() { stored <- s.Store(within(t, 20*time.Second), req) }()
	<-entered
	go stop()
	if err := <-stored; err == nil {
		t.Error("a chunk that is not there was acknowledged")
	}
	kit.Eventually(t, "the session is over", func() bool { return !l.Connected() })
	// The watchdog must not bite who only waits for the disk.
	for range 5 {
		at := l.Pulse()
		kit.Eventually(t, "pulse while the disk is waited for", func() bool { return l.Pulse() > at })
	}
}

// systemd kills a node that has not ended by then, and with it what drains.
func TestDrainEndsLongBeforeSystemdsPatience(t *testing.T) {
	unit, err := os.ReadFile("../../systemd/raid-node.service")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^TimeoutStopSec=(\d+)$`).FindSubmatch(unit)
	if m == nil {
		t.Fatal("the unit has no TimeoutStopSec")
	}
	limit, err := time.ParseDuration(string(m[1]) + "s")
	if drain := NewLink(LinkConfig{}).cfg.Drain; err != nil || drain+10*time.Second > limit {
		t.Errorf("it drains for %v and is killed after %v, %v", drain, limit, err)
	}
}

func TestPulseRisesWhateverTheControllerDoes(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	node := newMemNode()
	l, stop := startLink(t, th, node, func(c *LinkConfig) { c.Dead = 100 * time.Millisecond })
	rises := func(when string) {
		t.Helper()
		at := l.Pulse()
		kit.Eventually(t, "pulse "+when, func() bool { return l.Pulse() > at })
	}
	th.events.next(t, "up")
	rises("with a session")
	th.stop()
	rises("without a controller")
	stop()
	rises("after its end")
}
