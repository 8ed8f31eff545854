package node_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

// rot changes the first byte of a chunk on a node's disk.
func (n *testNode) rot(name raid.ChunkName) {
	n.t.Helper()
	f, err := os.OpenFile(filepath.Join(n.cfg.ChunkDir, string(name[:2]), string(name)), os.O_RDWR, 0)
	must(n.t, err)
	defer f.Close()
	b := make([]byte, 1)
	_, err = f.ReadAt(b, 0)
	must(n.t, err)
	b[0] ^= 1
	_, err = f.WriteAt(b, 0)
	must(n.t, err)
}

func TestAControllerStartsTheScrubAndIsToldOfRot(t *testing.T) {
	c := startController(t, testArray)
	c.scrub.Store(&raid.ScrubOrder{Every: 7 * 24 * time.Hour, Keep: time.Hour})
	n := newNode(t, c)
	stop := n.start()
	s := c.session()
	var chunks []chunk
	var names []raid.ChunkName
	for range 5 {
		ch := newChunk(t, 100_000)
		must(t, ch.store(s))
		chunks, names = append(chunks, ch), append(names, ch.name())
	}
	kit.Eventually(t, "the node says that it waits", func() bool { return c.lastBeat().Scrub.State == raid.ScrubWaiting })
	n.rot(names[1])
	n.rot(names[3])
	must(t, s.StartScrub(t.Context()))
	kit.Eventually(t, "a pass ended", func() bool { return c.lastBeat().Scrub.Last.Number == 1 })
	if b := c.lastBeat(); b.Bad != 2 || b.Scrub.Last.Bad != 2 || b.Scrub.Last.Chunks != 5 || b.Scrub.Read < 300_000 || b.Scrub.Next < 24*time.Hour {
		t.Errorf("the heartbeat says %d bad, %+v", b.Bad, b.Scrub)
	}
	want := []raid.ChunkName{names[1], names[3]}
	slices.Sort(want)
	got, more, err := s.Bad(t.Context(), "")
	if err != nil || more || !slices.Equal(got, want) {
		t.Errorf("bad are %v, more %v, %v", got, more, err)
	}
	if got, _, err = s.Bad(t.Context(), want[0]); err != nil || !slices.Equal(got, want[1:]) {
		t.Errorf("bad after the first are %v, %v", got, err)
	}

	// One that is deleted stays for a while, where a person finds it.
	must(t, chunks[1].remove(s))
	must(t, chunks[0].remove(s))
	if in, err := filepath.Glob(filepath.Join(n.cfg.ChunkDir, "trash", "*", "*")); err != nil || len(in) != 1 || filepath.Base(in[0]) != string(names[1]) {
		t.Errorf("in the trash are %v, %v", in, err)
	}
	kit.Eventually(t, "one bad chunk is left", func() bool { return c.lastBeat().Bad == 1 })

	// A pause is told while the session lasts, and known after a restart without it.
	c.scrub.Store(&raid.ScrubOrder{Every: 7 * 24 * time.Hour, Paused: true})
	kit.Eventually(t, "it is paused", func() bool { return c.lastBeat().Scrub.State == raid.ScrubPaused })
	stop()
	c.scrub.Store(nil)
	n.start()
	s = c.session()
	kit.Eventually(t, "it is paused after a restart, and knows of its pass", func() bool {
		p := c.lastBeat().Scrub // the first ones may come before it has read that
		return p.State == raid.ScrubPaused && p.Last.Number == 1
	})
	// Its trailers say nothing of the rot in a payload; the next pass does.
	if b := s.Heartbeat().Bad; b != 0 {
		t.Errorf("%d bad chunks after a restart", b)
	}
}
