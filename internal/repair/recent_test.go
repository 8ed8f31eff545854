package repair

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// lookups counts what the catalog is asked for.
type lookups map[raid.FileID]int

func (l lookups) stored(_ context.Context, id raid.FileID) (raid.File, error) {
	l[id]++
	if id == 0 {
		return raid.File{}, raid.ErrNotFound
	}
	return raid.File{ID: id}, nil
}

func TestAFileIsLookedUpOnceForManyParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := lookups{}
		var files recentFiles
		get := func(id raid.FileID, times int) {
			t.Helper()
			for range times {
				if f, err := files.get(t.Context(), id, asked.stored); err != nil || f.ID != id {
					t.Fatalf("file %d is %d, %v", id, f.ID, err)
				}
			}
		}
		get(1, 32)
		if asked[1] != 1 {
			t.Errorf("it was looked up %d times for 32 parts", asked[1])
		}
		time.Sleep(recentFor)
		get(1, 1)
		if asked[1] != 2 {
			t.Error("what is known of it is believed for ever")
		}
		for range 2 {
			if _, err := files.get(t.Context(), 0, asked.stored); !errors.Is(err, raid.ErrNotFound) {
				t.Errorf("a file that is none: %v", err)
			}
		}
		if asked[0] != 2 {
			t.Error("that there was none is remembered")
		}
		for id := raid.FileID(10); id < 10_000; id++ {
			get(id, 1)
		}
		if len(files.of) > maxRecent {
			t.Errorf("%d are remembered", len(files.of))
		}
	})
}

// purged is a catalog whose file is there for the first look alone.
type purged struct {
	failing
	asked int
}

func (p *purged) Stored(context.Context, raid.FileID) (raid.File, error) {
	if p.asked++; p.asked > 1 {
		return raid.File{}, raid.ErrNotFound
	}
	return raid.File{ID: 1}, nil
}

// A file that is purged while its parts are made needs nothing any more. It is no part that
// can't be read, and none that is to be looked at again.
func TestAFileThatIsPurgedMeanwhileIsNotUnread(t *testing.T) {
	for name, c := range map[string]struct{ made, replaced error }{
		"its chunks are gone":       {made: raid.ErrNotFound},
		"none of them can be read":  {made: raid.ErrCorrupt},
		"its rows are gone by then": {replaced: raid.ErrPrecondition},
	} {
		f := &purged{failing: failing{replaced: c.replaced}}
		r := mender(&f.failing, func() (raid.Copy, error) { return raid.Copy{Index: 1, Attempt: 9, Node: "n"}, c.made })
		r.cfg.Copies, r.cfg.Grace = f, 0
		if _, err := r.recent.get(t.Context(), 1, f.Stored); err != nil {
			t.Fatal(err)
		}
		lost := newTally()
		part := raid.Part{Number: 1, Length: 7, Copies: []raid.Copy{{Index: 1, Attempt: 1, Bad: true}}}
		o, err := r.repairPart(t.Context(), &raid.Repair{File: 1, Part: part})
		if r.fail(lost, &part, o); err != nil || !o.ok || !o.moot || lost.left() != (amount{}) {
			t.Errorf("%s: %+v, %v; %+v are left", name, o, err, lost.left())
		}
		if len(f.recorded) != 1 || f.recorded[0].Node != "n" {
			t.Errorf("%s: the new copy is forgotten: %v", name, f.recorded)
		}
	}
}
