package catalog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// spreadNodes are the nodes of these tests, beside lab nodes.
var spreadNodes = []raid.NodeID{"n0", "n1", "n2", "n3", "n4"}

// trueReach counts from the rows of chunk what Reach tells.
func trueReach(t testing.TB, c *Catalog, there func(raid.NodeID) bool, lab bool) (r Reach) {
	t.Helper()
	for f, err := range c.Files(bg, Query{}) {
		must(t, err)
		parts, err := c.Parts(bg, f.ID, 0, f.Stripes)
		must(t, err)
		least := 9
		for _, p := range parts {
			held := map[string]bool{}
			for i, cp := range p.Copies {
				switch {
				case cp.Bad:
				case !native(cp.Node) && lab:
					held[fmt.Sprint("lab ", i)] = true
				case native(cp.Node) && there(cp.Node) && !c.Gone(cp.Node):
					held[string(cp.Node)] = true
				}
			}
			least = min(least, len(held))
		}
		r.OneCopy += truth(least == 1)
		r.None += truth(least == 0)
	}
	return r
}

// checkReach compares it for random sets of nodes.
func checkReach(t *testing.T, c *Catalog, rng *rand.Rand) {
	t.Helper()
	for range 8 {
		set := map[raid.NodeID]bool{}
		for _, n := range spreadNodes {
			set[n] = rng.IntN(3) > 0
		}
		there, lab := func(id raid.NodeID) bool { return set[id] }, rng.IntN(2) == 0
		got, want := c.Reach(there, lab), trueReach(t, c, there, lab)
		switch {
		case got.Partial:
			t.Fatal("not all files are counted")
		case got.AtMost && got.None >= want.None && got.None+got.OneCopy >= want.None+want.OneCopy:
		case got != want:
			t.Fatalf("with %v there (lab %v): %+v, the chunks say %+v", set, lab, got, want)
		}
	}
	checkTotals(t, c)
}

func drawCopies(rng *rand.Rand, parts []raid.Part) {
	for i := range parts {
		for j := range parts[i].Copies {
			parts[i].Copies[j].Node = spreadNodes[rng.IntN(len(spreadNodes))]
			if rng.IntN(8) == 0 {
				parts[i].Copies[j].Node = ""
			}
			parts[i].Copies[j].Bad = j == 1 && rng.IntN(8) == 0
		}
	}
}

// changeRandomly does one of what changes where copies are.
func changeRandomly(t *testing.T, c *Catalog, rng *rand.Rand, files *[]raid.File) {
	t.Helper()
	kind := rng.IntN(10)
	if len(*files) == 0 {
		kind = 0
	}
	i := 0
	if kind > 3 {
		i = rng.IntN(len(*files))
	}
	switch {
	case kind <= 3:
		stripes := int64(1 + rng.IntN(4))
		fin := newFile(t, c, stripes)
		if rng.IntN(2) == 0 {
			fin = begin(t, c, stripes)
			fin.Parts = newParts(0, stripes)
		}
		drawCopies(rng, fin.Parts)
		if fin.Begun {
			must(t, c.Append(bg, fin.File.ID, fin.Parts[:1]))
			drawCopies(rng, fin.Parts[:1])
		}
		f, err := c.Finish(bg, fin)
		if errors.Is(err, raid.ErrTooFewNodes) && c.Gone("n4") {
			return // only n4 would have had a good copy
		}
		must(t, err)
		*files = append(*files, f)
	case kind == 4:
		must(t, c.Delete(bg, (*files)[i].ID))
		*files = slices.Delete(*files, i, i+1)
		if rng.IntN(2) == 0 {
			sweepAll(t, c, 1000)
		}
	default:
		changeCopy(t, c, rng, (*files)[i])
	}
}

// changeCopy marks a copy bad or puts it elsewhere.
func changeCopy(t *testing.T, c *Catalog, rng *rand.Rand, f raid.File) {
	t.Helper()
	stripe := rng.Int64N(f.Stripes)
	parts, err := c.Parts(bg, f.ID, stripe, stripe+1)
	must(t, err)
	p := parts[rng.IntN(len(parts))]
	old := p.Copies[rng.IntN(len(p.Copies))]
	switch rng.IntN(3) {
	case 0:
		must(t, c.MarkBad(bg, f.ID, stripe, p.Number, old.Index, old.Attempt))
	case 1:
		good := old
		good.Bad = false
		if err := c.ReplaceCopy(bg, f.ID, stripe, p.Number, old, good); err != nil && !c.Gone(old.Node) {
			t.Fatal(err)
		}
	default:
		to := next(t, c, f.ID, stripe, p.Number, old.Index, spreadNodes[rng.IntN(len(spreadNodes))])
		if err := c.ReplaceCopy(bg, f.ID, stripe, p.Number, old, to); err != nil && !c.Gone(to.Node) && !c.Gone(old.Node) {
			t.Fatal(err)
		}
	}
}

// fewer has so many rows of a kind, and files of three stripes count as long, until
// the test ends.
func fewer(t *testing.T, places int) {
	wasPlaces, wasLong := maxPlaces, longFile
	maxPlaces, longFile = places, 2
	t.Cleanup(func() { maxPlaces, longFile = wasPlaces, wasLong })
}

// Whatever happens to copies, what is kept of how files are spread says the same as
// the chunks do; also when there are more ways than rows, when it says "at most".
func TestReachIsWhatTheChunksSay(t *testing.T) {
	for _, places := range []int{maxPlaces, 6, 1} {
		t.Run(fmt.Sprint(places, " rows"), func(t *testing.T) {
			fewer(t, places)
			rng := rand.New(rand.NewPCG(uint64(places), 3))
			path := filepath.Join(t.TempDir(), "catalog.db")
			c := openTest(t, path)
			var files []raid.File
			for step := range 160 {
				changeRandomly(t, c, rng, &files)
				switch step {
				case 80:
					must(t, c.RemoveNode(bg, "n4", nil, nil))
				case 100:
					loseAll(t, c, 7)
				case 120:
					must(t, c.Close())
					c = openTest(t, path)
				}
				if step%8 == 0 {
					checkReach(t, c, rng)
				}
			}
			if n := sqlInt(t, c, "SELECT count(*) FROM spread WHERE files < 0"); n != 0 {
				t.Errorf("%d rows count less than nothing", n)
			}
			if n := sqlInt(t, c, "SELECT sum(files) FROM spread"); n != int64(len(files)) {
				t.Errorf("%d files are counted of %d", n, len(files))
			}
		})
	}
}

// A catalog from before is counted in steps, while files come, go and change.
func TestAnOlderCatalogIsCountedInSteps(t *testing.T) {
	fewer(t, maxPlaces)
	rng := rand.New(rand.NewPCG(5, 5))
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openTest(t, path)
	var files []raid.File
	for range 150 {
		changeRandomly(t, c, rng, &files)
	}
	must(t, c.write(bg, &op{name: "test", rows: 1, run: func(t *tx) error {
		t.meta.spreadTo = 0
		_, err := t.exec("DELETE FROM spread")
		return err
	}}))
	sqlDo(t, c, "DELETE FROM long_file")
	must(t, c.Close())
	c = openTest(t, path)
	if r := c.Reach(func(raid.NodeID) bool { return true }, true); !r.Partial || r.None+r.OneCopy != 0 {
		t.Errorf("nothing is counted, and it says %+v", r)
	}
	steps := 0
	for more := true; more; steps++ {
		var err error
		more, err = c.CountSpread(bg, 10)
		must(t, err)
		changeRandomly(t, c, rng, &files)
		if steps == 3 {
			must(t, c.Close())
			c = openTest(t, path)
		}
	}
	if steps < 5 {
		t.Errorf("it took %d steps", steps)
	}
	checkReach(t, c, rng)
	commit := c.Commit()
	if more, err := c.CountSpread(bg, 10); more || err != nil || c.Commit() != commit {
		t.Errorf("again: more %v, %v, commit %d after %d", more, err, c.Commit(), commit)
	}
}

// What a removal is decided by is not believed when it does not add up.
func TestSpreadThatDoesNotAddUpIsCountedAnew(t *testing.T) {
	for _, harm := range []string{"UPDATE spread SET files = files + 1", "DELETE FROM spread", "UPDATE spread SET places = 'x' || places", "INSERT INTO spread VALUES ('7.8', 1), ('8.9', -1)"} {
		path := filepath.Join(t.TempDir(), "catalog.db")
		c := openTest(t, path)
		rng := rand.New(rand.NewPCG(9, 9))
		var files []raid.File
		for range 40 {
			changeRandomly(t, c, rng, &files)
		}
		sqlDo(t, c, harm)
		must(t, c.Close())
		c = openTest(t, path)
		if !restsOn(t, c, "n1", spreadNodes...).Partial {
			t.Errorf("after %s it is believed", harm)
		}
		for more := true; more; {
			var err error
			more, err = c.CountSpread(bg, 100)
			must(t, err)
		}
		checkReach(t, c, rng)
	}
}

func TestPlacesAreReadAsTheyAreWritten(t *testing.T) {
	for _, c := range []struct{ places, coarse, coarsest string }{
		{"1.2 3.4", "~2 1.2.3.4", "*2"}, {"-", "~0 -", "*0"}, {"0.0 1.2", "~2 0.1.2", "*2 0"}, {"1 1.2", "~1 1.2", "*1"},
	} {
		if got := coarser(c.places); got != c.coarse || coarsest(c.places) != c.coarsest {
			t.Errorf("%q: %q, %q", c.places, got, coarsest(c.places))
		}
		r, err := parsePlaces(c.coarse)
		if err != nil || r.kind != coarseRow || len(r.sets) != 1 {
			t.Errorf("%q: %+v, %v", c.coarse, r, err)
		}
	}
	for _, bad := range []string{"", " ", "x", "1.", "~ 1", "*", "-1"} {
		if r, err := parsePlaces(bad); err == nil {
			t.Errorf("%q is taken for %+v", bad, r)
		}
	}
}
