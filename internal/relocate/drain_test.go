package relocate

import (
	"context"
	"testing"

	"github.com/raidpi/raidpi/internal/catalog"
	"github.com/raidpi/raidpi/internal/placement"
	"github.com/raidpi/raidpi/internal/raid"
)

// arriving is a catalog in which a file comes to rest on a node while it is looked
// whether anything is on its way there.
type arriving struct {
	rests   int64
	intends func()
}

func (a *arriving) Holdings(context.Context, catalog.RepairCursor, int) (sums []raid.Holding, next catalog.RepairCursor, more bool, err error) {
	return nil, next, false, nil
}

func (a *arriving) Resting(raid.NodeID) (files int64, partial bool) { return a.rests, false }

func (a *arriving) Intends(context.Context, raid.NodeID) (bool, error) {
	a.intends()
	return false, nil
}

func (a *arriving) Counts(context.Context) (n catalog.Counts, err error) { return n, nil }

func (a *arriving) RemovalCounts(context.Context) (map[raid.NodeID]int64, error) { return nil, nil }

// still is an array in which nothing happens.
type still struct{ Array }

func (still) Nodes() []raid.NodeInfo { return nil }

func (still) Candidates() []placement.Candidate { return nil }

// What was on its way to a node that drains has arrived when it is not on its way any
// more: no node is called empty in between.
func TestANodeIsNotEmptyWhileSomethingArrives(t *testing.T) {
	for name, when := range map[string]struct{ upload, intent int64 }{"nothing": {0, 0}, "an upload": {1, 0}, "a copy": {0, 1}} {
		record := &arriving{}
		record.intends = func() { record.rests += when.intent }
		r := New(Config{Record: record, Array: still{}, Lost: func(raid.NodeID) bool { return false }})
		w := &wait{over: func() bool { record.rests += when.upload; return true }}
		text, empty, err := r.progress(t.Context(), raid.NodeRecord{ID: "a"}, w)
		if want := when.upload+when.intent == 0; err != nil || empty != want {
			t.Errorf("%s: empty is %v, want %v; %q, %v", name, empty, want, text, err)
		}
	}
}
