package controller

import (
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// seen is a node in a state, and how long ago it was heard of.
func seen(name string, state raid.NodeState, silent time.Duration) raid.NodeInfo {
	return raid.NodeInfo{ID: raid.NodeID("id-" + name), Name: name, Kind: raid.Native, State: state, Silent: silent}
}

// up are nodes that are.
func up(names ...string) (out []raid.NodeInfo) {
	for _, n := range names {
		out = append(out, seen(n, raid.Up, 0))
	}
	return out
}

const remove = "sudo raidctl node remove"

// situation is an outlook, and what is to be said of it.
type situation struct {
	outlook
	health   raid.Health
	impaired bool
	text     string
}

func situations() map[string]situation {
	node := seen
	restarts, dead := node("pi-3", raid.Down, 30*time.Second), node("pi-3", raid.Down, 17*time.Minute)
	readOnly := node("pi-3", raid.Up, 0)
	readOnly.ReadOnly = true
	lab := raid.NodeInfo{ID: "lab-1", Kind: raid.Lab, State: raid.Up}
	and := func(nodes []raid.NodeInfo, more ...raid.NodeInfo) []raid.NodeInfo { return append(nodes, more...) }
	moves := raid.HealingProgress{PartsLeft: 1204, BytesLeft: 3_100_000_000, BytesPerSecond: 48_000_000, SecondsLeft: 130}
	const how = "1,204 parts (3.1 GB) left, 48.0 MB/s, about 2 min"
	noRoom := raid.HealingProgress{PartsLeft: 1204, BytesLeft: 3_100_000_000, SecondsLeft: -1, BlockedBy: "add a node, or free 12 GiB"}
	reach := func(one, none int64) raid.Reach { return raid.Reach{OneCopy: one, None: none} }
	return map[string]situation{
		"all is well":  {outlook{nodes: up("a", "b")}, raid.Healthy, false, ""},
		"six are well": {outlook{nodes: up("a", "b", "c", "d", "e", "f")}, raid.Healthy, false, ""},
		"nobody": {outlook{}, raid.Degraded, true,
			"no node has joined yet, so nothing can be stored: sudo raidctl token create prints what to paste on each Pi"},
		"the first of two has joined": {outlook{nodes: up("a")}, raid.Degraded, false,
			"files stored now get one copy: 2 copies need as many nodes that are up; add one, or start it"},

		"a restart": {outlook{nodes: and(up("a", "b"), restarts), now: reach(7, 0)}, raid.Degraded, false,
			"7 files have one copy; pi-3 away; start it if that does not end by itself"},
		"a restart of one of two": {outlook{nodes: and(up("a"), restarts), now: reach(7, 0)}, raid.Degraded, false,
			"7 files have one copy; pi-3 away; start it if that does not end by itself. Files stored now get one copy: 2 copies need as many nodes that are up; add one, or start it"},
		"a restart without files": {outlook{nodes: and(up("a", "b"), restarts)}, raid.Degraded, false,
			"pi-3 away; start it if that does not end by itself"},
		"a restart meanwhile copies are moved": {outlook{nodes: and(up("a", "b"), restarts), now: reach(7, 0), healing: moves}, raid.Degraded, false,
			"7 files have one copy; pi-3 away; start it if that does not end by itself. Copies are made or moved: " + how},

		"lost, and being made again": {outlook{nodes: and(up("a", "b"), dead), now: reach(2032, 0), healing: moves}, raid.Healing, false,
			"2,032 files have one copy; pi-3 away for 17 min; copies are made again on other nodes: " + how + "; start it, or: " + remove + " pi-3"},
		"just lost": {outlook{nodes: and(up("a", "b"), dead), now: reach(2032, 0)}, raid.Healing, false,
			"2,032 files have one copy; pi-3 away for 17 min; copies are made again on other nodes; start it, or: " + remove + " pi-3"},
		"lost for good": {outlook{nodes: up("a", "b"), all: reach(0, 1), now: reach(0, 1), degraded: 1, healing: raid.HealingProgress{PartsLeft: 1, BytesLeft: 5, SecondsLeft: -1}}, raid.DataLost, true,
			"1 file lost: no node of the array has a good copy of some part"},
		"lost, and no room": {outlook{nodes: and(up("a", "b"), dead), now: reach(2032, 0), healing: noRoom}, raid.AtRisk, false,
			"2,032 files have one copy; pi-3 away for 17 min; copies can't be made now: add a node, or free 12 GiB; start it, or: " + remove + " pi-3"},
		"lost, of two": {outlook{nodes: and(up("a"), node("c", raid.Down, time.Hour)), now: reach(30, 0)}, raid.AtRisk, false,
			"30 files have one copy; c away for 60 min; start it"},
		"lost, and all made again": {outlook{nodes: and(up("a", "b"), dead)}, raid.Healthy, false,
			"pi-3 away for 17 min, and every file has its copies on other nodes; start it, or: " + remove + " pi-3"},
		"lost, and surplus left": {outlook{nodes: and(up("a", "b"), dead), healing: raid.HealingProgress{PartsLeft: 1, BytesLeft: 5_000_000, SecondsLeft: -1}}, raid.Healing, false,
			"copies are made or moved: 1 part (5.0 MB) left. pi-3 away for 17 min, and every file has its copies on other nodes; start it, or: " + remove + " pi-3"},
		"one of two lost, without files": {outlook{nodes: and(up("a"), dead)}, raid.Degraded, false,
			"files stored now get one copy: 2 copies need as many nodes that are up; add one, or start it. pi-3 away for 17 min, and every file has its copies on other nodes; start it"},
		"two lost": {outlook{nodes: and(up("a", "b"), node("c", raid.Down, 3*time.Hour), node("d", raid.Down, time.Hour)), now: reach(30, 0), healing: moves}, raid.Healing, false,
			"30 files have one copy; c away for 3 hours, d away for 60 min; copies are made again on other nodes: " + how + "; start them, or take out what never comes back: " + remove},
		"one lost, another restarts": {outlook{nodes: and(up("a", "b"), node("c", raid.Down, 3*time.Hour), node("d", raid.Down, time.Minute)), now: reach(30, 0)}, raid.Degraded, false,
			"30 files have one copy; c away for 3 hours, d away for 1 min; start them if that does not end by itself"},
		"lost, while it is counted": {outlook{nodes: and(up("a", "b"), node("c", raid.Down, time.Hour)), now: raid.Reach{OneCopy: 30, Partial: true}, healing: moves}, raid.Degraded, false,
			"after an update it is still being counted where files are, so there may be more. 30 files have one copy; c away for 60 min; copies are made again on other nodes: " + how + "; start it"},

		"it hangs": {outlook{nodes: and(up("a", "b"), node("pi-3", raid.Suspect, 0)), now: reach(1, 0)}, raid.Degraded, false,
			"1 file has one copy; pi-3 does not answer; restart it if it stays so"},
		"it hangs for long": {outlook{nodes: and(up("a", "b"), node("pi-3", raid.Suspect, time.Hour)), now: reach(1, 0), healing: moves}, raid.Healing, false,
			"1 file has one copy; pi-3 does not answer; copies are made again on other nodes: " + how + "; restart it if it stays so"},
		"its disk hangs": {outlook{nodes: and(up("a", "b"), raid.NodeInfo{Name: "pi-3", Kind: raid.Native, State: raid.Suspect, Problem: "its disk hangs"})}, raid.Degraded, false,
			"pi-3: its disk hangs"},
		"its disk is read-only": {outlook{nodes: and(up("a", "b"), readOnly)}, raid.Degraded, false,
			"pi-3 takes no writes, since its disk failed or is mounted read-only: see journalctl -u raid-node there"},
		"one drains": {outlook{nodes: and(up("a", "b"), node("pi-3", raid.Draining, 0)), healing: moves}, raid.Healing, false,
			"copies are made or moved: " + how},
		"one is drained": {outlook{nodes: and(up("a", "b"), node("pi-3", raid.Draining, 0))}, raid.Healthy, false, ""},
		"it drains, and there is no room": {outlook{nodes: and(up("a", "b"), node("pi-3", raid.Draining, 0)), healing: noRoom}, raid.Degraded, false,
			"copies can't be moved: add a node, or free 12 GiB"},

		"two are away": {outlook{nodes: and(up("a", "b"), node("c", raid.Down, 3*time.Hour), node("d", raid.Down, time.Minute)), now: reach(30, 20)}, raid.AtRisk, true,
			"20 files can't be read and 30 files have one copy; c away for 3 hours, d away for 1 min; start them: files could be lost with them"},
		"two lost with files": {outlook{nodes: and(up("a", "b", "e", "f"), node("c", raid.Down, 3*time.Hour), node("d", raid.Down, time.Hour)), now: reach(30, 20), healing: moves}, raid.AtRisk, true,
			"20 files can't be read and 30 files have one copy; c away for 3 hours, d away for 60 min; start them: files could be lost with them. Copies are made or moved: " + how},
		"all are away": {outlook{nodes: []raid.NodeInfo{node("a", raid.Down, 0)}, now: reach(0, 1)}, raid.AtRisk, true,
			"1 file can't be read; a away; start it: files could be lost with it. No node takes chunks now, so nothing can be stored"},
		"the lab node is away": {outlook{nodes: up("a", "b"), now: reach(3, 0)}, raid.Degraded, false,
			"3 files have one copy; start the nodes that have copies of them"},
		"the lab node's files can't be read": {outlook{nodes: up("a", "b"), now: reach(0, 3)}, raid.AtRisk, true,
			"3 files can't be read; start the nodes that have copies of them"},
		"not exactly known": {outlook{nodes: and(up("a", "b"), node("c", raid.Down, time.Hour)), now: raid.Reach{None: 1200, AtMost: true}}, raid.AtRisk, true,
			"up to 1,200 files can't be read; c away for 60 min; start it: files could be lost with it"},
		"a removed node's copies are not all found yet": {outlook{nodes: up("a", "b"),
			all: raid.Reach{OneCopy: 40, AtMost: true}, now: raid.Reach{OneCopy: 40, AtMost: true}, degraded: 5, healing: moves}, raid.Healing, false,
			"5 files degraded, being repaired: " + how},

		"bad chunks": {outlook{nodes: up("a", "b"), all: reach(1, 0), now: reach(1, 0), degraded: 1}, raid.Degraded, false,
			"1 file degraded, to be repaired"},
		"bad chunks are repaired": {outlook{nodes: up("a", "b"), all: reach(1, 0), now: reach(1, 0), degraded: 1, healing: moves}, raid.Healing, false,
			"1 file degraded, being repaired: " + how},
		"bad chunks, and no room": {outlook{nodes: up("a", "b"), all: reach(1, 0), now: reach(1, 0), degraded: 1, healing: noRoom}, raid.AtRisk, false,
			"1 file degraded, and copies can't be made now: add a node, or free 12 GiB"},
		"stored on one node alone": {outlook{nodes: up("a"), all: reach(3, 0), now: reach(3, 0), degraded: 3}, raid.AtRisk, false,
			"3 files degraded: a second copy needs a second node that is up; add one, or start it"},
		"stored while the other restarts": {outlook{nodes: and(up("a"), restarts), all: reach(3, 0), now: reach(3, 0), degraded: 3}, raid.Degraded, false,
			"3 files degraded, to be repaired when enough nodes are up. pi-3 away; start it if that does not end by itself. " +
				"Files stored now get one copy: 2 copies need as many nodes that are up; add one, or start it"},
		"a lab node beside": {outlook{nodes: and(up("a", "b"), lab)}, raid.Healthy, false, ""},

		"files are lost": {outlook{nodes: up("a", "b"), all: reach(0, 3), now: reach(0, 3), degraded: 3}, raid.DataLost, true,
			"3 files lost: no node of the array has a good copy of some part"},
		"files are lost, and others degraded": {outlook{nodes: up("a", "b"), all: reach(0, 3), now: reach(0, 3), degraded: 4}, raid.DataLost, true,
			"3 files lost: no node of the array has a good copy of some part. 4 files degraded, to be repaired"},
		"files are lost, and which": {outlook{nodes: up("a", "b"), all: reach(0, 6), now: reach(0, 6), degraded: 6,
			lost: []raid.File{{ID: 7, Filename: "cat.jpg"}, {ID: 9, Filename: "a \"b\"\n"}, {ID: 12, Filename: strings.Repeat("ä", 60)}, {ID: 13}}}, raid.DataLost, true,
			`6 files lost: no node of the array has a good copy of some part (7 "cat.jpg", 9 "a \"b\"\n", 12 "` + strings.Repeat("ä", 39) + `…", 13 "", ...: raidctl ls --lost)`},
		"being counted": {outlook{nodes: up("a", "b"), now: raid.Reach{Partial: true}}, raid.Degraded, false,
			"after an update it is still being counted where files are, so there may be more"},
	}
}

func TestHealthSaysWhatIsWrongAndWhatToDo(t *testing.T) {
	for name, c := range situations() {
		c.copies, c.degradedWrites = 2, true
		c.isLost = lostAfter(15*time.Minute, c.nodes)
		a := raid.Assess(c.findings())
		if a.Health != c.health || a.Impaired != c.impaired || a.Text() != c.text {
			t.Errorf("%s: %s, impaired %v: %q\nwant %s, %v: %q", name, a.Health, a.Impaired, a.Text(), c.health, c.impaired, c.text)
		}
	}
	for _, silent := range []time.Duration{0, time.Minute, 15 * time.Minute} { // a node within grace restarts
		o := outlook{nodes: append(up("a", "b"), seen("c", raid.Down, silent)), copies: 2, now: raid.Reach{OneCopy: 1}}
		o.isLost = lostAfter(15*time.Minute, o.nodes)
		if text := raid.Assess(o.findings()).Text(); strings.Contains(text, remove) {
			t.Errorf("after %v it is advised to remove the node: %q", silent, text)
		}
	}
	o := outlook{nodes: up("a"), copies: 2}
	if a := raid.Assess(o.findings()); a.Health != raid.AtRisk || !a.Impaired {
		t.Errorf("without degraded writes: %+v", a)
	}
}

// lostAfter are the nodes that have been away for longer than grace.
func lostAfter(grace time.Duration, nodes []raid.NodeInfo) map[raid.NodeID]bool {
	lost := map[raid.NodeID]bool{}
	for _, n := range nodes {
		lost[n.ID] = !n.IsThere() && n.Silent > grace
	}
	return lost
}

func TestLengthsOfTimeAreWrittenInTheirLargestUnit(t *testing.T) {
	for d, want := range map[time.Duration]string{
		10 * time.Second: "10 s", 15 * time.Minute: "15 min", 119 * time.Minute: "119 min", 47 * time.Hour: "47 hours", 50 * time.Hour: "2 days",
	} {
		if got := roughly(d); got != want {
			t.Errorf("%v is written as %q, want %q", d, got, want)
		}
	}
}

// Nothing is healthy while a node has found what was not looked at.
func TestUncheckedChunksAreNotHealthy(t *testing.T) {
	nodes := []raid.NodeInfo{{ID: "a", Name: "pi-1"}, {ID: "b", Name: "pi-2"}, {ID: "c", Name: "pi-3"}}
	a := raid.Assess(uncheckedChunks(nodes, map[raid.NodeID]int64{"b": 1, "c": 1200}))
	const want = "pi-2 has found a bad chunk, which is yet to be looked at. pi-3 has found 1,200 bad chunks, which are yet to be looked at"
	if a.Health != raid.Degraded || a.Text() != want {
		t.Errorf("%s: %s", a.Health, a.Text())
	}
	if found := uncheckedChunks(nodes, nil); found != nil {
		t.Errorf("%+v", found)
	}
}
