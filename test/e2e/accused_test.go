package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/raidpi/raidpi/test/cluster"
	"github.com/raidpi/raidpi/test/liar"
)

// It sends wrong bytes, and answers that each of its chunks is fine. What it had is
// made anew on others, and stays there.
func TestTheAccusedDoesNotAcquitItself(t *testing.T) {
	t.Parallel()
	for name, reply := range map[string]func() liar.Answerer{
		"it sends a wrong byte to all":                 func() liar.Answerer { return wrongBytes },
		"it sends a wrong byte to every second reader": everySecond,
		"it keeps nothing that it says it keeps":       func() liar.Answerer { return forgetful },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := start(t, cluster.Config{Nodes: 2, Joined: true})
			l := a.liar()
			a.must(l.Connect(t.Context()))
			a.must(a.WaitUp(t.Context(), 3))
			var c cluster.Content
			var id int64
			held := func() []string { // of the file, by the catalog
				info, err := a.API.Info(t.Context(), id)
				a.must(err)
				if info.Degraded {
					return []string{"something unknown"} // copies that are called bad are not listed
				}
				return slices.DeleteFunc(l.Chunks(), func(n string) bool {
					return !slices.Contains(info.Part1, n) && !slices.Contains(info.Part2, n)
				})
			}
			for n := 0; n == 0 || len(held()) == 0; n++ { // where copies go is chance
				if n == 50 {
					t.Fatal("the liar gets no copy")
				}
				c = content(300_000)
				id = a.upload(c).ID
			}
			l.Answer(reply())
			a.eventually("the liar's copies are made anew on others", settled, func() error {
				a.check(id, c)
				if left := held(); len(left) > 0 {
					return fmt.Errorf("the catalog counts on %v of the liar", left)
				}
				return nil
			})
			for range 20 {
				a.check(id, c)
			}
			if left := held(); len(left) > 0 {
				t.Errorf("later the catalog counts on %v of the liar", left)
			}
		})
	}
}

// wrongBytes answers as honestly as it can to everything but a Get.
func wrongBytes(_ context.Context, req *liar.Asked, honest *liar.Answer) *liar.Answer {
	switch req.Op {
	case liar.Get:
		if len(honest.Payload) > 0 {
			honest.Payload[0] ^= 1
		}
	case liar.Verify:
		honest.Error, honest.ErrorText = liar.OK, ""
	}
	return honest
}

// everySecond sends a wrong byte with every second Get of a chunk.
func everySecond() liar.Answerer {
	var mu sync.Mutex
	asked := map[string]int{}
	return func(ctx context.Context, req *liar.Asked, honest *liar.Answer) *liar.Answer {
		if req.Op != liar.Get {
			return wrongBytes(ctx, req, honest)
		}
		mu.Lock()
		defer mu.Unlock()
		if asked[req.Name]++; asked[req.Name]%2 == 1 {
			return wrongBytes(ctx, req, honest)
		}
		return honest
	}
}

// forgetful has lost what it was given, and says so only to who wants it.
func forgetful(_ context.Context, req *liar.Asked, honest *liar.Answer) *liar.Answer {
	switch req.Op {
	case liar.Get:
		honest.Fail(liar.NotFound, "never heard of it")
	case liar.Verify:
		honest.Error, honest.ErrorText = liar.OK, ""
	}
	return honest
}
