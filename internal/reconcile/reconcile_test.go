package reconcile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// Each thing that can be wrong with a node's chunks is noticed when it comes, and nothing
// is said of those that are right.
func TestWhatANodeLacksOrHasWrongIsMarkedBad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, 2)
		defer s.stop()
		for range 700 {
			s.store(0)
			s.store(1)
		}
		gone, short, other, rotten, deleted, fails := s.store(0), s.store(0), s.store(0), s.store(0), s.store(0), s.store(0)
		s.disks[0].drop(gone)
		s.disks[0].change(short, func(l *raid.Listed) { l.Length = 99 })
		s.disks[0].change(other, func(l *raid.Listed) { l.CRC++ })
		s.disks[0].change(rotten, func(l *raid.Listed) { l.Length, l.CRC, l.Err = 0, 0, raid.ErrCorrupt })
		s.disks[0].drop(deleted)
		s.amend(deleted, func(h *raid.Held) { h.Gone = true })
		s.disks[0].change(fails, func(l *raid.Listed) { l.Length, l.CRC, l.Err = 0, 0, raid.ErrInvalid })
		s.reads = func(k raid.ChunkKey) error {
			if k == fails {
				return raid.ErrInvalid
			}
			return nil
		}
		revived, lost := s.store(0), s.store(0)
		for _, k := range []raid.ChunkKey{revived, lost} {
			s.amend(k, func(h *raid.Held) { h.Bad = true })
		}
		s.disks[0].drop(lost)
		s.begin()
		time.Sleep(10 * time.Second)
		for _, k := range []raid.ChunkKey{gone, short, other, rotten} {
			if !s.isBad(k) {
				t.Errorf("%s is not marked bad", k.Name())
			}
		}
		if n := s.book.bad(); n != 6 { // two were before
			t.Errorf("%d copies are bad, want 6", n)
		}
		if !slices.Equal(s.again, []raid.FileID{s.book.rows[revived.Name()].File}) {
			t.Errorf("to be checked again are %v", s.again)
		}
		if s.checked != 5 || s.woken == 0 || s.book.marks != 1 {
			t.Errorf("%d copies were read, %d transactions, repair was woken %d times", s.checked, s.book.marks, s.woken)
		}
		if p := s.rec.Reconciled(s.ids[0]); p.Missing != 1 || p.Wrong != 3 || p.Done.IsZero() || p.Running {
			t.Errorf("progress %+v", p)
		}
		if p := s.rec.Reconciled(s.ids[1]); p.Missing != 0 || p.Wrong != 0 || p.Done.IsZero() {
			t.Errorf("progress of the sound node %+v", p)
		}
		told := s.told()
		if len(told) != 1 || told[0].Kind != raid.ChunkBad || told[0].Node != s.ids[0] || !strings.Contains(told[0].Text, "holiday.jpg") || !strings.Contains(told[0].Text, "1 other files") {
			t.Errorf("told: %+v", told)
		}
		if n, known := s.rec.Unexplained(); n != 0 || !known {
			t.Errorf("%d chunks are unexplained (%v)", n, known)
		}
	})
}

// A node that is as it should be costs its pages and one walk, then nothing until it is compared again.
func TestASoundNodeIsComparedNowAndThenAndNothingIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, 3)
		defer s.stop()
		if s.rec.interval != 7*24*time.Hour {
			t.Errorf("nodes are compared every %v", s.rec.interval)
		}
		s.rec.interval = 4 * time.Hour // a week of heartbeats takes a minute
		for i := range 1000 {
			s.store(i % 3)
		}
		s.begin()
		time.Sleep(10 * time.Minute)
		pages, walks := s.disks[0].pages(), s.book.walked()
		if pages != 2 || walks < 1 || walks > 3 {
			t.Errorf("%d pages and %d walks", pages, walks)
		}
		time.Sleep(3*time.Hour + 40*time.Minute)
		if n := s.disks[0].pages(); n != pages {
			t.Errorf("an idle node was asked for %d more pages", n-pages)
		}
		gone := s.store(0)
		s.disks[0].drop(gone)
		time.Sleep(30 * time.Minute)
		if n := s.disks[0].pages(); n == pages || !s.isBad(gone) {
			t.Errorf("after 4 h %d more pages; what went missing meanwhile is bad: %v", n-pages, s.isBad(gone))
		}
		if s.book.marks != 1 || s.book.bad() != 1 {
			t.Errorf("%d transactions, %d copies bad", s.book.marks, s.book.bad())
		}
	})
}

// What comes and goes while both sides are read is no difference in the end.
func TestWhatChangesMeanwhileIsNotCalledBad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, 1)
		defer s.stop()
		var kept []raid.ChunkKey
		for range 600 {
			kept = append(kept, s.store(0))
		}
		n := 0
		s.disks[0].onList = func() { // between any two readings
			for range 20 {
				s.store(0)
				s.book.mu.Lock()
				delete(s.book.rows, kept[n].Name())
				s.book.mu.Unlock()
				s.disks[0].drop(kept[n])
				n = min(n+1, len(kept)-1)
			}
		}
		s.begin()
		time.Sleep(time.Hour)
		if s.book.bad() > 0 || len(s.told()) > 0 {
			t.Errorf("%d copies are bad, told %v", s.book.bad(), s.told())
		}
		if n, known := s.rec.Unexplained(); n != 0 || !known {
			t.Errorf("%d chunks are unexplained (%v)", n, known)
		}
	})
}

// A node of an earlier version lists names: what is missing is found, and no more.
func TestANodeThatDescribesNothingIsComparedByNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, 0)
		defer s.stop()
		s.ids, s.disks = []raid.NodeID{raid.NodeID(newID(t))}, []*disk{{old: true, chunks: map[raid.ChunkName]raid.Listed{}, beat: wire.Heartbeat{Scanned: true, Chunks: 1000, TotalBytes: 1 << 40}}}
		for range 500 {
			s.store(0)
		}
		gone, revived := s.store(0), s.store(0)
		s.disks[0].drop(gone)
		s.amend(revived, func(h *raid.Held) { h.Bad = true })
		s.connect(0)
		s.begin()
		time.Sleep(10 * time.Second)
		if !s.isBad(gone) || s.book.bad() != 2 || len(s.again) != 1 || s.checked != 1 {
			t.Errorf("the missing one is bad: %v; %d bad, %d to be checked again, %d read", s.isBad(gone), s.book.bad(), len(s.again), s.checked)
		}
	})
}

func TestWhatNothingExplainsIsCountedAndStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, 1)
		defer s.stop()
		stray, sending, removal := s.disks[0].put(newKey(t)), s.disks[0].put(newKey(t)), s.disks[0].put(newKey(t))
		s.store(0)
		s.underWay = sending.Upload
		s.book.explained[removal.Name()] = true
		if _, known := s.rec.Unexplained(); known {
			t.Error("a count is known before the node was compared")
		}
		s.begin()
		time.Sleep(10 * time.Second)
		if n, known := s.rec.Unexplained(); n != 1 || !known {
			t.Errorf("%d chunks are unexplained (known: %v), want the one", n, known)
		}
		if !slices.Equal(s.strays, []raid.ChunkKey{stray}) {
			t.Errorf("repair was told of %v", s.strays)
		}
		s.book.mu.Lock()
		s.book.explained[stray.Name()] = true
		s.book.mu.Unlock()
		walks := s.book.walked()
		time.Sleep(5 * time.Minute)
		if n, known := s.rec.Unexplained(); n != 0 || !known {
			t.Errorf("%d chunks are unexplained (known: %v), want none any more", n, known)
		}
		if n := s.book.walked(); n != walks {
			t.Errorf("the catalog was walked through %d more times to look at one chunk", n-walks)
		}
	})
}

// endless are ever higher names of chunks that never were.
func endless(u raid.UploadID) func(wire.ListRequest) ([]raid.Listed, bool) {
	return func(req wire.ListRequest) (out []raid.Listed, more bool) {
		k := raid.ChunkKey{Upload: u, Part: 1, Attempt: 1}
		if last, err := raid.ParseChunkName(req.After); err == nil && last.Upload == u {
			k.Stripe = last.Stripe + 1
		}
		for range req.Limit {
			out = append(out, chunkOf(k).Listed)
			k.Stripe++
		}
		return out, true
	}
}

// A listing that can't be true is given up until the node connects again, and keeps no
// other node from being compared.
func TestAListingThatCanNotBeTrueCostsItsNodeAlone(t *testing.T) {
	a := raid.ChunkKey{Upload: raid.UploadID{3: 1}, Part: 1, Attempt: 1}
	b := a
	b.Stripe = 1
	for name, lie := range map[string]func(wire.ListRequest) ([]raid.Listed, bool){
		"no end":   endless(raid.UploadID{3: 1}),
		"nonsense": func(wire.ListRequest) ([]raid.Listed, bool) { return []raid.Listed{{Name: "nonsense"}}, true },
		"a name twice": func(wire.ListRequest) ([]raid.Listed, bool) {
			return []raid.Listed{chunkOf(a).Listed, chunkOf(a).Listed}, false
		},
		"names that fall": func(wire.ListRequest) ([]raid.Listed, bool) {
			return []raid.Listed{chunkOf(b).Listed, chunkOf(a).Listed}, false
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t, 3, func(s *scene) { s.disks[0].lie, s.disks[0].beat.Chunks = lie, 10 })
				defer s.stop()
				gone := s.store(1)
				s.disks[1].drop(gone)
				s.begin()
				time.Sleep(time.Hour)
				if s.problem(0) == "" || s.disks[0].pages() > 10 {
					t.Errorf("%d pages were asked for; the node's status says: %q", s.disks[0].pages(), s.problem(0))
				}
				if !s.isBad(gone) || s.rec.Reconciled(s.ids[2]).Done.IsZero() {
					t.Error("the others were not compared")
				}
				if _, known := s.rec.Unexplained(); known {
					t.Error("a node that lies counts as compared")
				}
			})
		})
	}
}

// Made-up names are counted up to a point, and then rarely looked at.
func TestAnEndlessListingIsNotCountedWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, 1, func(s *scene) { s.disks[0].beat.Chunks = 100_000 })
		defer s.stop()
		for range 22_500 {
			s.disks[0].put(newKey(t))
		}
		s.begin()
		time.Sleep(2 * time.Hour)
		if n, known := s.rec.Unexplained(); n < strayedAtMost || n > strayedAtMost+2*doubtsAtOnce || !known {
			t.Errorf("%d chunks are unexplained (%v)", n, known)
		}
		if n := s.disks[0].pages(); n > 2000 {
			t.Errorf("%d pages were asked for", n)
		}
		if len(s.strays) > suspectsAtMost {
			t.Errorf("repair was told of %d", len(s.strays))
		}
	})
}

// A node that lists everything as missing or rotten, and has it, changes nothing.
func TestANodeThatDisownsItsChunksIsNotBelieved(t *testing.T) {
	for name, lie := range map[string]func(wire.ListRequest) ([]raid.Listed, bool){
		"nothing there": func(wire.ListRequest) ([]raid.Listed, bool) { return nil, false },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t, 1)
				defer s.stop()
				for range soundAtMost + 3*doubtsAtOnce {
					s.store(0)
				}
				s.disks[0].lie = lie
				s.begin()
				time.Sleep(2 * time.Hour)
				if s.book.bad() > 0 || s.problem(0) == "" {
					t.Errorf("%d copies are bad; the node's status says %q", s.book.bad(), s.problem(0))
				}
				if s.checked > soundAtMost+3*doubtsAtOnce {
					t.Errorf("%d copies were read", s.checked)
				}
			})
		})
	}
}

// A node that goes in the middle of its listing goes on there when it comes back, and is
// compared as a whole afterwards.
func TestAComparisonGoesOnWhereTheConnectionBrokeOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, 0)
		defer s.stop()
		s.ids = []raid.NodeID{raid.NodeID(newID(t))}
		s.disks = []*disk{{chunks: map[raid.ChunkName]raid.Listed{}, beat: wire.Heartbeat{Scanned: true, Chunks: 10_000, TotalBytes: 1 << 40}}}
		for range 10 * pageLimit {
			s.store(0)
		}
		gone := s.store(0)
		s.disks[0].drop(gone)
		var hang atomic.Bool
		over := make(chan struct{})
		s.disks[0].onList = func() {
			time.Sleep(time.Second)
			if s.disks[0].pages() == 6 && hang.CompareAndSwap(false, true) {
				for _, p := range s.members.Natives() {
					s.cut(p)
				}
				<-over
			}
		}
		s.connect(0)
		s.begin()
		time.Sleep(30 * time.Second)
		if !s.isBad(gone) {
			t.Error("what is missing was not found")
		}
		if n := s.disks[0].pages(); n > 6+6+2 {
			t.Errorf("%d pages were asked for: it began anew", n)
		}
		close(over)
		soon := s.store(0)
		s.disks[0].drop(soon)
		time.Sleep(time.Hour)
		if n := s.disks[0].pages(); !s.isBad(soon) || n > 6+6+2+11+2 {
			t.Errorf("after %d pages what was missing in the earlier part is bad: %v", n, s.isBad(soon))
		}
	})
}

// An error of the catalog or the node at each call postpones the comparison, and loses
// nothing.
func TestEachErrorPostponesTheComparison(t *testing.T) {
	for _, call := range []string{"EachHeld", "HeldOn", "MarkAllBad", "Unexplained", "Check"} {
		t.Run(call, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t, 2)
				defer s.stop()
				var left atomic.Int64
				left.Store(3)
				fail := func(name string) error {
					if name == call && left.Add(-1) >= 0 {
						return fmt.Errorf("%s: %w", name, raid.ErrBusy)
					}
					return nil
				}
				s.book.fails = fail
				s.reads = func(raid.ChunkKey) error { return fail("Check") }
				var gone []raid.ChunkKey
				for i := range 2 {
					for range 300 {
						s.store(i)
					}
					gone = append(gone, s.store(i))
					s.disks[i].drop(gone[i])
					s.disks[i].put(newKey(t))
				}
				s.begin()
				time.Sleep(10 * time.Minute)
				for i := range 2 {
					if !s.isBad(gone[i]) || s.rec.Reconciled(s.ids[i]).Done.IsZero() {
						t.Errorf("node %d: what is missing is bad: %v, %+v", i, s.isBad(gone[i]), s.rec.Reconciled(s.ids[i]))
					}
				}
				if n, known := s.rec.Unexplained(); n != 2 || !known {
					t.Errorf("%d chunks are unexplained (%v)", n, known)
				}
				if n := len(s.told()); n != 2 {
					t.Errorf("%d events, want one of each node", n)
				}
				if left.Load() > 0 {
					t.Errorf("%s failed only %d times", call, 3-left.Load())
				}
			})
		})
	}
}

func TestABrokenCatalogEndsIt(t *testing.T) {
	for _, call := range []string{"EachHeld", "MarkAllBad"} {
		t.Run(call, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t, 1)
				defer s.stop()
				s.book.fails = func(name string) error {
					if name == call {
						return raid.ErrCatalogBroken
					}
					return nil
				}
				s.disks[0].drop(s.store(0))
				ended := make(chan error, 1)
				go func() { ended <- s.rec.Run(s.ctx) }()
				select {
				case err := <-ended:
					if !errors.Is(err, raid.ErrCatalogBroken) {
						t.Errorf("ended with %v", err)
					}
				case <-time.After(time.Hour):
					t.Error("it did not end")
				}
			})
		})
	}
}

// Until a node was cleaned, and has read its trailers, it is not compared.
func TestANodeIsComparedOnceItWasCleaned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, 1)
		defer s.stop()
		gone := s.store(0)
		s.disks[0].drop(gone)
		s.dirty = true
		s.begin()
		time.Sleep(time.Hour)
		if s.disks[0].pages() > 0 || s.isBad(gone) {
			t.Error("it was compared before")
		}
		s.mu.Lock()
		s.dirty = false
		s.mu.Unlock()
		time.Sleep(10 * time.Second)
		if !s.isBad(gone) {
			t.Error("it was not compared afterwards")
		}
	})
}

// A node that restarts all the time is not listed all the time.
func TestANodeThatRestartsAllTheTimeRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, 0)
		defer s.stop()
		s.ids = []raid.NodeID{raid.NodeID(newID(t))}
		s.disks = []*disk{{chunks: map[raid.ChunkName]raid.Listed{}, beat: wire.Heartbeat{Scanned: true, Chunks: 10_000, TotalBytes: 1 << 40}}}
		for range 10 * pageLimit {
			s.store(0)
		}
		s.disks[0].onList = func() { time.Sleep(time.Second) }
		s.begin()
		for range 60 {
			cut := s.connect(0)
			time.Sleep(50 * time.Second)
			cut()
			time.Sleep(10 * time.Second)
		}
		// In an hour; each takes some 14 s, and rests for 20 times that.
		if n := s.disks[0].pages(); n < 20 || n > 300 {
			t.Errorf("%d pages were asked for", n)
		}
	})
}

// Nodes that come under ever new names are forgotten, and never those that are compared just
// now: they would be so twice.
func TestNodesThatAreComparedAreNotForgottenForOthersThatCameAndWent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, 2)
		defer s.stop()
		s.begin()
		time.Sleep(10 * time.Second)
		s.rec.mu.Lock()
		there := maps.Clone(s.rec.nodes)
		for i := range nodesKept {
			n := &node{ended: make(chan struct{})}
			close(n.ended)
			s.rec.nodes[raid.NodeID(fmt.Sprint("gone ", i))] = n
		}
		s.rec.mu.Unlock()
		s.rec.follow(s.ctx)
		s.rec.mu.Lock()
		defer s.rec.mu.Unlock()
		if len(there) != 2 || !maps.Equal(s.rec.nodes, there) {
			t.Errorf("of %d nodes and %d that are gone %d are kept, and not the same", len(there), nodesKept, len(s.rec.nodes))
		}
	})
}
