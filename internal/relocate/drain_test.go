package relocate

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/placement"
	"github.com/raidpi/raidpi/internal/raid"
)

// arriving is a catalog in which a file comes to rest on a node while it is looked
// whether anything is on its way there.
type arriving struct {
	rests    raid.Resting
	removals int64
	intends  func()
}

func (a *arriving) Holdings(context.Context, raid.PartCursor, int) (sums []raid.Holding, next raid.PartCursor, more bool, err error) {
	return nil, next, false, nil
}

func (a *arriving) Resting(raid.NodeID) raid.Resting { return a.rests }

func (a *arriving) Intends(context.Context, raid.NodeID) (bool, error) {
	a.intends()
	return false, nil
}

func (a *arriving) Counts(context.Context) (n raid.Totals, err error) { return n, nil }

func (a *arriving) RemovalCounts(context.Context) (map[raid.NodeID]int64, error) {
	return map[raid.NodeID]int64{"a": a.removals}, nil
}

// still is an array in which nothing happens.
type still struct {
	Array
	nodes []raid.NodeInfo
}

func (s still) Nodes() []raid.NodeInfo { return s.nodes }

func (still) Reconsider(raid.NodeID) {}

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
	for want, r := range map[string]raid.Resting{
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

// What a node waits for is that of the last order, from the moment that it was given: a
// look that began before does not bring an older order's words back.
func TestTheStateOfANodeIsThatOfTheLastOrder(t *testing.T) {
	record := &arriving{rests: raid.Resting{Files: 7}, intends: func() {}}
	wishes := &orders{record: raid.NodeRecord{ID: "a"}}
	r := New(Config{
		Record: record, Wishes: wishes, Array: still{nodes: []raid.NodeInfo{{ID: "a", State: raid.Up}}},
		Lost: func(raid.NodeID) bool { return false }, Uploads: func() func() bool { return func() bool { return true } },
	})
	drains := raid.NodeRecord{ID: "a", Relocation: raid.Relocation{Draining: true}}
	if err := r.attend(t.Context(), drains, r.orders); err != nil || r.State("a") != "its copies move: 7 files rest on it yet" {
		t.Fatalf("while it drains: %q, %v", r.State("a"), err)
	}
	before := r.orders
	if err := r.Replace(t.Context(), "a"); err != nil || r.State("a") != waitsForSuccessor {
		t.Errorf("just replaced: %q, %v", r.State("a"), err)
	}
	if err := r.attend(t.Context(), drains, before); err != nil || r.State("a") != waitsForSuccessor {
		t.Errorf("after a look that began before: %q, %v", r.State("a"), err)
	}
	r.forgetOthers([]raid.NodeRecord{{ID: "b"}}, before)
	if r.State("a") != waitsForSuccessor {
		t.Errorf("after a list that was read before: %q", r.State("a"))
	}
	r.forgetOthers([]raid.NodeRecord{{ID: "a"}, {ID: "b"}}, r.orders)
	if r.State("a") != waitsForSuccessor {
		t.Errorf("while it is in the array: %q", r.State("a"))
	}
	r.forgetOthers([]raid.NodeRecord{{ID: "b"}}, r.orders)
	if r.State("a") != "" {
		t.Errorf("once it is removed: %q", r.State("a"))
	}
	before = r.orders
	if err := r.Undrain(t.Context(), "a"); err != nil || r.State("a") != "" {
		t.Errorf("it stays: %q, %v", r.State("a"), err)
	}
	if err := r.attend(t.Context(), drains, before); err != nil || r.State("a") != "" {
		t.Errorf("it stays, after a look that began before: %q, %v", r.State("a"), err)
	}
}

// A drain that is stopped and begun again is not over because the first one was: uploads
// that began in between may have chosen the node.
func TestADrainThatBeganAgainIsNotOverByWhatWasFoundBefore(t *testing.T) {
	wishes := &orders{record: raid.NodeRecord{ID: "a"}}
	told := 0
	r := New(Config{
		Record: &arriving{intends: func() {}}, Wishes: wishes, Array: still{nodes: []raid.NodeInfo{{ID: "a", State: raid.Up}}},
		Lost: func(raid.NodeID) bool { return false }, Uploads: func() func() bool { return func() bool { return true } },
		Tell: func(e raid.Event) {
			if e.Kind == raid.DrainEnded {
				told++
			}
		},
		Log: slog.New(slog.DiscardHandler),
	})
	draining := func(to raid.Relocation) (raid.Relocation, error) {
		to.Draining, to.Drained = true, false
		return to, nil
	}
	if err := r.order(t.Context(), "a", draining); err != nil {
		t.Fatal(err)
	}
	before, found := r.orders, wishes.record
	for _, change := range []func(raid.Relocation) (raid.Relocation, error){
		func(raid.Relocation) (raid.Relocation, error) { return raid.Relocation{}, nil }, draining,
	} {
		if err := r.order(t.Context(), "a", change); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.emptied(t.Context(), found, r.waitOf(found), before); err != nil || wishes.record.Drained || told > 0 {
		t.Errorf("by what was found before: %+v, told %d times, %v", wishes.record, told, err)
	}
	if _, err := r.emptied(t.Context(), found, r.waitOf(found), r.orders); err != nil || !wishes.record.Drained || told != 1 {
		t.Errorf("by what was found since: %+v, told %d times, %v", wishes.record, told, err)
	}
}

// orders is the record of one node.
type orders struct{ record raid.NodeRecord }

func (o *orders) Nodes(context.Context) ([]raid.NodeRecord, error) {
	return []raid.NodeRecord{o.record}, nil
}

func (o *orders) Relocate(_ context.Context, _ raid.NodeID, change func(raid.Relocation) (raid.Relocation, error)) (err error) {
	o.record.Relocation, err = change(o.record.Relocation)
	return err
}

// The lines to paste have no name that a node gave itself and a shell would run.
func TestTheAdviceOfADrainedNodeIsNoCommandOfItsOwn(t *testing.T) {
	rec := raid.NodeRecord{ID: "AbCdEfGhIjKlMnOpQrStUv"}
	if text := advice(rec, "$(reboot)"); strings.Contains(text, "$(") || !strings.Contains(text, "node remove AbCdEfGhIjKlMnOpQrStUv") {
		t.Error(text)
	}
	if text := advice(rec, "pi-2"); !strings.Contains(text, "node undrain pi-2") {
		t.Error(text)
	}
}

// counted is a record of one node whose writes are counted, or fail.
type counted struct {
	orders
	asked, written int
	fails          error
}

func (c *counted) Nodes(ctx context.Context) ([]raid.NodeRecord, error) {
	c.asked++
	if c.fails != nil {
		return nil, c.fails
	}
	return c.orders.Nodes(ctx)
}

func (c *counted) Relocate(ctx context.Context, id raid.NodeID, change func(raid.Relocation) (raid.Relocation, error)) error {
	c.written++
	return c.orders.Relocate(ctx, id, change)
}

// Nodes whose room changes all the time, as they say, change a plan all the time.
func TestWhoGetsItsShareIsNotWrittenDownAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wishes := &counted{orders: orders{record: raid.NodeRecord{ID: "a"}}}
		r := New(Config{Wishes: wishes, Array: still{}})
		r.count.ended = time.Now()
		lacks := &Plan{uneven: true, nodes: map[raid.NodeID]*share{"a": {Node: Node{ID: "a", Takes: true, Gives: true}, size: chunk, target: chunk, takes: true}}}
		for i := range 600 {
			if r.plan = lacks; i%2 > 0 {
				r.plan = NewPlan(nil, nil, 0)
			}
			if err := r.noteFilling(t.Context(), []raid.NodeRecord{wishes.record}); err != nil {
				t.Fatal(err)
			}
			if i == 0 && !wishes.record.Filling {
				t.Error("it is not written down at once")
			}
			time.Sleep(time.Second)
		}
		if wishes.written < 2 || wishes.written > 11 {
			t.Errorf("in ten minutes it was written down %d times", wishes.written)
		}
	})
}

// A catalog whose disk is full fails for hours, and the log lies on the same one as often as
// not.
func TestALookThatFailsIsMadeEverMoreRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wishes, lines := &counted{fails: raid.ErrNoSpace}, &lines{}
		r := New(Config{Wishes: wishes, Array: quiet{}, Log: slog.New(slog.NewTextHandler(lines, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() { over <- r.Run(ctx) }()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if wishes.asked < 24 || wishes.asked > 40 || lines.n > wishes.asked {
			t.Errorf("in two hours %d looks and %d lines", wishes.asked, lines.n)
		}
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
}

// quiet is still, and never changes.
type quiet struct{ still }

func (quiet) Changed() <-chan struct{} { return nil }

// lines counts what is logged.
type lines struct{ n int }

func (l *lines) Write(b []byte) (int, error) { l.n++; return len(b), nil }
