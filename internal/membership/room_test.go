package membership

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

func TestANodeHasNoMoreRoomThanItShowedAndFilled(t *testing.T) {
	const gb = 1_000_000_000
	for name, c := range map[string]struct {
		accepted, stored    int64
		beat                wire.Heartbeat
		total, free, claims int64
	}{
		"as it joined":                  {64 * gb, 0, wire.Heartbeat{TotalBytes: 64 * gb, FreeBytes: 60 * gb}, 64 * gb, 60 * gb, 0},
		"a smaller disk":                {64 * gb, 0, wire.Heartbeat{TotalBytes: 32 * gb, FreeBytes: 30 * gb}, 32 * gb, 30 * gb, 0},
		"a larger disk":                 {64 * gb, 0, wire.Heartbeat{TotalBytes: 256 * gb, FreeBytes: 250 * gb}, 64 * gb, 64 * gb, 256 * gb},
		"a file system that grew a bit": {64 * gb, 0, wire.Heartbeat{TotalBytes: 64*gb + 1e8, FreeBytes: 60 * gb}, 64 * gb, 60 * gb, 0},
		"10^18 free bytes":              {64 * gb, 0, wire.Heartbeat{TotalBytes: 64 * gb, FreeBytes: 1e18}, 64 * gb, 64 * gb, largestDisk},
		"10^18 in all":                  {64 * gb, 0, wire.Heartbeat{TotalBytes: 1e18, FreeBytes: 1e18}, 64 * gb, 64 * gb, largestDisk},
		"never any fuller":              {64 * gb, 50 * gb, wire.Heartbeat{TotalBytes: 64 * gb, FreeBytes: 60 * gb}, 64 * gb, 14 * gb, 0},
		"filled beyond its disk":        {64 * gb, 70 * gb, wire.Heartbeat{TotalBytes: 64 * gb, FreeBytes: 60 * gb}, 64 * gb, 0, 0},
		"at first, absurdly large":      {0, 0, wire.Heartbeat{TotalBytes: 1e18, FreeBytes: 1<<63 - 1}, largestDisk, largestDisk, 0},
		"no size at all":                {0, 0, wire.Heartbeat{FreeBytes: 5 * gb}, 5 * gb, 5 * gb, 0},
		"nonsense":                      {0, 0, wire.Heartbeat{TotalBytes: -1, FreeBytes: -1}, 0, 0, 0},
	} {
		m := New(config())
		n := m.native["known"]
		n.record.Disk, n.stored = c.accepted, c.stored
		m.apply(n, c.beat)
		total, free := n.room()
		if total != c.total || free != c.free || n.claimed() != c.claims {
			t.Errorf("%s: %d of %d are free and %d claimed; want %d of %d, %d", name, free, total, n.claimed(), c.free, c.total, c.claims)
		}
	}
}

func TestTheFirstSightOfADiskIsKept(t *testing.T) {
	m := New(config())
	n := m.native["known"]
	m.apply(n, wire.Heartbeat{TotalBytes: 64e9})
	if saved, _ := m.takeDirty(); len(saved) != 1 || saved[0].Disk != 64e9 {
		t.Errorf("saved: %+v", saved)
	}
	for range 100 {
		m.apply(n, wire.Heartbeat{TotalBytes: 1e18, FreeBytes: 1e18, Zone: "x"})
		m.apply(n, wire.Heartbeat{TotalBytes: 1e9, FreeBytes: 1e9, Zone: "y"})
	}
	if saved, _ := m.takeDirty(); len(saved) != 0 {
		t.Errorf("what a node says is written: %+v", saved)
	}
}

func TestWhatANodeStoresAndDropsIsCounted(t *testing.T) {
	m := New(config())
	n := m.native["known"]
	m.apply(n, wire.Heartbeat{TotalBytes: 1e9, FreeBytes: 1e9})
	p := &Peer{members: m, id: "known"}
	p.keeps(300 << 20)
	p.drops([]error{nil, raid.ErrNotFound, nil})
	if n.stored != 172<<20 {
		t.Errorf("%d bytes are there at least", n.stored)
	}
	p.drops([]error{nil, nil, nil, nil})
	if n.stored != 0 {
		t.Errorf("%d bytes are there at least", n.stored)
	}
}

func TestANodesOwnZoneProposesAndNoMore(t *testing.T) {
	cfg := config()
	decided := raid.NodeRecord{ID: "known", Zone: "shed"}
	cfg.Decided = func(raid.NodeID) (raid.NodeRecord, bool) { return decided, true }
	m := New(cfg)
	n := m.native["known"]
	for own, want := range map[string]string{"attic": "attic", "shed": "", "": "", "a\x1b[2J": "", "a\nb": ""} {
		m.apply(n, wire.Heartbeat{Zone: own})
		if i := m.Nodes()[0]; i.Zone != "shed" || i.ProposedZone != want {
			t.Errorf("%q: in %q, proposed %q", own, i.Zone, i.ProposedZone)
		}
	}
	m.apply(n, wire.Heartbeat{Zone: "attic", TotalBytes: 256e9})
	decided.Zone, decided.Disk = "attic", 256e9
	changed := m.Changed()
	m.Reconsider("known")
	m.Reconsider("nobody")
	if i := m.Nodes()[0]; i.Zone != "attic" || i.ProposedZone != "" || i.TotalBytes != 256e9 {
		t.Errorf("%+v", i)
	}
	select {
	case <-changed:
	default:
		t.Error("nobody who waits is woken")
	}
}

func TestANodeThatComesAndGoesIsWrittenDownOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(config())
		n := m.native["known"]
		m.apply(n, wire.Heartbeat{TotalBytes: 64e9, FreeBytes: 60e9, Chunks: 7, Version: "0.7"})
		m.takeDirty()
		saved := 0
		for range 600 { // five minutes
			n.heartbeat.Chunks++
			m.note(n)
			dirty, _ := m.takeDirty()
			saved += len(dirty)
			time.Sleep(500 * time.Millisecond)
		}
		if saved != 5 {
			t.Errorf("it is written %d times in five minutes", saved)
		}
		want := raid.NodeSight{At: "2000-01-01 00:04:59", TotalBytes: 64e9, FreeBytes: 60e9, Chunks: 607, Version: "0.7"}
		if n.record.Last != want {
			t.Errorf("noted: %+v", n.record.Last)
		}
	})
}

func TestWhatAnEarlierRunSawOfANodeIsShownAsThat(t *testing.T) {
	cfg := config()
	cfg.Known[0].Last = raid.NodeSight{At: "2026-01-02 03:04:05", TotalBytes: 64e9, FreeBytes: 60e9, Chunks: 7, Version: "0.7"}
	m := New(cfg)
	i := m.Nodes()[0]
	if i.Seen || i.Recalled != "2026-01-02 03:04:05" || i.TotalBytes != 64e9 || i.FreeBytes != 60e9 || i.Chunks != 7 || i.Version != "0.7" {
		t.Errorf("%+v", i)
	}
	m.native["known"].seen = true
	if i := m.Nodes()[0]; i.Recalled != "" || i.Chunks != 0 {
		t.Errorf("seen by this run: %+v", i)
	}
}

// Whoever waits for any node is woken by each change of one.
func TestANodeThatChangesAllTheTimeWakesNobodyAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, other := range map[string]func(b *wire.Heartbeat){
			"read-only": func(b *wire.Heartbeat) { b.ReadOnly = true },
			"draining":  func(b *wire.Heartbeat) { b.Draining = true },
			"scanned":   func(b *wire.Heartbeat) { b.Scanned = true },
			"full":      func(b *wire.Heartbeat) { b.FreeBytes = 0 },
			"its disk":  func(b *wire.Heartbeat) { b.DiskStall = time.Minute },
		} {
			m := New(config())
			n := m.native["known"]
			one := wire.Heartbeat{TotalBytes: 64e9, FreeBytes: 60e9}
			two := one
			other(&two)
			m.apply(n, one)
			woken, changed := 0, m.Changed()
			for range 3000 { // a minute
				for _, b := range []wire.Heartbeat{two, one} {
					m.heard(n, b)
					if over(changed) {
						woken, changed = woken+1, m.Changed()
					}
				}
				time.Sleep(20 * time.Millisecond)
			}
			if woken < 20 || woken > 45 {
				t.Errorf("%s: woken %d times in a minute", name, woken)
			}
			for range 5 { // it has made up its mind
				m.heard(n, two)
				time.Sleep(2 * time.Second)
			}
			if turned(n.heartbeat, two) {
				t.Errorf("%s: in the end it is taken for %+v", name, n.heartbeat)
			}
		}
	})
}
