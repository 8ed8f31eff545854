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
	rests    catalog.Resting
	removals int64
	intends  func()
}

func (a *arriving) Holdings(context.Context, catalog.RepairCursor, int) (sums []raid.Holding, next catalog.RepairCursor, more bool, err error) {
	return nil, next, false, nil
}

func (a *arriving) Resting(raid.NodeID) catalog.Resting { return a.rests }

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
	for name, when := range map[string]struct{ upload, intent, trash int64 }{
		"nothing": {}, "an upload": {upload: 1}, "a copy": {intent: 1}, "a copy of a file in the trash": {trash: 1},
	} {
		record := &arriving{}
		record.intends = func() { record.rests.Files, record.rests.Trash = record.rests.Files+when.intent, when.trash }
		r := New(Config{Record: record, Array: still{}, Lost: func(raid.NodeID) bool { return false }})
		w := &wait{over: func() bool { record.rests.Files += when.upload; return true }}
		text, empty, err := r.progress(t.Context(), raid.NodeRecord{ID: "a"}, w)
		if want := when.upload+when.intent+when.trash == 0; err != nil || empty != want {
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

func TestWhatRestsOnANodeIsToldInWords(t *testing.T) {
	for want, r := range map[string]catalog.Resting{
		"1 file rests on it yet": {Files: 1},
		"2 files rest on it yet": {Files: 2},
		"1 deleted file that can be put back rests on it yet (raidctl trash ls)": {Trash: 1},
		"2 deleted files that can be put back rest on it yet (raidctl trash ls)": {Trash: 2},
		"1 file and 1 deleted file that can be put back rest on it yet":          {Files: 1, Trash: 1},
		"12 files and 3 deleted files that can be put back rest on it yet":       {Files: 12, Trash: 3},
	} {
		if got := resting(r); got != want {
			t.Errorf("%+v: %q, want %q", r, got, want)
		}
	}
}
