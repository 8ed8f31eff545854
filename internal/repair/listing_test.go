package repair

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// endless are names of an upload that never was, ever higher ones.
func endless(upload raid.UploadID) func(wire.ListRequest) ([]raid.ChunkName, bool) {
	return func(req wire.ListRequest) (names []raid.ChunkName, more bool) {
		k := raid.ChunkKey{Upload: upload, Part: 1, Attempt: 1}
		if last, err := raid.ParseChunkName(req.After); err == nil {
			k.Stripe = last.Stripe + 1
		}
		for range req.Limit {
			names = append(names, k.Name())
			k.Stripe++
		}
		return names, true
	}
}

// problem is what is said of the node to people.
func (c *cleaner) problem() string {
	for _, n := range c.members.Nodes() {
		if n.ID == c.node {
			return n.Problem
		}
	}
	return ""
}

// left is how many chunks the disk has.
func (d *disk) left() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.chunks)
}

// A node that makes up names costs some pages now and then, and the catalog nothing.
func TestAnEndlessListingWritesNothingAndEnds(t *testing.T) {
	for name, says := range map[string]wire.Heartbeat{
		"more than it has":          {Scanned: true, Chunks: 2, TotalBytes: 1 << 40},
		"more than it has room for": {Scanned: true, Chunks: 1 << 60, TotalBytes: 1 << 18},
		"as many as it says it has": {Scanned: true, Chunks: 1 << 60, TotalBytes: 1 << 60},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCleaner(t, says)
				defer c.stop()
				c.disk.lie = endless(newKey(t).Upload)
				close(c.started)
				time.Sleep(time.Hour)
				if n := c.disk.pages(); n == 0 || n > 400 {
					t.Errorf("%d pages were asked for in an hour", n)
				}
				if c.queue.recorded > 0 {
					t.Errorf("%d made-up names are in the catalog", c.queue.recorded)
				}
				if c.disk.has(c.onRecord) {
					t.Error("what is on record was not removed from the node")
				}
				if bounded := says.TotalBytes < 1<<60; bounded != (c.problem() != "") || bounded && c.disk.pages() > 6 {
					t.Errorf("%d pages were asked for; the node's status says: %q", c.disk.pages(), c.problem())
				}
			})
		})
	}
}

// A page that can't be true is not believed in part either.
func TestAListingThatCanNotBeTrueIsGivenUp(t *testing.T) {
	later := func(k raid.ChunkKey, n int64) raid.ChunkName { k.Stripe += n; return k.Name() }
	for name, lie := range map[string]func(c *cleaner, after raid.ChunkName) ([]raid.ChunkName, bool){
		"no chunk's name": func(c *cleaner, _ raid.ChunkName) ([]raid.ChunkName, bool) {
			return []raid.ChunkName{c.leftover.Name(), raid.ChunkName(strings.Repeat("z", 40))}, false
		},
		"the same name twice": func(c *cleaner, _ raid.ChunkName) ([]raid.ChunkName, bool) {
			return []raid.ChunkName{c.leftover.Name(), c.leftover.Name()}, false
		},
		"names that fall": func(c *cleaner, _ raid.ChunkName) ([]raid.ChunkName, bool) {
			return []raid.ChunkName{later(c.leftover, 1), c.leftover.Name()}, false
		},
		"a name of this run": func(c *cleaner, _ raid.ChunkName) ([]raid.ChunkName, bool) {
			u := c.leftover.Upload
			u[3] = thisRun
			return []raid.ChunkName{raid.ChunkKey{Upload: u, Part: 1, Attempt: 1}.Name()}, false
		},
		"the first page again": func(c *cleaner, after raid.ChunkName) ([]raid.ChunkName, bool) {
			if after == "" {
				return []raid.ChunkName{c.onRecord.Name()}, true
			}
			return []raid.ChunkName{c.onRecord.Name(), later(c.onRecord, 1)}, true
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCleaner(t, wire.Heartbeat{Scanned: true, Chunks: 2, TotalBytes: 1 << 40})
				defer c.stop()
				c.disk.lie = func(req wire.ListRequest) ([]raid.ChunkName, bool) { return lie(c, req.After) }
				close(c.started)
				time.Sleep(time.Hour)
				if !c.disk.has(c.leftover) {
					t.Error("a chunk was removed on a page that can't be true")
				}
				if c.disk.has(c.onRecord) || c.queue.waiting() > 0 {
					t.Error("what is on record was not removed from the node")
				}
				if c.problem() == "" || c.disk.pages() > 2 {
					t.Errorf("%d pages were asked for; the node's status says: %q", c.disk.pages(), c.problem())
				}
				if run := c.members.CleanedRun(c.node); run != 0 {
					t.Errorf("the node counts as cleaned up to run %d", run)
				}
			})
		})
	}
}

func TestALongListingIsWorkedOffPageByPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const chunks = 5000
		c := newCleaner(t, wire.Heartbeat{Scanned: true, Chunks: chunks, TotalBytes: 1 << 40})
		defer c.stop()
		k := newKey(t)
		for range chunks {
			c.disk.chunks[k.Name()] = true // nobody uses it yet
			k.Stripe++
		}
		close(c.started)
		time.Sleep(time.Minute)
		if n := c.disk.left(); n != 0 || c.problem() != "" {
			t.Errorf("%d leftovers are left; the node's status says: %q", n, c.problem())
		}
		if run := c.members.CleanedRun(c.node); run != thisRun {
			t.Errorf("the node counts as cleaned up to run %d", run)
		}
	})
}
