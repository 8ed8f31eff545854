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
	rests    int64
	removals int64
	intends  func()
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

func (a *arriving) RemovalCounts(context.Context) (map[raid.NodeID]int64, error) {
	return map[raid.NodeID]int64{"a": a.removals}, nil
}

// still is an array in which nothing happens.
type still struct {
	Array
	nodes []raid.NodeInfo
}

func (s still) Nodes() []raid.NodeInfo { return s.nodes }

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

// What is to be deleted on a node that drains is waited for, unless its disk takes no
// writes: a worn card would have to be waited for until the end of days.
func TestChunksOfAReadOnlyDiskAreNotWaitedFor(t *testing.T) {
	for name, info := range map[string]raid.NodeInfo{
		"a good disk": {State: raid.Draining}, "read-only": {State: raid.Draining, ReadOnly: true}, "away": {State: raid.Down},
	} {
		info.ID = "a"
		record := &arriving{removals: 3, intends: func() {}}
		r := New(Config{Record: record, Array: still{nodes: []raid.NodeInfo{info}}, Lost: func(raid.NodeID) bool { return false }})
		text, empty, err := r.progress(t.Context(), raid.NodeRecord{ID: "a"}, &wait{over: func() bool { return true }})
		if want := name != "a good disk"; err != nil || empty != want {
			t.Errorf("%s: empty is %v, want %v; %q, %v", name, empty, want, text, err)
		}
	}
}
