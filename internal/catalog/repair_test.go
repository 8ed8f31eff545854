package catalog

import (
	"reflect"
	"slices"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

func degraded(t *testing.T, c *Catalog, id raid.FileID) bool {
	t.Helper()
	f, err := c.File(bg, id)
	must(t, err)
	checkTotals(t, c)
	return f.Degraded
}

func repairs(t *testing.T, c *Catalog) []raid.Repair {
	t.Helper()
	rs, err := c.Repairs(bg, raid.PartCursor{}, 1000)
	must(t, err)
	return rs
}

func TestBadCopyIsReplaced(t *testing.T) {
	c := openTest(t, "")
	f := store(t, c, 3)
	store(t, c, 3)
	must(t, c.MarkBad(bg, f.ID, 1, 2, 1, 1))
	if !degraded(t, c, f.ID) {
		t.Error("a file with a bad copy is not degraded")
	}
	want := newParts(1, 2)[1]
	want.Copies[0].Bad = true
	if got := repairs(t, c); !reflect.DeepEqual(got, []raid.Repair{{File: f.ID, Part: want}}) {
		t.Fatalf("to repair %+v, want %+v", got, want)
	}
	old, fresh := want.Copies[0], next(t, c, f.ID, 1, 2, 1, "n2")
	must(t, c.ReplaceCopy(bg, f.ID, 1, 2, old, fresh))
	if degraded(t, c, f.ID) || len(repairs(t, c)) != 0 {
		t.Error("still degraded after repair")
	}
	parts, err := c.Parts(bg, f.ID, 1, 2)
	must(t, err)
	if parts[1].Copies[0] != fresh {
		t.Errorf("copies %+v", parts[1].Copies)
	}
	want.Copies = []raid.Copy{old}
	if got := removalsOf(t, c); !slices.Equal(got, chunksOf(f.Upload, []raid.Part{want})) {
		t.Errorf("to be removed: %v, want the old chunk", got)
	}
}

func TestCopyFoundWholeIsGoodAgain(t *testing.T) {
	c := openTest(t, "")
	f := store(t, c, 1)
	must(t, c.MarkBad(bg, f.ID, 0, 1, 2, 2))
	bad := repairs(t, c)[0].Part.Copies[1]
	good := bad
	good.Bad = false
	must(t, c.ReplaceCopy(bg, f.ID, 0, 1, bad, good))
	if degraded(t, c, f.ID) || len(repairs(t, c)) != 0 {
		t.Error("still degraded")
	}
	if got := removalsOf(t, c); len(got) != 0 {
		t.Errorf("a chunk in use is to be removed: %v", got)
	}
}

func TestTwoCopiesOnOneNodeAreTakenApart(t *testing.T) {
	c := openTest(t, "")
	fin := newFile(t, c, 1)
	for i := range fin.Parts {
		fin.Parts[i].Copies[0].Node, fin.Parts[i].Copies[1].Node = "n1", "n1"
	}
	f, err := c.Finish(bg, fin)
	must(t, err)
	for i, r := range repairs(t, c) {
		if !degraded(t, c, f.ID) || r.Part.Number != i+1 {
			t.Errorf("degraded %v, repair %+v", degraded(t, c, f.ID), r)
		}
		// Either may go.
		old := r.Part.Copies[i]
		must(t, c.ReplaceCopy(bg, f.ID, 0, r.Part.Number, old, next(t, c, f.ID, 0, r.Part.Number, old.Index, "n2")))
	}
	if degraded(t, c, f.ID) || len(repairs(t, c)) != 0 {
		t.Errorf("still degraded: %+v", repairs(t, c))
	}
}

// Of two copies on one node a bad one does not count; and a copy that shares its
// node with a bad one needs no repair of its own.
func TestBadCopyDoesNotDoubleAnother(t *testing.T) {
	c := openTest(t, "")
	fin := newFile(t, c, 1)
	fin.Parts[0].Copies[1].Node = fin.Parts[0].Copies[0].Node
	f, err := c.Finish(bg, fin)
	must(t, err)
	must(t, c.MarkBad(bg, f.ID, 0, 1, 1, 1))
	if n := sqlInt(t, c, "SELECT count(*) FROM chunk WHERE flaw = 2"); n != 0 {
		t.Errorf("%d copies count as doubled", n)
	}
	bad := repairs(t, c)[0].Part.Copies[0]
	must(t, c.ReplaceCopy(bg, f.ID, 0, 1, bad, next(t, c, f.ID, 0, 1, 1, "n3")))
	if degraded(t, c, f.ID) {
		t.Error("still degraded")
	}
}

// Two copies of a part are moved at the same time, each by somebody who does not know of
// the other, and to the same node.
func TestGoodCopyIsNotGivenUpForOneBesideAnother(t *testing.T) {
	for name, replace := range map[string]func(*Catalog, raid.FileID, raid.Copy, raid.Copy) error{
		"moved": func(c *Catalog, id raid.FileID, old, new raid.Copy) error {
			return c.ReplaceCopy(bg, id, 0, 1, old, new)
		},
		"lost": func(c *Catalog, id raid.FileID, old, new raid.Copy) error {
			return c.ReplaceLost(bg, id, 0, 1, old, new)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := openTest(t, "")
			f := store(t, c, 1)
			copies := newParts(0, 1)[0].Copies
			first, second := next(t, c, f.ID, 0, 1, 1, "n3"), next(t, c, f.ID, 0, 1, 2, "n3")
			must(t, c.ReplaceCopy(bg, f.ID, 0, 1, copies[0], first))
			wants(t, replace(c, f.ID, copies[1], second), raid.ErrPrecondition)
			parts, err := c.Parts(bg, f.ID, 0, 1)
			must(t, err)
			if got := parts[0].Copies; got[0] != first || got[1] != copies[1] || degraded(t, c, f.ID) {
				t.Errorf("copies %+v, want %+v and %+v", got, first, copies[1])
			}
			gone := raid.Part{Number: 1, Copies: []raid.Copy{copies[0], second}}
			if got := removalsOf(t, c); !slices.Equal(got, chunksOf(f.Upload, []raid.Part{gone})) {
				t.Errorf("to be removed: %v, want %v", got, chunksOf(f.Upload, []raid.Part{gone}))
			}
			if left := surplusOn(t, c, copies[1].Node); len(left) != 0 {
				t.Errorf("surplus %+v", left)
			}
			must(t, c.MarkBad(bg, f.ID, 0, 1, 2, copies[1].Attempt)) // two copies on one node are better than one
			bad := copies[1]
			bad.Bad = true
			must(t, c.ReplaceCopy(bg, f.ID, 0, 1, bad, next(t, c, f.ID, 0, 1, 2, "n3")))
		})
	}
}

func TestMarkBadOfAnotherAttemptChangesNothing(t *testing.T) {
	c := openTest(t, "")
	f := store(t, c, 1)
	gone := store(t, c, 1)
	must(t, c.Delete(bg, gone.ID))
	commit := c.Commit()
	must(t, c.MarkBad(bg, f.ID, 0, 1, 1, 7))
	must(t, c.MarkBad(bg, f.ID, 0, 1, 9, 1))
	must(t, c.MarkBad(bg, f.ID, 4, 1, 1, 1))
	must(t, c.MarkBad(bg, gone.ID, 0, 1, 1, 1))
	must(t, c.MarkBad(bg, 999, 0, 1, 1, 1))
	if degraded(t, c, f.ID) || len(repairs(t, c)) != 0 || c.Commit() != commit {
		t.Errorf("degraded, or commit went from %d to %d", commit, c.Commit())
	}
	must(t, c.MarkBad(bg, f.ID, 0, 1, 1, 1))
	commit = c.Commit()
	must(t, c.MarkBad(bg, f.ID, 0, 1, 1, 1))
	if c.Commit() != commit {
		t.Error("marked bad twice")
	}
}

func TestNewCopyOfAChangedRowGoesAgain(t *testing.T) {
	c := openTest(t, "")
	f, gone, swept := store(t, c, 1), store(t, c, 1), store(t, c, 1)
	must(t, c.Delete(bg, swept.ID))
	sweepAll(t, c, 100)
	must(t, c.Delete(bg, gone.ID))
	for range removalsOf(t, c) {
		for _, n := range []raid.NodeID{"n0", "n1", "n2", "n3"} {
			rs, err := c.Removals(bg, n, 10)
			must(t, err)
			must(t, c.Removed(bg, rs))
		}
	}
	old := newParts(0, 1)[0].Copies[0]
	fresh := next(t, c, f.ID, 0, 1, 1, "n3")
	elsewhere := old
	elsewhere.Node = "n0"
	wants(t, c.ReplaceCopy(bg, f.ID, 0, 1, elsewhere, fresh), raid.ErrPrecondition)
	other := old
	other.Attempt = 4
	wants(t, c.ReplaceCopy(bg, f.ID, 0, 1, other, fresh), raid.ErrPrecondition)
	wants(t, c.ReplaceCopy(bg, gone.ID, 0, 1, old, fresh), raid.ErrPrecondition)
	wants(t, c.ReplaceCopy(bg, swept.ID, 0, 1, old, fresh), raid.ErrPrecondition)
	wants(t, c.ReplaceCopy(bg, f.ID, 0, 1, old, raid.Copy{Index: 1, Node: "n3"}), raid.ErrInvalid)
	part := raid.Part{Stripe: 0, Number: 1, Copies: []raid.Copy{fresh}}
	want := append(chunksOf(f.Upload, []raid.Part{part}), chunksOf(gone.Upload, []raid.Part{part})...)
	slices.Sort(want)
	if got := removalsOf(t, c); !slices.Equal(got, want) {
		t.Errorf("to be removed %v, want the new chunks %v", got, want)
	}
	// The name waits for its removal on that node: a chunk that takes it now would
	// go with it.
	wants(t, c.ReplaceCopy(bg, f.ID, 0, 1, old, fresh), raid.ErrPrecondition)
	checkTotals(t, c)
}

// A chunk in use is never queued, whoever asks for it.
func TestCopyInUseIsNeverRemoved(t *testing.T) {
	c := openTest(t, "")
	f := store(t, c, 1)
	old := newParts(0, 1)[0].Copies[0]
	fresh := next(t, c, f.ID, 0, 1, 1, "n3")
	must(t, c.ReplaceCopy(bg, f.ID, 0, 1, old, fresh))
	key := raid.ChunkKey{Upload: f.Upload, Part: 1, Attempt: fresh.Attempt}
	must(t, c.Record(bg, []raid.Removal{{Node: "n3", Key: key}, {Node: "n2", Key: key}, {Node: "n2", Key: key}}))
	// An answer that got lost has the caller say it again.
	wants(t, c.ReplaceCopy(bg, f.ID, 0, 1, old, fresh), raid.ErrPrecondition)
	want := append(chunksOf(f.Upload, []raid.Part{{Number: 1, Copies: []raid.Copy{old}}}), string(key.Name())+"@n2")
	slices.Sort(want)
	if got := removalsOf(t, c); !slices.Equal(got, want) {
		t.Errorf("to be removed %v, want %v", got, want)
	}
}

// A name that was used once is never a file's again, also when nothing in the
// catalog tells of the first time any more.
func TestNoChunkNameIsUsedTwice(t *testing.T) {
	path := t.TempDir() + "/catalog.db"
	c := openTest(t, path)
	f := store(t, c, 1)
	old := newParts(0, 1)[0].Copies[0]
	seen := map[int]bool{}
	for range 3 {
		vain := next(t, c, f.ID, 0, 1, 1, "n3") // stored, and its answer got lost
		if seen[vain.Attempt] || vain.Attempt <= raid.UploadAttempts || vain.Attempt > raid.MaxAttempt {
			t.Fatalf("attempt %d after %v", vain.Attempt, seen)
		}
		seen[vain.Attempt] = true
		gone := []raid.Removal{{Node: "n3", Key: raid.ChunkKey{Upload: f.Upload, Part: 1, Attempt: vain.Attempt}}}
		must(t, c.Record(bg, gone))
		must(t, c.Removed(bg, gone)) // the node has deleted it
		must(t, c.Close())
		c = openTest(t, path)
	}
	for _, n := range []int{3, raid.UploadAttempts, raid.UploadAttempts + 4, raid.MaxAttempt} {
		wants(t, c.ReplaceCopy(bg, f.ID, 0, 1, old, raid.Copy{Index: 1, Attempt: n, Node: "n3"}), raid.ErrInvalid)
	}
	if parts, err := c.Parts(bg, f.ID, 0, 1); err != nil || parts[0].Copies[0] != old {
		t.Errorf("%+v, %v", parts, err)
	}
	fresh := next(t, c, f.ID, 0, 1, 1, "n3")
	must(t, c.ReplaceCopy(bg, f.ID, 0, 1, old, fresh))
	must(t, c.Delete(bg, f.ID))
	_, err := c.NextAttempt(bg, f.ID, 0, 1, "n1")
	wants(t, err, raid.ErrNotFound)
	sweepAll(t, c, 10)
	if n := sqlInt(t, c, "SELECT count(*) FROM attempt"); n != 0 {
		t.Errorf("%d rows of a file that is gone", n)
	}
}

func TestAttemptsThatFitNoNameAreRefused(t *testing.T) {
	c := openTest(t, "")
	f := store(t, c, 1)
	must(t, c.write(bg, &op{name: "test", rows: 1, run: func(t *tx) error {
		_, err := t.exec("INSERT INTO attempt VALUES (?, 0, 1, ?)", int64(f.ID), int64(raid.MaxAttempt-1))
		return err
	}}))
	if n := next(t, c, f.ID, 0, 1, 1, "").Attempt; n != raid.MaxAttempt {
		t.Errorf("attempt %d", n)
	}
	for range 2 {
		_, err := c.NextAttempt(bg, f.ID, 0, 1, "n1")
		wants(t, err, raid.ErrUnsupported)
	}
}

func TestRepairsGoOnAfterTheCursor(t *testing.T) {
	c := openTest(t, "")
	var want, got []raid.PartCursor
	for range 3 {
		f := store(t, c, 3)
		for s := range int64(3) {
			for p := 1; p <= 2; p++ {
				must(t, c.MarkBad(bg, f.ID, s, p, 1, 1))
				must(t, c.MarkBad(bg, f.ID, s, p, 2, 2))
				want = append(want, raid.PartCursor{File: f.ID, Stripe: s, Part: p})
			}
		}
	}
	hidden := begin(t, c, 1)
	hidden.Parts[0].Copies[0].Bad = true
	must(t, c.Append(bg, hidden.File.ID, hidden.Parts))
	for after, more := (raid.PartCursor{}), true; more; {
		rs, err := c.Repairs(bg, after, 4)
		must(t, err)
		for _, r := range rs {
			after = r.Cursor()
			got = append(got, after)
		}
		more = len(rs) == 4
	}
	if !slices.Equal(got, want) {
		t.Errorf("repairs of %v, want %v", got, want)
	}
}

func TestLastLabCopyReplacedMakesTheFileNative(t *testing.T) {
	c := openTest(t, "")
	fin := newFile(t, c, 1)
	fin.Parts[0].Copies[0].Node, fin.Parts[1].Copies[1].Node = "", ""
	f, err := c.Finish(bg, fin)
	must(t, err)
	must(t, c.ReplaceCopy(bg, f.ID, 0, 1, raid.Copy{Index: 1, Attempt: 1}, next(t, c, f.ID, 0, 1, 1, "n3")))
	if f, _ := c.File(bg, f.ID); !f.Lab {
		t.Error("not lab although one copy is")
	}
	must(t, c.ReplaceCopy(bg, f.ID, 0, 2, raid.Copy{Index: 2, Attempt: 2}, next(t, c, f.ID, 0, 2, 2, "n0")))
	if f, _ := c.File(bg, f.ID); f.Lab {
		t.Error("lab although no copy is")
	}
	if got := removalsOf(t, c); len(got) != 0 {
		t.Errorf("nothing can be removed from lab nodes: %v", got)
	}
}
