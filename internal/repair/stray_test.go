package repair

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// An old copy of a node's folder is put back after the node was cleaned. It is looked
// through anew once something was found there that the catalog does not know; once in a
// session, so that a node which makes things up causes no endless search.
func TestAFolderThatWasPutBackIsCleanedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCleaner(t, wire.Heartbeat{Scanned: true, HighestCommit: lastKnown})
		defer c.stop()
		close(c.started)
		time.Sleep(time.Minute)
		p := c.members.Natives()[0]
		if !c.repair.Cleaned(p) {
			t.Fatal("it is not cleaned")
		}
		back := func() raid.ChunkKey {
			k := newKey(t)
			c.disk.mu.Lock()
			defer c.disk.mu.Unlock()
			c.disk.chunks[k.Name()] = true
			return k
		}
		stray := func(k raid.ChunkKey) {
			t.Helper()
			if err := c.repair.Stray(t.Context(), p, []raid.ChunkKey{k}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		first, listed := back(), c.disk.pages()
		stray(c.onRecord) // of an upload that the catalog knows
		if !c.disk.has(first) || c.disk.pages() != listed {
			t.Error("it was looked through for a chunk that the catalog knows")
		}
		stray(first)
		if c.disk.has(first) || len(c.disk.trash) != 2 || !c.repair.Cleaned(p) {
			t.Errorf("the chunk is there: %v; in the trash are %d", c.disk.has(first), len(c.disk.trash))
		}
		second := back()
		listed = c.disk.pages()
		stray(second)
		if !c.disk.has(second) || c.disk.pages() != listed {
			t.Error("it was looked through twice in a session")
		}
	})
}
