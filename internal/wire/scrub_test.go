package wire

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
)

func TestWhatANodeSaysOfItsScrubComesThrough(t *testing.T) {
	for _, p := range []raid.Scrub{
		{},
		{State: raid.ScrubRunning, Pass: 2, Chunks: 3, Bytes: 4, OfChunks: 5, OfBytes: 6, Bad: 7, BytesPerSecond: 8, Left: 9 * time.Second, Read: 10,
			Last: raid.ScrubPass{Number: 1, Began: time.Hour, Ended: time.Minute, BeganAt: 1_800_000_000, Chunks: 11, Bytes: 12, Bad: 13}},
		{State: raid.ScrubWaiting, Pass: 1, Left: -1, Next: 24 * time.Hour},
		{State: raid.ScrubPaused, Pass: 1, Left: 0},
	} {
		if got := decodeScrub(encodeScrub(p)); got != p {
			t.Errorf("%+v reads as %+v", p, got)
		}
	}
	if got := decodeScrub(&wirepb.Scrub{State: 77, Pass: 3}); got != (raid.Scrub{}) {
		t.Errorf("an unknown state reads as %+v", got)
	}
	all := uint64(math.MaxUint64)
	got := decodeScrub(&wirepb.Scrub{
		State: wirepb.Scrub_RUNNING, Pass: all, Chunks: all, Bytes: all, OfBytes: all, BytesPerSecond: all, SecondsLeft: all, NextSeconds: all,
		Last: &wirepb.ScrubPass{Number: all, BeganSeconds: 5, EndedSeconds: all, BeganAt: all},
	})
	if got.Bytes != mostCounted || got.Left != longest || got.Next != longest || got.Last.Ended != 5*time.Second || got.Last.BeganAt != mostCounted {
		t.Errorf("what can't be reads as %+v", got)
	}
}

// scrubber is a ScrubHandler that keeps what it is told.
type scrubber struct {
	mu     sync.Mutex
	orders []raid.ScrubOrder
	starts int
	bad    []raid.ChunkName
}

func (s *scrubber) Order(o raid.ScrubOrder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orders = append(s.orders, o)
}

func (s *scrubber) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starts++
}

func (s *scrubber) Bad(after raid.ChunkName, limit int) (names []raid.ChunkName, more bool) {
	i, _ := slices.BinarySearch(s.bad, after+"\x00")
	rest := s.bad[i:]
	return rest[:min(limit, len(rest))], len(rest) > limit
}

func (s *scrubber) told() []raid.ScrubOrder {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.orders)
}

func TestAScrubIsOrderedStartedAndAskedForBadChunks(t *testing.T) {
	var mu sync.Mutex
	order := raid.ScrubOrder{Every: time.Hour, Keep: time.Minute}
	h := startHub(t, &loopback{}, func(c *HubConfig) {
		c.Tell = func(raid.NodeID) Told {
			mu.Lock()
			defer mu.Unlock()
			o := order
			return Told{Scrub: &o}
		}
	})
	node := &scrubber{}
	for i := range 1000 {
		node.bad = append(node.bad, raid.ChunkName(fmt.Sprintf("bad%05d", i)))
	}
	startLink(t, h, newMemNode(), func(c *LinkConfig) { c.Scrub = node })
	s := h.events.next(t, "up").sess
	wait := func(want ...raid.ScrubOrder) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !slices.Equal(node.told(), want); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("the node was told %+v", node.told())
			}
		}
	}
	first := order
	wait(first)
	mu.Lock()
	order.Paused = true
	mu.Unlock()
	second := first
	second.Paused = true
	wait(first, second) // and not with each heartbeat
	if err := s.StartScrub(t.Context()); err != nil || node.starts != 1 {
		t.Errorf("%d starts, %v", node.starts, err)
	}
	var all []raid.ChunkName
	for more := true; more; {
		var names []raid.ChunkName
		var err error
		after := raid.ChunkName("")
		if len(all) > 0 {
			after = all[len(all)-1]
		}
		if names, more, err = s.Bad(t.Context(), after); err != nil {
			t.Fatal(err)
		}
		all = append(all, names...)
	}
	if !slices.Equal(all, node.bad) {
		t.Errorf("%d of %d names came", len(all), len(node.bad))
	}
}

func TestANodeWithoutAScrubSaysSo(t *testing.T) {
	h := startHub(t, &loopback{}, nil)
	startLink(t, h, newMemNode(), nil)
	s := h.events.next(t, "up").sess
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.StartScrub(ctx); !errors.Is(err, raid.ErrUnsupported) {
		t.Error(err)
	}
	if _, _, err := s.Bad(ctx, ""); !errors.Is(err, raid.ErrUnsupported) {
		t.Error(err)
	}
}
