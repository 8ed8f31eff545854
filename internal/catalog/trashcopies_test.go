package catalog

import (
	"slices"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// onNode are the parts that PartsOn finds on a node, and as many as CountOn counts there.
func onNode(t *testing.T, c *Catalog, id raid.NodeID) (found []raid.Repair) {
	t.Helper()
	parts, _, more, err := c.PartsOn(bg, []raid.NodeID{id}, raid.PartCursor{}, 1000)
	must(t, err)
	copies, _, _, further, err := c.CountOn(bg, []raid.NodeID{id}, raid.PartCursor{}, 1000)
	must(t, err)
	if more || further || copies != int64(len(parts)) {
		t.Errorf("%d copies are counted on %s, %d parts found; more: %v, %v", copies, id, len(parts), more, further)
	}
	return parts
}

// moveOff puts what PartsOn finds on a node on another.
func moveOff(t *testing.T, c *Catalog, from, to raid.NodeID) {
	t.Helper()
	for _, p := range onNode(t, c, from) {
		i := slices.IndexFunc(p.Part.Copies, func(x raid.Copy) bool { return x.Node == from })
		old := p.Part.Copies[i]
		fresh := next(t, c, p.File, p.Part.Stripe, p.Part.Number, old.Index, to)
		must(t, c.ReplaceCopy(bg, p.File, p.Part.Stripe, p.Part.Number, old, fresh))
	}
}

// What can be put back is moved like files: a node that drains is not empty before, and
// when it is gone, and the other one that held the file, too, nothing is missing.
func TestFilesInTheTrashMoveOffANode(t *testing.T) {
	fewer(t, maxPlaces, maxSets) // files of three stripes are long
	c := openKeeping(t, "", testKeep)
	for _, stripes := range []int64{1, 4} {
		f := store(t, c, stripes)
		must(t, c.Delete(bg, f.ID))
	}
	ids := trashOf(t, c, raid.FileQuery{})
	for _, from := range []raid.NodeID{"n1", "n2"} {
		if r := c.Resting(from); r.Files != 0 || r.Trash == 0 {
			t.Errorf("on %s rest %+v", from, r)
		}
		l := restsOn(t, c, from, "n0", "n3")
		if l.Trash == 0 || l.Files != 0 || l.Lost != 0 || from == "n1" && l.TrashLost == 0 {
			t.Errorf("with %s leave %+v", from, l)
		}
		moveOff(t, c, from, "far"+from)
		if r := c.Resting(from); !r.None() {
			t.Errorf("on %s rest %+v after all has moved", from, r)
		}
		if l := restsOn(t, c, from); l != (raid.Leaving{}) {
			t.Errorf("with %s leave %+v after all has moved", from, l)
		}
		must(t, c.RemoveNode(bg, from, nil, nil))
	}
	loseAll(t, c, 100)
	for _, id := range ids {
		f, err := c.Undelete(bg, id)
		must(t, err)
		if f.Degraded {
			t.Errorf("file %d lacks copies", id)
		}
	}
	checkTotals(t, c)
}

// What goes for good, and uploads under way, are not made again: no part of them is found,
// and none is counted.
func TestWhatIsNotMadeAgainIsNotCounted(t *testing.T) {
	c := openKeeping(t, "", testKeep)
	begin(t, c, 3)
	gone, kept := store(t, c, 2), store(t, c, 2)
	must(t, c.Delete(bg, kept.ID))
	must(t, c.Purge(bg, gone.ID))
	for _, p := range append(onNode(t, c, "n1"), onNode(t, c, "n2")...) {
		if p.File != kept.ID {
			t.Errorf("a part of file %d is found", p.File)
		}
	}
	if len(onNode(t, c, "n1")) == 0 {
		t.Error("of the file in the trash none is found")
	}
	if there := func(raid.NodeID) bool { return false }; !c.MayHave(0, there) {
		t.Error("nothing of the trash may be lost")
	}
}

// Rot that a node finds in what can be put back is told of and repaired.
func TestChunksOfFilesInTheTrashAreKnownByName(t *testing.T) {
	c := openKeeping(t, "", testKeep)
	f := store(t, c, 1)
	used := firstCopy(t, c, f.ID)
	must(t, c.Delete(bg, f.ID))
	key := raid.ChunkKey{Upload: f.Upload, Part: 1, Attempt: used.Attempt}
	if parts, copies, err := c.Named(bg, used.Node, []raid.ChunkKey{key}); err != nil || len(parts) != 1 || copies[0] != used {
		t.Errorf("%v, %v, %v", parts, copies, err)
	}
	if got, err := c.Stored(bg, f.ID); err != nil || got.Filename != f.Filename || got.Upload != f.Upload {
		t.Errorf("%+v, %v", got, err)
	}
	must(t, c.Purge(bg, f.ID))
	_, err := c.Stored(bg, f.ID)
	wants(t, err, raid.ErrNotFound)
}
