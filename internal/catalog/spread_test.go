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

// truth of one file, from its rows of chunk: good copies of its worst part there, and
// within reach without a node, and what rests on the node.
type fileTruth struct {
	now, without int
	on, last     bool // last: it alone has a good copy of some part, of those that are there
}

// readTruth reads the rows of chunk of all files, and of those in the trash.
func readTruth(t testing.TB, c *Catalog) (files, trash [][]raid.Part) {
	t.Helper()
	for f, err := range c.Trash(bg, raid.FileQuery{}) {
		must(t, err)
		parts, err := c.Parts(bg, f.File.ID, 0, f.File.Stripes)
		must(t, err)
		trash = append(trash, parts)
	}
	for f, err := range c.Files(bg, raid.FileQuery{}) {
		must(t, err)
		parts, err := c.Parts(bg, f.ID, 0, f.Stripes)
		must(t, err)
		files = append(files, parts)
	}
	return files, trash
}

func truthOf(parts []raid.Part, node raid.NodeID, there func(raid.NodeID) bool, lab bool) fileTruth {
	is := fileTruth{now: 9, without: 9}
	for _, p := range parts {
		now, without := map[string]bool{}, map[string]bool{}
		for i, cp := range p.Copies {
			if cp.Bad {
				continue
			}
			name, isThere := string(cp.Node), there(cp.Node)
			if !cp.Node.IsNative() {
				name, isThere = fmt.Sprint("lab ", i), lab
			}
			onIt := node != "" && (cp.Node == node || !cp.Node.IsNative() && !node.IsNative())
			is.on = is.on || onIt
			if isThere {
				now[name] = true
			}
			if isThere && !onIt {
				without[name] = true
			}
		}
		is.last = is.last || len(now) > 0 && len(without) == 0
		is.now, is.without = min(is.now, len(now)), min(is.without, len(without))
	}
	return is
}

// trueWithout counts from the rows of chunk what Without tells, and with no node what
// Reach does; last are the files of which the node alone has a copy, of those there.
func trueWithout(files [][]raid.Part, node raid.NodeID, there func(raid.NodeID) bool, lab bool) (w raid.ReachWithout, last int64) {
	for _, parts := range files {
		f := truthOf(parts, node, there, lab)
		w.OneCopy += truth(f.without == 1)
		w.None += truth(f.without == 0)
		w.Stops += truth(f.now > 0 && f.without == 0)
		w.Files += truth(f.on)
		last += truth(f.last)
	}
	return w, last
}

// checkReach compares it for random sets of nodes.
func checkReach(t *testing.T, c *Catalog, rng *rand.Rand) {
	t.Helper()
	files, trash := readTruth(t, c)
	for range 8 {
		set := map[raid.NodeID]bool{}
		for _, n := range spreadNodes {
			set[n] = rng.IntN(3) > 0
		}
		there, lab := func(id raid.NodeID) bool { return set[id] && !c.Gone(id) }, rng.IntN(2) == 0
		want, _ := trueWithout(files, "", there, lab)
		checkBounds(t, "Reach", c.Reach(there, lab), want.Reach)
		for _, node := range append(spreadNodes, "lab-1", "nobody") {
			got := c.Without(node, there, lab)
			want, most := trueWithout(files, node, there, lab)
			checkBounds(t, "Without "+string(node), got.Reach, want.Reach)
			switch { // with a row for each set, nothing is called in danger that is not
			case maxSets < 10:
				most = int64(len(files))
			case most > 0:
				most = max(most, got.Stops) // but how many these are may be too high
			}
			if got.Files != want.Files || got.Stops < want.Stops || got.Stops > most {
				t.Fatalf("without %s (lab %v): %+v, the chunks say %+v", node, lab, got, want)
			}
			if inTrash, _ := trueWithout(trash, node, there, lab); got.Trash != inTrash.Files || got.TrashStops < inTrash.Stops ||
				maxSets >= 10 && inTrash.Stops == 0 && got.TrashStops > most+int64(len(trash)) {
				t.Fatalf("without %s (lab %v): of the trash %+v, the chunks say %+v", node, lab, got, inTrash)
			}
		}
	}
	checkTotals(t, c)
}

// checkBounds compares with the truth what may be no more than upper bounds.
func checkBounds(t *testing.T, what string, got, want raid.Reach) {
	t.Helper()
	switch {
	case got.Partial:
		t.Fatal("not all files are counted")
	case got.AtMost && got.None >= want.None && got.OneCopy >= want.OneCopy:
	case got != want:
		t.Fatalf("%s: %+v, the chunks say %+v", what, got, want)
	}
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

// changeTrash does one of what happens to files in the trash.
func changeTrash(t *testing.T, c *Catalog, rng *rand.Rand, files *[]raid.File) {
	t.Helper()
	ids := trashOf(t, c, raid.FileQuery{})
	if len(ids) == 0 {
		return
	}
	id := ids[rng.IntN(len(ids))]
	switch rng.IntN(24) {
	case 0, 1:
		f, err := c.Undelete(bg, id)
		if errors.Is(err, raid.ErrConflict) {
			return
		}
		must(t, err)
		*files = append(*files, f)
	case 2:
		must(t, c.Purge(bg, id))
	case 3:
		_, err := c.Discard(bg, raid.Discard{Until: c.Ran(), Bytes: 1, Limit: 1})
		must(t, err)
	default:
		f, err := c.Stored(bg, id)
		must(t, err)
		changeCopy(t, c, rng, f)
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
		old.Bad = true // so that it may double another
		if err := c.ReplaceCopy(bg, f.ID, stripe, p.Number, old, to); err != nil && !c.Gone(to.Node) && !c.Gone(old.Node) {
			t.Fatal(err)
		}
	}
}

// fewer has so many rows of a kind, and files of three stripes count as long, until
// the test ends.
func fewer(t *testing.T, places, sets int) {
	wasPlaces, wasSets, wasLong := maxPlaces, maxSets, longFile
	maxPlaces, maxSets, longFile = places, sets, 2
	t.Cleanup(func() { maxPlaces, maxSets, longFile = wasPlaces, wasSets, wasLong })
}

// Whatever happens to copies, what is kept of how files are spread says the same as
// the chunks do; also when there are more ways than rows, when it says "at most".
func TestReachIsWhatTheChunksSay(t *testing.T) {
	for _, most := range []struct{ places, sets int }{{maxPlaces, maxSets}, {6, maxSets}, {1, maxSets}, {0, maxSets}, {1, 3}, {0, 0}} {
		t.Run(fmt.Sprint(most.places, " rows, ", most.sets, " sets"), func(t *testing.T) {
			fewer(t, most.places, most.sets)
			rng := rand.New(rand.NewPCG(uint64(most.places), 3))
			path := filepath.Join(t.TempDir(), "catalog.db")
			c := openKeeping(t, path, testKeep)
			var files []raid.File
			var inTrash int64
			for step := range 160 {
				changeRandomly(t, c, rng, &files)
				changeTrash(t, c, rng, &files)
				inTrash = max(inTrash, c.trash().Files)
				switch step {
				case 80:
					must(t, c.RemoveNode(bg, "n4", nil, nil))
				case 100:
					loseAll(t, c, 7)
				case 120:
					must(t, c.Close())
					c = openKeeping(t, path, testKeep)
				}
				if step%8 == 0 {
					checkReach(t, c, rng)
				}
			}
			if n := sqlInt(t, c, "SELECT count(*) FROM spread WHERE files < 0 OR trash < 0"); n != 0 {
				t.Errorf("%d rows count less than nothing", n)
			}
			if n := sqlInt(t, c, "SELECT sum(files) FROM spread"); n != int64(len(files)) {
				t.Errorf("%d files are counted of %d", n, len(files))
			}
			if n, all := sqlInt(t, c, "SELECT sum(trash) FROM spread"), int64(len(trashOf(t, c, raid.FileQuery{}))); n != all {
				t.Errorf("%d files in the trash are counted of %d", n, all)
			}
			if inTrash < 2 {
				t.Errorf("never were more than %d files in the trash", inTrash)
			}
		})
	}
}

// A catalog from before is counted in steps, while files come, go and change.
func TestAnOlderCatalogIsCountedInSteps(t *testing.T) {
	fewer(t, maxPlaces, maxSets)
	rng := rand.New(rand.NewPCG(5, 5))
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openKeeping(t, path, testKeep)
	var files []raid.File
	for range 150 {
		changeRandomly(t, c, rng, &files)
		changeTrash(t, c, rng, &files)
	}
	must(t, c.write(bg, &op{name: "test", rows: 1, run: func(t *tx) error {
		t.meta.spreadTo = 0
		_, err := t.exec("DELETE FROM spread")
		return err
	}}))
	sqlDo(t, c, "DELETE FROM long_file")
	must(t, c.Close())
	c = openKeeping(t, path, testKeep)
	if r := c.Reach(func(raid.NodeID) bool { return true }, true); !r.Partial || r.None+r.OneCopy != 0 {
		t.Errorf("nothing is counted, and it says %+v", r)
	}
	steps := 0
	for more := true; more; steps++ {
		var err error
		more, err = c.CountSpread(bg, 10)
		must(t, err)
		changeRandomly(t, c, rng, &files)
		changeTrash(t, c, rng, &files)
		if steps == 3 {
			must(t, c.Close())
			c = openKeeping(t, path, testKeep)
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
	for _, harm := range []string{"UPDATE spread SET files = files + 1", "DELETE FROM spread", "UPDATE spread SET places = 'x' || places", "UPDATE spread SET trash = trash + 1", "INSERT INTO spread VALUES ('7.8', 1, 0), ('8.9', -1, 0)"} {
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
