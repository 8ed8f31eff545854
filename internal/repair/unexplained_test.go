package repair

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// known is a catalog that explains some chunks, and an upload that is under way.
type known struct {
	maker
	mu       sync.Mutex
	chunks   []raid.ChunkKey
	underWay raid.UploadID
}

func (k *known) Unexplained(_ context.Context, _ raid.NodeID, keys []raid.ChunkKey) ([]raid.ChunkKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(keys), func(c raid.ChunkKey) bool { return slices.Contains(k.chunks, c) }), nil
}

func (k *known) UnderWay(u raid.UploadID) bool { return u == k.underWay }

func (k *known) explain(c raid.ChunkKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.chunks = append(k.chunks, c)
}

// A chunk of a file that no row names is no leftover, and nobody dares to remove it. It
// is counted, once all leftovers are gone.
func TestWhatNothingExplainsIsCountedAndStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCleaner(t, sound)
		defer c.stop()
		copied, stray, sending := newKey(t), newKey(t), newKey(t)
		k := &known{chunks: []raid.ChunkKey{copied}, underWay: sending.Upload}
		c.repair.cfg.Record, c.repair.cfg.Maker = k, k
		for _, key := range []raid.ChunkKey{copied, stray, sending} {
			c.disk.chunks[key.Name()] = true
			c.queue.known[key.Upload] = true
		}
		if _, known := c.repair.Unexplained(); known {
			t.Error("a count is known before the node was compared")
		}
		close(c.started)
		time.Sleep(5 * time.Second)
		if n, known := c.repair.Unexplained(); n != 1 || !known {
			t.Errorf("%d chunks are unexplained (known: %v), want the one", n, known)
		}
		if !c.disk.has(stray) || c.disk.has(c.leftover) {
			t.Errorf("the stray is there: %v, the leftover: %v", c.disk.has(stray), c.disk.has(c.leftover))
		}
		k.explain(stray)
		time.Sleep(3 * time.Minute)
		if n, known := c.repair.Unexplained(); n != 0 || !known {
			t.Errorf("%d chunks are unexplained (known: %v), want none any more", n, known)
		}
		pages := c.disk.pages()
		time.Sleep(23 * time.Hour)
		if n := c.disk.pages(); n != pages {
			t.Errorf("an idle node was asked for %d more pages", n-pages)
		}
	})
}

// Names without end are counted up to a point, and rarely.
func TestAnEndlessListingIsNotCountedWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		says := sound
		says.Chunks, says.TotalBytes = 1<<60, 1<<60
		c := newCleaner(t, says)
		defer c.stop()
		k := &known{}
		c.repair.cfg.Record, c.repair.cfg.Maker = k, k
		u := newKey(t).Upload
		c.queue.known[u] = true
		c.disk.lie = endless(u)
		c.members.SetCleanedRun(c.node, thisRun)
		close(c.started)
		time.Sleep(12 * time.Hour)
		if n := c.disk.pages(); n == 0 || n > 60 {
			t.Errorf("%d pages were asked for", n)
		}
		if n, known := c.repair.Unexplained(); n < strayedAtMost || !known {
			t.Errorf("%d chunks are unexplained (known: %v)", n, known)
		}
	})
}

// A node that lists nonsense at once, each time that it is asked, keeps none of the
// others from being counted, however slow those are.
func TestANodeThatListsNonsenseEndsNoOthersCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, 3, &whole{}, newHands())
		defer c.stop()
		time.Sleep(10 * time.Second)
		for i, n := range c.nodes {
			c.members.SetCleanedRun(n, thisRun)
			c.disks[i].mu.Lock()
			if i == 0 {
				c.disks[i].lie = func(wire.ListRequest) ([]raid.ChunkName, bool) { return []raid.ChunkName{"nonsense"}, true }
			} else {
				c.disks[i].onList = func(wire.ListRequest) { time.Sleep(10 * time.Second) }
			}
			c.disks[i].mu.Unlock()
		}
		cfg := c.repair.cfg
		cfg.Record = &known{}
		r := New(cfg) // that does nothing else
		for range 3 {
			_, _ = r.countPass(t.Context())
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for i, n := range c.nodes[1:] {
			if _, counted := r.counts[n]; !counted {
				t.Errorf("node %d was not counted", i+1)
			}
		}
	})
}

// A node whose listing can't be read to its end is not read again and again.
func TestANodeThatCannotBeCountedRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCleaner(t, sound)
		defer c.stop()
		k := &known{}
		c.repair.cfg.Record, c.repair.cfg.Maker = k, k
		c.disk.onList = func(wire.ListRequest) { time.Sleep(2 * listTimeout) }
		c.members.SetCleanedRun(c.node, thisRun)
		close(c.started)
		time.Sleep(24 * time.Hour)
		if n := c.disk.pages(); n == 0 || n > 30 {
			t.Errorf("%d pages were asked for", n)
		}
		if _, known := c.repair.Unexplained(); known {
			t.Error("a node that can't be counted has a count")
		}
		time.Sleep(2 * listTimeout) // the node's last answer
	})
}
