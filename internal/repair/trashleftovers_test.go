package repair

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// sound is what a node with few chunks says of itself.
var sound = wire.Heartbeat{Scanned: true, HighestCommit: lastKnown, Chunks: 10, TotalBytes: 1 << 40}

// A chunk of an upload that anything in the catalog knows is none that was left over,
// whatever one index says.
func TestALeftoverThatLeftATraceInTheCatalogStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCleaner(t, sound)
		defer c.stop()
		last := c.leftover
		last.Stripe, last.Part = 3, 2
		c.disk.chunks[last.Name()], c.disk.file[last.Name()] = true, 42
		other := newKey(t)
		c.disk.chunks[other.Name()] = true
		c.queue.traced[c.leftover.Upload] = "it names file 42, which is another upload"
		close(c.started)
		time.Sleep(time.Hour)
		if !c.disk.has(c.leftover) || !c.disk.has(last) {
			t.Error("a chunk that contradicts the catalog went")
		}
		if c.disk.has(other) || c.disk.has(c.onRecord) {
			t.Error("what nothing speaks for was kept")
		}
		if ids := c.queue.claims[c.leftover.Upload]; !slices.Equal(ids, []raid.FileID{42}) {
			t.Errorf("the catalog was asked for files %v, the trailer names 42", ids)
		}
		if run := c.members.CleanedRun(c.node); run != 0 || !strings.Contains(c.problem(), "file 42") {
			t.Errorf("the node counts as cleaned up to run %d, its status says: %q", run, c.problem())
		}
		if n := c.disk.pages(); n > 2 {
			t.Errorf("%d pages were asked for in an hour", n)
		}
	})
}

func TestAChunkThatDoesNotSayWhoseItIsStays(t *testing.T) {
	for name, spoil := range map[string]func(c *cleaner){
		"its trailer is rotten":       func(c *cleaner) { c.disk.file[c.leftover.Name()] = -1 },
		"it belongs to another array": func(c *cleaner) { c.repair.cfg.Array = "0123456789abcdefghijKL" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCleaner(t, sound)
				defer c.stop()
				spoil(c)
				close(c.started)
				time.Sleep(time.Hour)
				if !c.disk.has(c.leftover) || c.disk.has(c.onRecord) {
					t.Errorf("the chunk is there: %v, that on record: %v", c.disk.has(c.leftover), c.disk.has(c.onRecord))
				}
				if run := c.members.CleanedRun(c.node); run != 0 {
					t.Errorf("the node counts as cleaned up to run %d", run)
				}
			})
		})
	}
}

// A node of the version before knows no trash: what it holds stays, and a person is told.
func TestANodeWithoutTrashKeepsItsLeftovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCleaner(t, sound, func(l *wire.LinkConfig) { l.Trash = nil })
		defer c.stop()
		close(c.started)
		time.Sleep(time.Hour)
		if !c.disk.has(c.leftover) || c.disk.has(c.onRecord) {
			t.Errorf("the leftover is there: %v, that on record: %v", c.disk.has(c.leftover), c.disk.has(c.onRecord))
		}
		if n := c.disk.pages(); n != 1 || !strings.Contains(c.problem(), "upgraded") {
			t.Errorf("%d pages were asked for, the node's status says: %q", n, c.problem())
		}
	})
}

func TestWithNoTimeToKeepLeftoversGoAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCleaner(t, sound)
		defer c.stop()
		c.repair.cfg.Keep = 0
		close(c.started)
		time.Sleep(time.Minute)
		if c.disk.has(c.leftover) || len(c.disk.trash) > 0 {
			t.Errorf("the leftover is there: %v, in the trash are %v", c.disk.has(c.leftover), c.disk.trash)
		}
	})
}
