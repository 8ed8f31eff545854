package catalog

import (
	"path/filepath"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// lastSpare has a file of which one part rests on a surplus copy on n1 alone.
func lastSpare(t *testing.T, c *Catalog, stripes int64) (f raid.File, s raid.Surplus) {
	t.Helper()
	f = store(t, c, stripes)
	r, _ := spareOne(t, c, "n9")
	for _, p := range partsAt(t, c, r) {
		for _, k := range p.Copies {
			must(t, c.MarkBad(bg, r.File, p.Stripe, p.Number, k.Index, k.Attempt))
		}
	}
	all := surplusOn(t, c, "n1")
	if len(all) != 1 {
		t.Fatalf("surplus are %+v", all)
	}
	return f, all[0]
}

// partsAt is the part of a repair as it is now.
func partsAt(t *testing.T, c *Catalog, r raid.Repair) []raid.Part {
	t.Helper()
	parts, err := c.Parts(bg, r.File, r.Part.Stripe, r.Part.Stripe+1)
	must(t, err)
	for _, p := range parts {
		if p.Number == r.Part.Number {
			return []raid.Part{p}
		}
	}
	t.Fatal("the part is gone")
	return nil
}

func everywhere(raid.NodeID) bool { return true }

// The others, for which a copy became surplus, went bad. What is left is not lost, and no
// word makes it so: the part is said to rest there, and nothing removes it.
func TestTheLastGoodCopyCountsAlsoWhenItIsSurplus(t *testing.T) {
	fewer(t, maxPlaces, maxSets) // files of three stripes are long
	for _, stripes := range []int64{1, 4} {
		c := openKeeping(t, "", testKeep)
		f, s := lastSpare(t, c, stripes)
		if r := c.Reach(everywhere, true); r.None != 0 || r.OneCopy != 1 {
			t.Errorf("of %d stripes: %+v", stripes, r)
		}
		if w := c.Without("n1", everywhere, true); w.Stops != 1 || w.Files != 1 {
			t.Errorf("of %d stripes: %+v without n1", stripes, w)
		}
		if l := restsOn(t, c, "n1", "n0", "n2", "n3", "n9"); l.Lost == 0 || l.Files != 1 {
			t.Errorf("of %d stripes: with n1 leave %+v", stripes, l)
		}
		must(t, c.Record(bg, []raid.Removal{{Node: "n1", Key: s.Part.Key(f.Upload, s.Copy)}}))
		if n := sqlInt(t, c, "SELECT count(*) FROM removal"); n != 0 {
			t.Errorf("of %d stripes: it is to be removed", stripes)
		}
		must(t, c.Delete(bg, f.ID))
		_, err := c.Undelete(bg, f.ID)
		must(t, err)
		if !settle(t, c, raid.Settlement{Surplus: s, Instead: s.Part.Copies[0].Index}) {
			t.Errorf("of %d stripes: it does not take the place of a bad copy", stripes)
		}
		if r := c.Reach(everywhere, true); r.None != 0 || r.OneCopy != 1 || len(surplusOn(t, c, "n1")) != 0 {
			t.Errorf("of %d stripes: %+v when it counts again", stripes, r)
		}
		checkTotals(t, c)
	}
}

// A surplus copy that was read and is bad counts as none, and is not read again and again.
// It stays where it is, as long as its part lacks copies.
func TestABadSurplusCopyIsNone(t *testing.T) {
	fewer(t, maxPlaces, maxSets)
	for _, stripes := range []int64{1, 4} {
		path := filepath.Join(t.TempDir(), "catalog.db")
		c := openKeeping(t, path, testKeep)
		f, s := lastSpare(t, c, stripes)
		must(t, c.SurplusBad(bg, s))
		must(t, c.SurplusBad(bg, s)) // once more is fine
		must(t, c.Close())
		c = openKeeping(t, path, testKeep)
		if r := c.Reach(everywhere, true); r.None != 1 || r.Partial {
			t.Errorf("of %d stripes: %+v", stripes, r)
		}
		if n, _, _, _, err := c.CountSurplus(bg, "n1", raid.SurplusCursor{}, 10); err != nil || n != 0 || len(surplusOn(t, c, "n1")) != 0 {
			t.Errorf("of %d stripes: it is looked at again: %d, %v", stripes, n, err)
		}
		if n := sqlInt(t, c, "SELECT count(*) FROM surplus"); n != 1 {
			t.Errorf("of %d stripes: %d rows", stripes, n)
		}
		must(t, c.Delete(bg, f.ID))
		_, err := c.Undelete(bg, f.ID)
		wants(t, err, raid.ErrConflict)
		must(t, c.Purge(bg, f.ID))
		sweepAll(t, c, 100)
		if n := sqlInt(t, c, "SELECT count(*) FROM surplus"); n != 0 {
			t.Errorf("of %d stripes: %d rows are left of a file that is gone", stripes, n)
		}
		checkTotals(t, c)
	}
}

// With the node of a last surplus copy the file is lost, when a person wants that.
func TestASurplusCopyThatPartsRestOnGoesWithItsNode(t *testing.T) {
	fewer(t, maxPlaces, maxSets)
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openTest(t, path)
	lastSpare(t, c, 1)
	must(t, c.RemoveNode(bg, "n1", nil, nil))
	loseAll(t, c, 3)
	for range 2 {
		if r := c.Reach(everywhere, true); r.None != 1 || r.Partial || sqlInt(t, c, "SELECT count(*) FROM surplus") != 0 {
			t.Errorf("%+v", r)
		}
		must(t, c.Close())
		c = openTest(t, path)
	}
}

// While the nodes of the other copies are away, nobody knows whether they come back: a
// surplus copy may be the one that is left.
func TestANodeWithSurplusCopiesIsKeptWhileFilesCanNotBeRead(t *testing.T) {
	c := openTest(t, "")
	store(t, c, 1)
	spareOne(t, c, "n9")
	if l := restsOn(t, c, "n1", "n0", "n2", "n3", "n9"); l.Lost != 0 {
		t.Errorf("all others are there: %+v", l)
	}
	if l := restsOn(t, c, "n1"); l.Lost == 0 || !l.AtMost {
		t.Errorf("no other is there: %+v", l)
	}
}
