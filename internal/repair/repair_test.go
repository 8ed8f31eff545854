package repair

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheWorstCopyIsMendedFirst(t *testing.T) {
	a, b, bad := raid.Copy{Index: 1, Node: "a"}, raid.Copy{Index: 2, Node: "b"}, raid.Copy{Index: 2, Node: "b", Bad: true}
	twin, lab := raid.Copy{Index: 2, Node: "a"}, raid.Copy{Index: 2}
	for name, c := range map[string]struct {
		copies []raid.Copy
		want   int // index, 0: none
	}{
		"all good":     {[]raid.Copy{a, b}, 0},
		"one bad":      {[]raid.Copy{a, bad}, 2},
		"same node":    {[]raid.Copy{a, twin}, 2},
		"two lab ones": {[]raid.Copy{{Index: 1}, lab}, 0},
	} {
		if got, found := flawed(&raid.Part{Copies: c.copies}); found != (c.want > 0) || got.Index != c.want {
			t.Errorf("%s: copy %d, %v", name, got.Index, found)
		}
	}
}

// failing is a catalog with one part to repair that says what it was asked.
type failing struct {
	repairs  int
	recorded []raid.Removal
	replaced error
}

func (f *failing) Stored(context.Context, raid.FileID) (raid.File, error) {
	return raid.File{ID: 1}, nil
}
func (f *failing) Repairs(context.Context, raid.PartCursor, int) ([]raid.Repair, error) {
	f.repairs++
	return []raid.Repair{{File: 1, Part: raid.Part{Number: 1, Copies: []raid.Copy{{Index: 1, Attempt: 1, Bad: true}}}}}, nil
}
func (f *failing) ReplaceCopy(context.Context, raid.FileID, int64, int, raid.Copy, raid.Copy) error {
	return f.replaced
}
func (f *failing) ReplaceLost(context.Context, raid.FileID, int64, int, raid.Copy, raid.Copy) error {
	return f.replaced
}
func (f *failing) Record(_ context.Context, r []raid.Removal) error {
	f.recorded = append(f.recorded, r...)
	return nil
}

type maker func() (raid.Copy, error)

func (m maker) Rereplicate(context.Context, raid.File, raid.Part, raid.Move) (raid.Copy, error) {
	return m()
}

func (m maker) Check(context.Context, raid.File, raid.Part, raid.Copy) error { return nil }

func mender(f *failing, m maker) *Repairer {
	log := slog.New(slog.DiscardHandler)
	nodes := membership.New(membership.Config{Knows: func(uint64) bool { return true }, Log: log})
	return New(Config{Copies: f, Losses: none{}, Maker: m, Nodes: nodes, Log: log})
}

func TestACopyMadeInVainIsRecordedForRemoval(t *testing.T) {
	fresh := raid.Copy{Index: 1, Attempt: 9, Node: "n"}
	for name, c := range map[string]struct{ made, replaced error }{
		"its answer was lost":     {made: raid.ErrPeerGone},
		"the file went meanwhile": {replaced: raid.ErrPrecondition},
	} {
		f := &failing{replaced: c.replaced}
		r := mender(f, func() (raid.Copy, error) { return fresh, c.made })
		if err := mendOnce(t, r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(f.recorded) == 0 || len(f.recorded) > 1+anew+1 || f.recorded[0].Node != "n" || f.recorded[0].Key.Attempt != 9 {
			t.Errorf("%s: recorded %v", name, f.recorded)
		}
	}
}

// mendOnce looks once for parts to repair, and waits until they are.
func mendOnce(t *testing.T, r *Repairer) error {
	t.Helper()
	_, err := r.repairPass(t.Context(), r.look())
	return errors.Join(err, r.group.Wait())
}

func TestWhatCanNotBeRepairedIsNotTriedAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, tried := &failing{}, 0
		r := mender(f, func() (raid.Copy, error) { tried++; return raid.Copy{}, raid.ErrTooFewNodes })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.repairLoop(ctx) }()
		time.Sleep(time.Hour)
		cancel()
		if err := errors.Join(<-done, r.group.Wait()); err != nil {
			t.Error(err)
		}
		if tried != 1 || f.repairs > 3 {
			t.Errorf("tried %d times and looked %d times in an hour in which nothing happened", tried, f.repairs)
		}
	})
}

// Until the nodes that the catalog knows have reported, it may be an old one.
func TestNothingIsDoneBeforeTheKnownNodesHaveReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &failing{}
		r := mender(f, func() (raid.Copy, error) { return raid.Copy{}, raid.ErrTooFewNodes })
		r.cfg.Nodes = membership.New(membership.Config{Known: []raid.NodeRecord{{ID: "n"}}, Settle: 10 * time.Second})
		mend := func(ctx context.Context) (bool, error) {
			p, err := r.repairPass(ctx, r.look())
			return p.next > 0, err
		}
		for _, pass := range []func(context.Context) (bool, error){mend, r.evacuatePass, r.collectPass} { // without a queue, cleaning would panic
			if left, err := pass(t.Context()); !left || err != nil || f.repairs > 0 {
				t.Errorf("left %v, %v, looked %d times", left, err, f.repairs)
			}
		}
		time.Sleep(10 * time.Second)
		if err := mendOnce(t, r); err != nil || f.repairs == 0 {
			t.Errorf("after settle: %v, looked %d times", err, f.repairs)
		}
	})
}

func TestABrokenCatalogEndsRepair(t *testing.T) {
	f := &failing{replaced: raid.ErrCatalogBroken}
	r := mender(f, func() (raid.Copy, error) { return raid.Copy{Index: 1, Attempt: 9, Node: "n"}, nil })
	if err := mendOnce(t, r); !errors.Is(err, raid.ErrCatalogBroken) {
		t.Errorf("pass: %v", err)
	}
	if len(f.recorded) != 0 {
		t.Errorf("recorded %v although the outcome is unknown", f.recorded)
	}
}
