package catalog

import (
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// Copies, also bad ones, removals and what is about to be stored explain a chunk; the
// same chunk on another node, and any other, is not explained.
func TestWhatIsOnRecordExplainsAChunk(t *testing.T) {
	c := openTest(t, "")
	f := store(t, c, 1)
	used := firstCopy(t, c, f.ID)
	must(t, c.MarkBad(bg, f.ID, 0, 1, used.Index, used.Attempt))
	key := func(attempt int) raid.ChunkKey { return raid.ChunkKey{Upload: f.Upload, Part: 1, Attempt: attempt} }
	intended := next(t, c, f.ID, 0, 1, 1, used.Node)
	must(t, c.Record(bg, []raid.Removal{{Node: used.Node, Key: key(77)}}))
	left, err := c.Unexplained(bg, used.Node, []raid.ChunkKey{key(used.Attempt), key(intended.Attempt), key(77), key(78), {Upload: stranger(t), Part: 1, Attempt: 1}})
	must(t, err)
	if len(left) != 2 || left[0] != key(78) {
		t.Errorf("unexplained are %v", left)
	}
	left, err = c.Unexplained(bg, "n3", []raid.ChunkKey{key(used.Attempt), key(77)})
	must(t, err)
	if len(left) != 2 {
		t.Errorf("on another node unexplained are %v", left)
	}
}
