package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
	"github.com/raidpi/raidpi/test/liar"
)

// promptly bounds the time in which others are repaired and cleaned while one member hangs. It is
// less than the controller waits for a single answer of it.
const promptly = 25 * time.Second

// It loses each chunk once and then hangs in everything but heartbeats and stores.
func TestAMemberThatHangsHoldsUpNobodysRepairsAndRemovals(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 3, Joined: true})
	l := a.liar()
	var lost sync.Map
	l.Answer(func(_ context.Context, req *liar.Asked, honest *liar.Answer) *liar.Answer {
		switch req.Op {
		case liar.Get:
			if _, again := lost.LoadOrStore(req.Name, true); again {
				return nil
			}
			honest.Fail(liar.NotFound, "not here")
		case liar.List, liar.Verify, liar.Delete:
			return nil
		}
		return honest
	})
	a.must(l.Connect(t.Context()))
	a.must(a.WaitUp(t.Context(), 4))
	flagged := func() (n int) {
		lost.Range(func(any, any) bool { n++; return true })
		return n
	}
	for n := 0; flagged() < 6; n++ { // these come first in the catalog
		if n == 50 {
			t.Fatalf("the liar has lost %d chunks", flagged())
		}
		c := content(300_000)
		id := a.upload(c).ID
		for range 4 {
			a.check(id, c)
		}
	}
	id, c, half := a.withoutLiar(l)
	a.must(flip(a.chunkFile(half[0]), 0.3))
	a.eventually("the rotten copy is replaced", promptly, func() error {
		a.check(id, c)
		return a.replaced(id, half[0])
	})
	a.must(a.API.Delete(t.Context(), id))
	a.eventually("its chunks are removed", promptly, func() error {
		for i := range a.Nodes {
			chunks, err := a.Chunks(i)
			a.must(err)
			for name := range chunks {
				if slices.Contains(half, name) {
					return fmt.Errorf("node %d has %s yet", i, name)
				}
			}
		}
		return nil
	})
}

// withoutLiar stores a file of whose first or second half the liar has no copy, and
// returns the chunks of that half.
func (a *array) withoutLiar(l *liar.Liar) (id int64, c cluster.Content, half []string) {
	a.t.Helper()
	for range 50 {
		c = content(300_000)
		id = a.upload(c).ID
		info, err := a.API.Info(a.t.Context(), id)
		a.must(err)
		for _, half := range [][]string{info.Part1, info.Part2} {
			if !slices.ContainsFunc(half, func(n string) bool { return slices.Contains(l.Chunks(), n) }) {
				return id, c, half
			}
		}
	}
	a.t.Fatal("the liar gets a copy of everything")
	return 0, c, nil
}

// A member whose disk hangs says so with its heartbeats, and everybody is told.
func TestAMemberThatSaysThatItsDiskHangsGetsNothingAndIsShown(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 2, Joined: true})
	l := a.liar()
	l.OnHeartbeat(func(b *liar.Heartbeat) { b.DiskStallMs = 42_000 })
	a.must(l.Connect(t.Context()))
	a.eventually("GET /nodes says so", settled, func() error {
		nodes, err := a.API.Nodes(t.Context())
		a.must(err)
		for _, n := range nodes {
			if n.ID == l.ID() && n.State == "suspect" {
				return nil
			}
		}
		return fmt.Errorf("the nodes are %+v", nodes)
	})
	for range 10 {
		c := content(100_000)
		a.check(a.upload(c).ID, c)
	}
	if got := l.Chunks(); len(got) > 0 {
		t.Errorf("it was given %q", got)
	}
}
