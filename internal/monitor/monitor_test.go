package monitor

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// scene is an array that is looked at every two seconds, as the controller does it.
type scene struct {
	*testing.T
	m    *Monitor
	view View
	lost map[raid.NodeID]bool
	told []raid.Event
}

func newScene(t *testing.T, nodes ...raid.NodeInfo) *scene {
	s := &scene{T: t, lost: map[raid.NodeID]bool{}}
	s.view.Nodes = nodes
	s.m = New(Config{Grace: 15 * time.Minute, Tell: func(e raid.Event) { s.told = append(s.told, e) }, Lost: func(id raid.NodeID) bool { return s.lost[id] }})
	return s
}

func up(id raid.NodeID, name string) raid.NodeInfo {
	return raid.NodeInfo{ID: id, Name: name, Kind: raid.Native, State: raid.Up, Seen: true, TotalBytes: 100e9, FreeBytes: 50e9, Version: "1.0", Recalled: "x"}
}

// pass lets time go by.
func (s *scene) pass(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(2 * time.Second) {
		s.m.Look(s.view)
	}
	s.m.Look(s.view)
}

// wants checks what was told since, as kinds and pieces of text.
func (s *scene) wants(want ...string) {
	s.Helper()
	var got []string
	for _, e := range s.told {
		got = append(got, fmt.Sprintf("%s: %s [%s]", e.Kind, e.Text, e.Advice))
		if e.Text == "" || strings.HasSuffix(e.Text, ".") {
			s.Errorf("%q is no sentence without a stop", e.Text)
		}
	}
	s.told = nil
	ok := len(got) == len(want)
	for i := 0; ok && i < len(want); i++ {
		ok = strings.Contains(got[i], want[i])
	}
	if !ok {
		s.Errorf("told\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func (s *scene) away(i int) { s.view.Nodes[i].State = raid.Down; s.view.Nodes[i].Silent = 0 }
func (s *scene) back(i int) { s.view.Nodes[i].State = raid.Up }

func inTime(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }

func TestANodeThatRestartsIsNoEvent(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s := newScene(t, up("a", "pi1"))
		s.pass(time.Minute)
		s.away(0)
		s.pass(10 * time.Second)
		s.back(0)
		s.pass(24 * time.Hour)
		s.wants()
	})
}

func TestANodeThatGoesIsLostAndComesBack(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s := newScene(t, up("a", "pi1"), up("b", "pi 2\x1b"))
		s.pass(time.Minute)
		s.away(0)
		s.away(1)
		s.pass(20 * time.Second)
		s.wants("node-down: pi1 is away [see whether it has power and network; after 15 min its", `node-down: the node "pi 2\x1b" is away`)
		s.back(1)
		s.lost["a"] = true
		s.pass(time.Hour)
		s.wants("node-lost: pi1 has been away for longer than 15 min, so its copies count as lost and are made again on other nodes [start it again; if it never comes back: sudo raidctl node remove pi1]",
			`node-up: the node "pi 2\x1b" is back, after 20 s`)
		delete(s.lost, "a")
		s.back(0)
		s.pass(time.Hour)
		s.wants("node-up: pi1 is back, after 60 min")
	})
}

func TestANodeThatHangsIsToldOf(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s := newScene(t, up("a", "pi1"))
		s.pass(time.Minute)
		s.view.Nodes[0].State = raid.Suspect
		s.pass(time.Minute)
		s.wants("node-down: pi1 does not answer")
	})
}

func TestNodesAreWaitedForAfterTheStart(t *testing.T) {
	inTime(t, func(t *testing.T) {
		late, never := up("a", "pi1"), up("b", "pi2")
		late.Seen, never.Seen, late.State, never.State = false, false, raid.Down, raid.Down
		s := newScene(t, late, never)
		s.pass(50 * time.Second)
		s.view.Nodes[0] = up("a", "pi1")
		s.pass(time.Hour)
		s.wants("node-down: pi2 has not come since raid-controller started")
		s.view.Nodes = append(s.view.Nodes, raid.NodeInfo{ID: "c", Kind: raid.Native, State: raid.Up, Seen: true, TotalBytes: 10e9, FreeBytes: 9e9})
		s.pass(time.Minute)
		s.wants("node-up: node c is there, with 9.0 GB free")
	})
}

// What an earlier run has told is not told again, and its end is.
func TestARestartOfTheControllerRepeatsNothing(t *testing.T) {
	inTime(t, func(t *testing.T) {
		gone, full := up("a", "pi1"), up("b", "pi2")
		gone.Seen, gone.State, full.FreeBytes = false, raid.Down, 0
		s := newScene(t, gone, full)
		s.lost["a"] = true
		s.m.Recall([]raid.Event{{Kind: raid.NodeUp, Node: "a"}, {Kind: raid.NodeLost, Node: "a"}, {Kind: raid.DiskFull, Node: "b"}, {Kind: raid.NodeLost, Node: "removed"}})
		s.pass(time.Hour)
		s.wants()
		s.view.Nodes[0] = up("a", "pi1")
		s.view.Nodes[1] = up("b", "pi2")
		s.pass(time.Minute)
		s.wants("node-up: pi1 is back", "disk-good: the disk of pi2 takes new files again")
	})
}

// A disk that is nearly full may hang for other reasons. That it is full is told after a start, too.
func TestAfterAStartADiskThatWasNearlyFullIsToldOfOnceItIsFull(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s := newScene(t, up("a", "pi1"))
		s.m.Recall([]raid.Event{
			{Kind: raid.DiskFull, Node: "a", Text: "the disk of pi1 is nearly full: 10.0 GB of 100.0 GB are left"},
			{Kind: raid.DiskStalled, Node: "a", Text: "the disk of pi1 has not answered for 20 s"},
		})
		s.view.Nodes[0].FreeBytes = 0
		s.pass(time.Minute)
		if len(s.told) != 1 || s.told[0].Kind != raid.DiskFull {
			t.Errorf("told %+v", s.told)
		}
	})
}

func TestDisksAreToldOfOnceAndWhenTheyRecover(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s := newScene(t, up("a", "pi1"))
		n := &s.view.Nodes[0]
		s.pass(time.Minute)
		for _, c := range []struct {
			set  func()
			want []string
		}{
			{func() { n.FreeBytes = 10e9 }, []string{"disk-full: the disk of pi1 is nearly full: 10.0 GB of 100.0 GB are left [add a node, or delete files soon]"}},
			{func() { n.FreeBytes = 11e9 }, nil}, // it wavers
			{func() { n.FreeBytes = 9e9 }, nil},
			{func() { n.FreeBytes = 0 }, []string{"disk-full: the disk of pi1 is full"}},
			{func() { n.FreeBytes = 50e9 }, []string{"disk-good"}},
			{func() { n.ReadOnly = true }, []string{"disk-readonly"}},
			{func() { n.DiskStall, n.Problem = 20*time.Second, "its disk has not answered" }, []string{"disk-stalled: the disk of pi1 has not answered for 20 s"}},
			{func() { n.ReadOnly = false }, nil},
			{func() { n.DiskStall, n.Problem = 0, "" }, []string{"disk-good"}},
			{func() { n.Problem = "it lists what it can't have" }, []string{"node-accused: pi1: it lists"}},
			{func() { n.Version = "1.1" }, []string{"upgraded: pi1 runs raid-node 1.1 now, and ran 1.0 before"}},
		} {
			c.set()
			s.pass(time.Hour)
			s.wants(c.want...)
		}
	})
}

func TestClonesAndWrongCatalogsAreToldOfOnce(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s := newScene(t, up("a", "pi1"))
		s.pass(time.Minute)
		s.view.Clones = []Clone{{"a", "10.0.0.9:4711"}}
		s.view.Catalog = fmt.Errorf("%w: number 7", raid.ErrCatalogBehind)
		s.view.LostFiles, s.view.LostExamples = 2, []raid.File{{ID: 7, Filename: "a\x1b"}, {ID: 9, Filename: "b"}}
		s.pass(time.Hour)
		s.wants("node-clone: a second machine, at 10.0.0.9:4711, says that it is pi1", "file-lost: 2 more files have lost all good copies of a part; such files are 7 (\"a\\x1b\"), 9 (\"b\")", "catalog-behind: ")
		s.view.Clones, s.view.Catalog = nil, nil
		s.pass(time.Hour)
		s.view.Catalog, s.view.LostFiles = fmt.Errorf("%w: page 7", raid.ErrCatalogDamaged), 3
		s.pass(time.Hour)
		s.wants("file-lost: a file has lost", "catalog-damaged: ")
	})
}
