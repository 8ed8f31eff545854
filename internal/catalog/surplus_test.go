package catalog

import (
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// partOn finds a part with a good copy on a node, and which one that is.
func partOn(t *testing.T, c *Catalog, node raid.NodeID) (raid.Repair, raid.Copy) {
	t.Helper()
	parts, _, _, err := c.PartsOn(bg, []raid.NodeID{node}, raid.PartCursor{}, 1000)
	must(t, err)
	if len(parts) == 0 {
		t.Fatalf("no part on %s", node)
	}
	for _, k := range parts[0].Part.Copies {
		if k.Node == node && !k.Bad {
			return parts[0], k
		}
	}
	t.Fatalf("%+v has no copy on %s", parts[0], node)
	panic("unreachable")
}

func surplusOn(t *testing.T, c *Catalog, node raid.NodeID) []raid.Surplus {
	t.Helper()
	out, _, _, err := c.Surpluses(bg, node, raid.SurplusCursor{}, 1000)
	must(t, err)
	return out
}

// spareOne replaces a copy on n1 as if that were lost, by one on to.
func spareOne(t *testing.T, c *Catalog, to raid.NodeID) (r raid.Repair, old raid.Copy) {
	t.Helper()
	r, old = partOn(t, c, "n1")
	must(t, c.ReplaceLost(bg, r.File, r.Part.Stripe, r.Part.Number, old, next(t, c, r.File, r.Part.Stripe, r.Part.Number, old.Index, to)))
	return r, old
}

func settle(t *testing.T, c *Catalog, s raid.Settlement) bool {
	t.Helper()
	done, err := c.SettleSurplus(bg, []raid.Settlement{s})
	must(t, err)
	checkTotals(t, c)
	return done[0]
}

// What a lost node holds is neither removed nor used while others are made, and known
// after a restart.
func TestReplacedCopyOfALostNodeBecomesSurplus(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openTest(t, path)
	f := store(t, c, 1)
	r, old := spareOne(t, c, "n3")
	for range 2 {
		if got := removalsOf(t, c); len(got) != 0 {
			t.Errorf("to be removed: %v", got)
		}
		s := surplusOn(t, c, "n1")
		if len(s) != 1 || s[0].File != r.File || s[0].Copy.Attempt != old.Attempt || s[0].Copy.Node != "n1" || s[0].Part.Number != r.Part.Number {
			t.Fatalf("surplus %+v", s)
		}
		if slices.ContainsFunc(s[0].Part.Copies, func(k raid.Copy) bool { return k.Node == "n1" }) {
			t.Errorf("the part still has it: %+v", s[0].Part)
		}
		left, err := c.Unexplained(bg, "n1", []raid.ChunkKey{r.Part.Key(f.Upload, old)})
		must(t, err)
		if len(left) != 0 {
			t.Error("a surplus chunk is not explained")
		}
		if len(surplusOn(t, c, "n2")) != 0 {
			t.Error("another node has it, too")
		}
		must(t, c.Close())
		c = openTest(t, path)
	}
	// A bad copy is no surplus.
	r, old = partOn(t, c, "n2")
	must(t, c.MarkBad(bg, r.File, r.Part.Stripe, r.Part.Number, old.Index, old.Attempt))
	old.Bad = true
	must(t, c.ReplaceLost(bg, r.File, r.Part.Stripe, r.Part.Number, old, next(t, c, r.File, r.Part.Stripe, r.Part.Number, old.Index, "n0")))
	if len(surplusOn(t, c, "n2")) != 0 || len(removalsOf(t, c)) != 1 {
		t.Errorf("bad copy: surplus %v, removals %v", surplusOn(t, c, "n2"), removalsOf(t, c))
	}
}

// A surplus copy goes only while all others are there as they were verified.
func TestSurplusGoesOnlyWhileTheOthersAreGood(t *testing.T) {
	c := openTest(t, "")
	store(t, c, 1)
	r, old := spareOne(t, c, "n3")
	s := surplusOn(t, c, "n1")[0]
	other := s.Part.Copies[0]
	if other.Index == old.Index {
		other = s.Part.Copies[1]
	}
	must(t, c.MarkBad(bg, r.File, r.Part.Stripe, r.Part.Number, other.Index, other.Attempt))
	if settle(t, c, raid.Settlement{Surplus: s}) {
		t.Fatal("it went although another copy was bad meanwhile")
	}
	s = surplusOn(t, c, "n1")[0]
	if settle(t, c, raid.Settlement{Surplus: s}) {
		t.Fatal("it went although another copy is bad")
	}
	if !settle(t, c, raid.Settlement{Surplus: s, Instead: other.Index}) {
		t.Fatal("it did not take the place of a bad copy")
	}
	if degraded(t, c, r.File) || len(surplusOn(t, c, "n1")) != 0 || len(removalsOf(t, c)) != 1 {
		t.Errorf("degraded %v, surplus %v, removals %v", degraded(t, c, r.File), surplusOn(t, c, "n1"), removalsOf(t, c))
	}
	if _, k := partOn(t, c, "n1"); k.Attempt != old.Attempt {
		t.Errorf("on n1 is %+v", k)
	}
	if settle(t, c, raid.Settlement{Surplus: s, Instead: other.Index}) {
		t.Error("it was settled twice")
	}
}

func TestSurplusIsRemovedOnRecord(t *testing.T) {
	c := openTest(t, "")
	f := store(t, c, 1)
	r, old := spareOne(t, c, "n3")
	s := surplusOn(t, c, "n1")[0]
	if !settle(t, c, raid.Settlement{Surplus: s}) {
		t.Fatal("it stays")
	}
	if got := removalsOf(t, c); len(got) != 1 || !slices.Equal(got, chunksOf(f.Upload, []raid.Part{{Number: r.Part.Number, Copies: []raid.Copy{old}}})) {
		t.Errorf("removals %v", got)
	}
	if len(surplusOn(t, c, "n1")) != 0 {
		t.Error("it is still surplus")
	}
}

// A good copy on a node that is lost becomes surplus itself; one on a node that is there
// is removed.
func TestSurplusTakesThePlaceOfAGoodCopy(t *testing.T) {
	for _, lost := range []bool{true, false} {
		c := openTest(t, "")
		store(t, c, 1)
		_, old := spareOne(t, c, "n3")
		s := surplusOn(t, c, "n1")[0]
		if !settle(t, c, raid.Settlement{Surplus: s, Instead: old.Index, Lost: lost}) {
			t.Fatal("it was not used again")
		}
		if got := len(surplusOn(t, c, "n3")); got != map[bool]int{true: 1, false: 0}[lost] {
			t.Errorf("lost %v: %d surplus on n3", lost, got)
		}
		if got := len(removalsOf(t, c)); got != map[bool]int{true: 0, false: 1}[lost] {
			t.Errorf("lost %v: %d removals", lost, got)
		}
		must(t, c.Close())
	}
}

func TestSurplusGoesWithItsFile(t *testing.T) {
	defer func(n int64) { longFile = n }(longFile)
	longFile = 2
	for _, stripes := range []int64{1, 9} {
		c := openTest(t, "")
		f := store(t, c, stripes)
		spareOne(t, c, "n3")
		must(t, c.Delete(bg, f.ID))
		if len(surplusOn(t, c, "n1")) != 0 {
			t.Error("a deleted file's copy is listed")
		}
		sweepAll(t, c, 3)
		if got, want := int64(len(removalsOf(t, c))), 4*stripes+1; got != want {
			t.Errorf("%d removals, want %d", got, want)
		}
		if n := sqlInt(t, c, "SELECT count(*) FROM surplus"); n != 0 {
			t.Errorf("%d rows are left", n)
		}
		must(t, c.Close())
	}
}

// What waits in the trash is no work that is left.
func TestSurplusOfADeletedFileIsNotCounted(t *testing.T) {
	c := openKeeping(t, "", testKeep)
	f := store(t, c, 1)
	r, _ := spareOne(t, c, "n3")
	other := store(t, c, 1)
	r2, old := partOn(t, c, "n1")
	if r2.File != other.ID {
		t.Fatalf("the part is of file %d", r2.File)
	}
	must(t, c.ReplaceLost(bg, r2.File, r2.Part.Stripe, r2.Part.Number, old, next(t, c, r2.File, r2.Part.Stripe, r2.Part.Number, old.Index, "n3")))
	count := func() (copies, bytes int64) {
		var at raid.SurplusCursor
		for more := true; more; {
			n, b, to, further, err := c.CountSurplus(bg, "n1", at, 1)
			must(t, err)
			copies, bytes, at, more = copies+n, bytes+b, to, further
		}
		return copies, bytes
	}
	must(t, c.Delete(bg, f.ID))
	if n, b := count(); n != 2 || b != r.Part.Length+r2.Part.Length {
		t.Errorf("%d copies of %d bytes while one is of a file in the trash", n, b)
	}
	must(t, c.Purge(bg, f.ID))
	if n, b := count(); n != 1 || b != r2.Part.Length {
		t.Errorf("%d copies of %d bytes without those of a deleted file", n, b)
	}
}

func TestSurplusOnARemovedNodeIsForgotten(t *testing.T) {
	c := openTest(t, "")
	store(t, c, 3)
	r, _ := spareOne(t, c, "n3")
	must(t, c.RemoveNode(bg, "n1", nil, nil))
	if len(surplusOn(t, c, "n1")) != 0 {
		t.Error("it is listed")
	}
	loseAll(t, c, 2)
	if n := sqlInt(t, c, "SELECT count(*) FROM surplus"); n != 0 {
		t.Errorf("%d rows are left of what was on file %d", n, r.File)
	}
}

// Every part with a good copy there is found, whatever the size of the steps; others
// are not.
func TestPartsOnFindsWhatNodesHold(t *testing.T) {
	c := openTest(t, "")
	store(t, c, 7)
	gone := store(t, c, 3)
	for range 5 {
		store(t, c, 1)
	}
	must(t, c.Delete(bg, gone.ID))
	begun := begin(t, c, 2)
	must(t, c.Append(bg, begun.File.ID, newParts(0, 1)))
	r, k := partOn(t, c, "n2")
	must(t, c.MarkBad(bg, r.File, r.Part.Stripe, r.Part.Number, k.Index, k.Attempt))
	for _, nodes := range [][]raid.NodeID{{"n2"}, {"n0", "n2"}, {"nobody"}, nil} {
		var want []raid.Repair
		for _, f := range listAll(t, c, raid.FileQuery{}) {
			parts, err := c.Parts(bg, f.ID, 0, f.Stripes)
			must(t, err)
			for _, p := range parts {
				if slices.ContainsFunc(p.Copies, func(k raid.Copy) bool { return !k.Bad && slices.Contains(nodes, k.Node) }) {
					want = append(want, raid.Repair{File: f.ID, Part: p})
				}
			}
		}
		for _, rows := range []int{1, 2, 3, 5, 1000} {
			var got []raid.Repair
			var at raid.PartCursor
			for more := true; more; {
				var page []raid.Repair
				var err error
				page, at, more, err = c.PartsOn(bg, nodes, at, rows)
				must(t, err)
				got = append(got, page...)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("on %v in steps of %d: %d parts, want %d", nodes, rows, len(got), len(want))
			}
		}
	}
	copies, bytes, _, more, err := c.CountOn(bg, []raid.NodeID{"n2"}, raid.PartCursor{}, 1000)
	must(t, err)
	n := sqlInt(t, c, "SELECT count(*) FROM chunk c JOIN node n ON n.key = c.node JOIN upload u ON u.id = c.file WHERE n.id = 'n2' AND c.flaw <> 1 AND u.state = 1")
	sum := sqlInt(t, c, "SELECT sum(p.length) FROM chunk c JOIN node n ON n.key = c.node JOIN part p USING (file, stripe, part) JOIN upload u ON u.id = c.file WHERE n.id = 'n2' AND c.flaw <> 1 AND u.state = 1")
	if more || copies != n || bytes != sum {
		t.Errorf("%d copies of %d bytes, want %d of %d; more %v", copies, bytes, n, sum, more)
	}
}

// MayHave says no only when a look at every part would.
func TestMayHaveKnowsWithoutASearch(t *testing.T) {
	c := openTest(t, "")
	store(t, c, 4)
	all := func(raid.NodeID) bool { return true }
	if c.MayHave(1, all) || c.MayHave(2, all) {
		t.Error("a copy is away though all nodes are there")
	}
	butOne := func(id raid.NodeID) bool { return id != "n1" }
	if !c.MayHave(1, butOne) || c.MayHave(0, butOne) {
		t.Error("with n1 away some part has one copy, and none has none")
	}
	for r, k := partOn(t, c, "n1"); ; r, k = partOn(t, c, "n1") {
		to := raid.NodeID("n9")
		must(t, c.ReplaceLost(bg, r.File, r.Part.Stripe, r.Part.Number, k, next(t, c, r.File, r.Part.Stripe, r.Part.Number, k.Index, to)))
		if left, _, _, _ := c.PartsOn(bg, []raid.NodeID{"n1"}, raid.PartCursor{}, 1000); len(left) == 0 {
			break
		}
	}
	if c.MayHave(1, butOne) {
		t.Error("all was made anew")
	}
}
