package catalog

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// loseAll goes through all that is left to do for removed nodes, and returns how
// many chunks that marked.
func loseAll(t testing.TB, c *Catalog, rows int) (marked int64) {
	t.Helper()
	var at raid.LostCursor
	for more := true; more; {
		next, again, err := c.MarkLost(bg, at, rows)
		must(t, err)
		if next.Node != at.Node {
			at.Marked = 0
		}
		marked += next.Marked - at.Marked
		at, more = next, again
	}
	return marked
}

const goodOn = "SELECT count(*) FROM chunk c JOIN node n ON n.key = c.node WHERE n.id = ? AND c.flaw <> 1"

func TestARemovedNodeIsRemovedForGood(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openTest(t, path)
	store(t, c, 4)
	join(t, c, "n2", 1)
	wants(t, c.RemoveNode(bg, "nobody", nil, nil), raid.ErrNotFound)
	wants(t, c.RemoveNode(bg, "", nil, nil), raid.ErrNotFound)
	must(t, c.SaveNode(bg, raid.NodeRecord{ID: "n2", Address: "10.0.0.2"}))
	for _, id := range []raid.NodeID{"n2", "n3"} { // one that joined and one that did not
		must(t, c.RemoveNode(bg, id, nil, nil))
		commit := c.Commit()
		must(t, c.RemoveNode(bg, id, nil, nil))
		must(t, c.SaveNode(bg, raid.NodeRecord{ID: id, Address: "back"}))
		back := "back"
		_, err := c.ChangeNode(bg, id, raid.NodeChange{Zone: &back, Name: &back})
		wants(t, err, raid.ErrNotFound)
		if c.Commit() != commit {
			t.Errorf("%s: written again", id)
		}
	}
	for range 3 {
		nodes, err := c.Nodes(bg)
		must(t, err)
		if len(nodes) != 2 || nodes[0].ID == "n2" || nodes[1].ID == "n2" {
			t.Errorf("nodes %+v", nodes)
		}
		for id, want := range map[raid.NodeID]bool{"n1": false, "n2": true, "n3": true, "nobody": false} {
			if c.Gone(id) != want || want && (c.Remembers(id) || !memberOf(t, c, id).Removed) {
				t.Errorf("%s: gone %v, remembered %v, member %+v", id, c.Gone(id), c.Remembers(id), memberOf(t, c, id))
			}
		}
		checkMembers(t, c)
		loseAll(t, c, 3)
		must(t, c.Close())
		c = openTest(t, path)
	}
	// The nodes after it have kept their keys.
	fin := newFile(t, c, 1)
	fin.Parts[1].Copies[0].Node = "n1"
	f, err := c.Finish(bg, fin)
	must(t, err)
	parts, err := c.Parts(bg, f.ID, 0, 1)
	must(t, err)
	if got := []raid.NodeID{parts[0].Copies[0].Node, parts[0].Copies[1].Node, parts[1].Copies[1].Node}; !slices.Equal(got, []raid.NodeID{"n1", "n2", "n3"}) {
		t.Errorf("on %v", got)
	}
	if n := sqlInt(t, c, "SELECT count(*) FROM node WHERE 'back' IN (address, zone, name)"); n != 0 {
		t.Error("a record of a removed node was saved")
	}
}

func TestWhatARemovedNodeHeldIsToBeMadeAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openTest(t, path)
	f, g := store(t, c, 300), store(t, c, 2) // 600 parts, of which 300 have a copy on n1
	lab := newFile(t, c, 1)
	lab.Parts[0].Copies[0].Node, lab.Parts[0].Copies[1].Node = "", "n0"
	h, err := c.Finish(bg, lab)
	must(t, err)
	deleted := store(t, c, 8)
	must(t, c.Delete(bg, deleted.ID))
	held := sqlInt(t, c, goodOn, "n1")
	must(t, c.RemoveNode(bg, "n1", nil, nil))
	var at raid.LostCursor
	for range 5 {
		before := at
		at, _, err = c.MarkLost(bg, at, 50)
		must(t, err)
		if at.Node != "n1" || at.Marked > before.Marked+50 {
			t.Errorf("%+v after %+v", at, before)
		}
	}
	checkTotals(t, c)
	must(t, c.Close()) // in the middle
	c = openTest(t, path)
	if marked := loseAll(t, c, 70) + at.Marked; marked != held-8 { // without those of the deleted file
		t.Errorf("%d of %d chunks were marked", marked, held)
	}
	if n := sqlInt(t, c, goodOn, "n1"); n != 8 {
		t.Errorf("%d good chunks are on the node", n)
	}
	if !degraded(t, c, f.ID) || !degraded(t, c, g.ID) || degraded(t, c, h.ID) {
		t.Error("degraded are others than those that were on the node")
	}
	for _, r := range repairs(t, c) {
		for _, cp := range r.Part.Copies {
			if cp.Bad != (cp.Node == "n1") {
				t.Fatalf("%+v", r)
			}
		}
	}
	commit := c.Commit()
	if next, more, err := c.MarkLost(bg, raid.LostCursor{}, 50); more || err != nil || next != (raid.LostCursor{}) || c.Commit() != commit {
		t.Errorf("again: %+v, %v, %v", next, more, err)
	}
}

// The search stops short of what is full, and goes on there.
func TestManyChunksOnOnePageAreMarkedInTurns(t *testing.T) {
	c := openTest(t, "")
	store(t, c, 400)
	held := sqlInt(t, c, goodOn, "n1")
	must(t, c.RemoveNode(bg, "n1", nil, nil))
	next, more, err := c.MarkLost(bg, raid.LostCursor{}, 1<<30)
	if err != nil || !more || next.Marked != lostBatch {
		t.Errorf("%+v, %v, %v", next, more, err)
	}
	if n := loseAll(t, c, 1<<30); n != held-lostBatch {
		t.Errorf("%d marked, want %d", n, held-lostBatch)
	}
	checkTotals(t, c)
}

func TestNothingWaitsToBeRemovedFromARemovedNode(t *testing.T) {
	c := openTest(t, "")
	must(t, c.Delete(bg, store(t, c, 2*batchRows).ID))
	kept, later := store(t, c, 2), store(t, c, 2)
	sweepAll(t, c, 1000)
	must(t, c.RemoveNode(bg, "n1", nil, nil))
	counts, err := c.RemovalCounts(bg)
	must(t, err)
	if rs, err := c.Removals(bg, "n1", 10); err != nil || len(rs) != 0 || counts["n1"] != 0 || counts["n2"] == 0 {
		t.Errorf("%d removals, %v, counted %v", len(rs), err, counts)
	}
	at, steps := raid.LostCursor{}, 0
	for more := true; more; steps++ {
		at, more, err = c.MarkLost(bg, at, 1<<20)
		must(t, err)
	}
	checkTotals(t, c)
	if n := sqlInt(t, c, "SELECT removals FROM node WHERE id = 'n1'"); n != 0 || steps < 2 {
		t.Errorf("%d removals are left after %d steps", n, steps)
	}
	// Nor does anything new.
	must(t, c.Delete(bg, kept.ID))
	sweepAll(t, c, 1000)
	part := newParts(0, 1)[0]
	must(t, c.Record(bg, []raid.Removal{{Node: "n1", Key: raid.ChunkKey{Upload: kept.Upload, Part: 1, Attempt: 7}}}))
	must(t, c.ReplaceCopy(bg, later.ID, 0, 1, part.Copies[0], next(t, c, later.ID, 0, 1, 1, "n0")))
	if n := sqlInt(t, c, "SELECT count(*) FROM removal r JOIN node n ON n.key = r.node WHERE n.id = 'n1'"); n != 0 {
		t.Errorf("%d new removals", n)
	}
	checkTotals(t, c)
}

// An upload under way, or a repair, may have placed copies on the node that is
// removed meanwhile, and the search for them may be over.
func TestNoGoodCopyGetsOntoARemovedNode(t *testing.T) {
	c := openTest(t, "")
	long, small, f := begin(t, c, 3), newFile(t, c, 1), store(t, c, 1)
	must(t, c.Append(bg, long.File.ID, newParts(0, 1)))
	fresh := next(t, c, f.ID, 0, 2, 1, "n1")
	bad := newParts(0, 1)[0].Copies[0]
	must(t, c.MarkBad(bg, f.ID, 0, 1, 1, 1))
	must(t, c.RemoveNode(bg, "n1", nil, nil))
	loseAll(t, c, 100)
	must(t, c.Append(bg, long.File.ID, newParts(1, 2)))
	long.Parts = newParts(2, 3)
	long.Parts[0].Copies[1].Node = "n1"
	for _, fin := range []raid.FinishedUpload{long, small} {
		g, err := c.Finish(bg, fin)
		must(t, err)
		if !g.Degraded || !degraded(t, c, g.ID) {
			t.Errorf("file %d is whole", g.ID)
		}
	}
	wants(t, c.ReplaceCopy(bg, f.ID, 0, 2, newParts(0, 1)[1].Copies[0], fresh), raid.ErrPrecondition)
	wants(t, c.ReplaceCopy(bg, f.ID, 0, 1, raid.Copy{Index: 1, Attempt: 1, Node: "n1", Bad: true}, bad), raid.ErrPrecondition)
	if n := sqlInt(t, c, goodOn, "n1"); n != 0 {
		t.Errorf("%d good chunks are on the node", n)
	}
	checkTotals(t, c)
}

func TestNodesAreRemovedWhileFilesComeAndGo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openTest(t, path)
	rng := rand.New(rand.NewPCG(3, 4))
	var files []raid.File
	var at raid.LostCursor
	for i := range 300 {
		if len(files) < 3 || rng.IntN(2) == 0 {
			f, err := c.Finish(bg, newFile(t, c, int64(1+rng.IntN(3))))
			if err != nil && (i <= 130 || !errors.Is(err, raid.ErrTooFewNodes)) {
				t.Fatal(err)
			}
			if err == nil {
				files = append(files, f)
			}
		} else if err := tryChange(c, rng, files[rng.IntN(len(files))]); err != nil {
			must(t, err)
		}
		switch i {
		case 100:
			must(t, c.RemoveNode(bg, "n1", nil, nil))
		case 130:
			must(t, c.RemoveNode(bg, "n2", nil, nil))
		case 110:
			must(t, c.Close())
			c, at = openTest(t, path), raid.LostCursor{}
		}
		var err error
		at, _, err = c.MarkLost(bg, at, 7)
		must(t, err)
	}
	loseAll(t, c, 7)
	for _, id := range []string{"n1", "n2"} {
		if n := sqlInt(t, c, goodOn+" AND c.file IN (SELECT id FROM upload WHERE state IN (0, 1))", id); n != 0 {
			t.Errorf("%d good chunks are on node %s", n, id)
		}
	}
	checkTotals(t, c)
	checkMembers(t, c)
}

// tryChange deletes a file, or puts a copy elsewhere, if there is one to.
func tryChange(c *Catalog, rng *rand.Rand, f raid.File) error {
	if rng.IntN(3) == 0 {
		if err := c.Delete(bg, f.ID); err != nil && !isGone(err) {
			return err
		}
		_, err := c.Sweep(bg, 5)
		return err
	}
	parts, err := c.Parts(bg, f.ID, 0, 1)
	if isGone(err) {
		return nil
	} else if err != nil {
		return err
	}
	old := parts[0].Copies[0]
	on := nodeN(rng.IntN(4))
	n, err := c.NextAttempt(bg, f.ID, 0, 1, on)
	if isGone(err) {
		return nil
	} else if err != nil {
		return err
	}
	to := raid.Copy{Index: old.Index, Attempt: n, Node: on}
	old.Bad = true // so that it may double another
	if err := c.ReplaceCopy(bg, f.ID, 0, 1, old, to); err != nil && !c.Gone(to.Node) {
		return err
	}
	return nil
}

// Who removes a node is told in the same transaction what is to become of its copies: a
// person may have changed that just now.
func TestWhoRemovesANodeKnowsWhetherItDrains(t *testing.T) {
	c := openTest(t, "")
	store(t, c, 1)
	want := raid.Relocation{Draining: true, Drained: true, Replaced: true, Successor: "n9"}
	must(t, c.Relocate(bg, "n1", func(raid.Relocation) (raid.Relocation, error) { return want, nil }))
	if l := restsOn(t, c, "n1", "n2"); l.Relocation != want {
		t.Errorf("%+v", l)
	}
}

// restsOn tells what rests on a node when these others are there.
func restsOn(t testing.TB, c *Catalog, id raid.NodeID, there ...raid.NodeID) (out raid.Leaving) {
	t.Helper()
	stays := errors.New("it stays")
	wants(t, c.RemoveNode(bg, id, func(n raid.NodeID) bool { return slices.Contains(there, n) },
		func(l raid.Leaving) error { out = l; return stays }), stays)
	return out
}

func TestWhatRestsOnANodeCountsOnlyCopiesThatAreThere(t *testing.T) {
	c := openTest(t, "")
	rests := func(why string, id raid.NodeID, files, lost int64, there ...raid.NodeID) {
		t.Helper()
		if l := restsOn(t, c, id, there...); l != (raid.Leaving{Files: files, Lost: lost}) {
			t.Errorf("%s: %+v, want %d files, %d lost", why, l, files, lost)
		}
	}
	wants(t, c.RemoveNode(bg, "nobody", nil, func(raid.Leaving) error { return nil }), raid.ErrNotFound)
	f := store(t, c, 1) // part 1 on n1 and n2, part 2 on n2 and n3
	store(t, c, 1)
	rests("all are there", "n2", 2, 0, "n1", "n2", "n3")
	rests("the other is away", "n1", 2, 2, "n1", "n3")
	rests("one of its others is away", "n2", 2, 2, "n2", "n3")
	rests("who is away needs none", "n3", 2, 0, "n2")
	must(t, c.MarkBad(bg, f.ID, 0, 1, 1, 1))
	rests("a copy was bad", "n1", 1, 0, "n2", "n3")
	rests("the other copy is bad", "n2", 2, 1, "n1", "n3")
	must(t, c.RemoveNode(bg, "n3", nil, nil)) // nothing is marked yet
	rests("the other was removed", "n2", 2, 2, "n1", "n3")
	must(t, c.Delete(bg, f.ID))
	rests("a file is gone", "n2", 1, 1, "n1", "n3")

	twins := newFile(t, c, 1)
	for i := range twins.Parts {
		twins.Parts[i].Copies[0].Node, twins.Parts[i].Copies[1].Node = "twin", "twin"
	}
	_, err := c.Finish(bg, twins)
	must(t, err)
	rests("both copies on one node", "twin", 1, 1, "n1")
	onLab := newFile(t, c, 1)
	onLab.Parts[0].Copies[1].Node = ""
	_, err = c.Finish(bg, onLab)
	must(t, err)
	rests("the other is on a lab node", "n1", 2, 1, "n2", "twin")
}

// What was stored in the very transaction that removes the node counts too.
func TestAFileStoredAlongWithARemovalIsCounted(t *testing.T) {
	c := openTest(t, "")
	store(t, c, 1)
	fin := newFile(t, c, 1)
	var l raid.Leaving
	must(t, c.write(bg, &op{name: "test", rows: 2, run: func(t *tx) (err error) {
		if err := c.finish(t, &fin, 0); err != nil {
			return err
		}
		l, err = t.leaving(t.findNode("n1"), func(raid.NodeID) bool { return false })
		return err
	}}))
	if l != (raid.Leaving{Files: 2, Lost: 2}) {
		t.Errorf("%+v", l)
	}
}

// Nobody is told that a file is stored whose copies went meanwhile.
func TestAFileWithoutAGoodCopyIsNotFinished(t *testing.T) {
	for _, begun := range []bool{false, true} {
		c := openTest(t, "")
		store(t, c, 1)
		fin := newFile(t, c, 1)
		if begun {
			fin = begin(t, c, 1)
			must(t, c.Append(bg, fin.File.ID, fin.Parts))
			fin.Parts = nil
		}
		must(t, c.RemoveNode(bg, "n1", nil, nil))
		must(t, c.RemoveNode(bg, "n2", nil, nil))
		loseAll(t, c, 100)
		_, err := c.Finish(bg, fin)
		wants(t, err, raid.ErrTooFewNodes)
		checkTotals(t, c)
	}
}
