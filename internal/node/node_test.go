package node_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/node"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

func TestChunksOutliveARestart(t *testing.T) {
	c := startController(t, testArray)
	n := newNode(t, c)
	stop := n.start()
	s := c.session()
	const block = raid.BlockSize
	small, large, empty := newChunk(t, 2000), newChunk(t, 5*block+7), newChunk(t, 0)
	for _, ch := range []chunk{small, large, empty} {
		must(t, ch.store(s))
		must(t, ch.getAll(s))
		must(t, s.Verify(t.Context(), ch.name(), ch.meta.Length, ch.crc()))
	}
	wantErr(t, small.store(s), raid.ErrInvalid)
	first := s.Node()
	stop()

	n.start()
	s = c.session()
	if s.Node() != first {
		t.Errorf("node %s came back as %s", first, s.Node())
	}
	want := []raid.ChunkName{small.name(), large.name(), empty.name()}
	slices.Sort(want)
	if names, more, err := list(t, s, "", 2); err != nil || !more || !slices.Equal(names, want[:2]) {
		t.Errorf("first page: %v %v %v", names, more, err)
	}
	if names, more, err := list(t, s, want[1], 2); err != nil || more || !slices.Equal(names, want[2:]) {
		t.Errorf("second page: %v %v %v", names, more, err)
	}
	for _, ch := range []chunk{small, large, empty} {
		must(t, ch.getAll(s))
	}
	must(t, large.get(s, 2*block, 2*block))
	must(t, large.get(s, 4*block, block+7))
	must(t, large.remove(s))
	wantErr(t, large.getAll(s), raid.ErrNotFound)
	wantErr(t, large.remove(s), raid.ErrNotFound)
	must(t, small.getAll(s))
}

func TestHeartbeatsSayHowTheNodeIs(t *testing.T) {
	c := startController(t, testArray)
	n := newNode(t, c)
	stop := n.start()
	s := c.session()
	for range 3 {
		must(t, newChunk(t, 1000).store(s))
	}
	c.commit.Store(140)
	kit.Eventually(t, "three chunks and the commit number are reported", func() bool {
		b := c.lastBeat()
		return b.Chunks == 3 && b.HighestCommit == 140 && b.Scanned
	})
	if b := c.lastBeat(); b.Zone != "attic" || b.Version != "1.2.3" || b.TotalBytes <= 0 || b.FreeBytes <= 0 || b.FreeBytes > b.TotalBytes || b.ReadOnly {
		t.Errorf("heartbeat %+v", b)
	}
	stop()

	// The number is there with the first heartbeat of the next session.
	c.commit.Store(0)
	n.start()
	if b := c.session().Heartbeat(); b.HighestCommit != 140 || b.FoundCommit != 140 {
		t.Errorf("commit numbers of the first heartbeat: %+v", b)
	}
}

func TestNodeIsReadyWithoutAController(t *testing.T) {
	c := startController(t, testArray)
	n := newNode(t, c)
	n.cfg.Controller.StorePort, n.cfg.Controller.ResponsePort, n.cfg.Controller.RequestPort = 1, 1, 1 // nobody listens
	n.start()
	select {
	case <-n.ready:
	case <-time.After(20 * time.Second):
		t.Fatal("not ready")
	}
	kit.Eventually(t, "the status says what is wrong", func() bool { return n.status.Count("Reconnecting to 127.0.0.1") > 0 })
}

func TestNodeServesOneArrayOnly(t *testing.T) {
	c := startController(t, testArray)
	n := newNode(t, c)
	stop := n.start()
	c.session()
	stop()

	other := startController(t, "0000000000000000000002")
	n.cfg.Controller.StorePort, n.cfg.Controller.ResponsePort, n.cfg.Controller.RequestPort = other.ports[0], other.ports[1], other.ports[2]
	n.start()
	kit.Eventually(t, "the status says that the array is another", func() bool {
		return n.status.Count(string(testArray)) > 0 && n.status.Count("array") > 0
	})
	select {
	case <-other.up:
		t.Error("the node serves another array")
	default:
	}
}

func TestMissingDiskEndsTheNodeWithWords(t *testing.T) {
	c := startController(t, testArray)
	n := newNode(t, c)
	stop := n.start()
	first := c.session().Node()
	stop()
	must(t, os.RemoveAll(n.cfg.ChunkDir))

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	wantErr(t, node.Run(ctx, n.cfg), chunkstore.ErrNotMounted)

	n.cfg.NewDisk = true
	n.start()
	if second := c.session().Node(); second == first {
		t.Error("an empty disk has the old one's node id")
	}
}

func TestTwoNodesDoNotShareADisk(t *testing.T) {
	c := startController(t, testArray)
	n := newNode(t, c)
	n.start()
	c.session()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	wantErr(t, node.Run(ctx, n.cfg), chunkstore.ErrInUse)
}

func TestCorruptChunkIsNeverServed(t *testing.T) {
	c := startController(t, testArray)
	n := newNode(t, c)
	n.start()
	s := c.session()
	rotten, sound := newChunk(t, 200_000), newChunk(t, 1000)
	must(t, rotten.store(s))
	must(t, sound.store(s))
	path := filepath.Join(n.cfg.ChunkDir, string(rotten.name()[:2]), string(rotten.name()))
	b, err := os.ReadFile(path)
	must(t, err)
	b[150_000] ^= 1
	must(t, os.WriteFile(path, b, 0o640))

	for range 3 {
		wantErr(t, rotten.getAll(s), raid.ErrCorrupt)
		wantErr(t, s.Verify(t.Context(), rotten.name(), rotten.meta.Length, rotten.crc()), raid.ErrCorrupt)
	}
	must(t, sound.getAll(s))
	if got := n.log.Count("Chunk is corrupt"); got != 1 {
		t.Errorf("the corrupt chunk was logged %d times, want once", got)
	}
	kit.Eventually(t, "the status tells of it", func() bool { return n.status.Count("1 corrupt") > 0 })
	must(t, rotten.remove(s))
}
