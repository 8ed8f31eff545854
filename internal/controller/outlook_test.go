package controller

import (
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/catalog"
	"github.com/raidpi/raidpi/internal/raid"
)

func TestHealthSaysWhatIsWrongAndWhatToDo(t *testing.T) {
	node := func(name string, state raid.NodeState, silent time.Duration) raid.NodeInfo {
		return raid.NodeInfo{ID: raid.NodeID("id-" + name), Name: name, Kind: raid.Native, State: state, Silent: silent}
	}
	up := func(names ...string) (out []raid.NodeInfo) {
		for _, n := range names {
			out = append(out, node(n, raid.Up, 0))
		}
		return out
	}
	const remove = "sudo raidctl node remove"
	for name, c := range map[string]struct {
		outlook
		health   raid.Health
		impaired bool
		text     string
	}{
		"all is well": {outlook{nodes: up("a", "b")}, raid.Healthy, false, ""},
		"nobody": {outlook{}, raid.Degraded, true,
			"no node has joined yet, so nothing can be stored: sudo raidctl token create prints what to paste on each Pi"},
		"a restart": {outlook{nodes: append(up("a", "b"), node("pi-3", raid.Down, 30*time.Second)), now: catalog.Reach{OneCopy: 7}}, raid.Degraded, false,
			"7 files have one copy; pi-3 away; start it if that does not end by itself"},
		"17 minutes": {outlook{nodes: append(up("a", "b"), node("pi-3", raid.Down, 17*time.Minute)), now: catalog.Reach{OneCopy: 2032}}, raid.AtRisk, false,
			"2,032 files have one copy; pi-3 away for 17 min; start it, or: " + remove + " pi-3"},
		"an empty node": {outlook{nodes: append(up("a", "b"), node("pi-3", raid.Down, 17*time.Minute))}, raid.Degraded, false,
			"pi-3 away for 17 min; start it, or: " + remove + " pi-3"},
		"it hangs": {outlook{nodes: append(up("a", "b"), node("pi-3", raid.Suspect, 0)), now: catalog.Reach{OneCopy: 1}}, raid.Degraded, false,
			"1 file has one copy; pi-3 does not answer; restart it if it stays so"},
		"its disk hangs": {outlook{nodes: append(up("a", "b"), raid.NodeInfo{Name: "pi-3", Kind: raid.Native, State: raid.Suspect, Problem: "its disk hangs"})}, raid.Degraded, false,
			"pi-3: its disk hangs"},
		"two are away": {outlook{nodes: append(up("a", "b"), node("c", raid.Down, 3*time.Hour), node("d", raid.Down, time.Minute)),
			now: catalog.Reach{OneCopy: 30, None: 20}}, raid.AtRisk, true,
			"20 files can't be read and 30 files have one copy; c away for 3 hours, d away for 1 min; start them: files could be lost with them"},
		"two for long": {outlook{nodes: append(up("a", "b"), node("c", raid.Down, 3*time.Hour), node("d", raid.Down, time.Hour)),
			now: catalog.Reach{OneCopy: 30}}, raid.AtRisk, false,
			"30 files have one copy; c away for 3 hours, d away for 60 min; start them, or take out what never comes back: " + remove},
		"one of two for long": {outlook{nodes: append(up("a", "b"), node("c", raid.Down, 3*time.Hour), node("d", raid.Down, time.Minute)),
			now: catalog.Reach{OneCopy: 30}}, raid.AtRisk, false,
			"30 files have one copy; c away for 3 hours, d away for 1 min; start them if that does not end by itself"},
		"one is left": {outlook{nodes: append(up("a"), node("c", raid.Down, time.Hour)), now: catalog.Reach{OneCopy: 30}}, raid.AtRisk, false,
			"30 files have one copy; c away for 60 min; start it"},
		"long away, while it is counted": {outlook{nodes: append(up("a", "b"), node("c", raid.Down, time.Hour)), now: catalog.Reach{OneCopy: 30, Partial: true}}, raid.AtRisk, false,
			"30 files have one copy; c away for 60 min; start it. after an update it is still being counted where files are, so there may be more"},
		"lost": {outlook{nodes: up("a", "b"), all: catalog.Reach{None: 3}, now: catalog.Reach{None: 3}, degraded: 3}, raid.DataLost, true,
			"3 files lost: no node of the array has a good copy of some part. 3 files degraded, to be repaired"},
		"lost, and which": {outlook{nodes: up("a", "b"), all: catalog.Reach{None: 6}, now: catalog.Reach{None: 6}, lost: []raid.FileID{7, 9, 12, 13, 15}}, raid.DataLost, true,
			"6 files lost: no node of the array has a good copy of some part (ids 7, 9, 12, 13, ...)"},
		"alone": {outlook{nodes: up("a"), all: catalog.Reach{OneCopy: 3}, now: catalog.Reach{OneCopy: 3}, degraded: 3}, raid.AtRisk, false,
			"3 files degraded: a second copy needs a second node that is up; add one, or start it"},
		"being repaired": {outlook{nodes: up("a", "b"), all: catalog.Reach{OneCopy: 1}, now: catalog.Reach{OneCopy: 1}, degraded: 1}, raid.Degraded, false,
			"1 file degraded, to be repaired"},
		"not exactly known": {outlook{nodes: append(up("a", "b"), node("c", raid.Down, time.Hour)), now: catalog.Reach{None: 1200, AtMost: true}}, raid.AtRisk, true,
			"up to 1,200 files can't be read; c away for 60 min; start it: files could be lost with it"},
		"being counted": {outlook{nodes: up("a", "b"), now: catalog.Reach{Partial: true}}, raid.Degraded, false,
			"after an update it is still being counted where files are, so there may be more"},
		"all are away": {outlook{nodes: []raid.NodeInfo{node("a", raid.Down, 0)}, now: catalog.Reach{None: 1}}, raid.AtRisk, true,
			"1 file can't be read; a away; start it: files could be lost with it. no node takes chunks now, so nothing can be stored"},
	} {
		c.grace, c.copies, c.degradedWrites = 15*time.Minute, 2, true
		a := raid.Assess(c.findings())
		if a.Health != c.health || a.Impaired != c.impaired || a.Text() != c.text {
			t.Errorf("%s: %s, impaired %v: %q\nwant %s, %v: %q", name, a.Health, a.Impaired, a.Text(), c.health, c.impaired, c.text)
		}
	}
	for _, silent := range []time.Duration{0, time.Minute, 15 * time.Minute} { // a node within grace restarts
		o := outlook{nodes: append(up("a", "b"), node("c", raid.Down, silent)), grace: 15 * time.Minute, copies: 2, now: catalog.Reach{OneCopy: 1}}
		if text := raid.Assess(o.findings()).Text(); strings.Contains(text, remove) {
			t.Errorf("after %v it is advised to remove the node: %q", silent, text)
		}
	}
	o := outlook{nodes: up("a"), copies: 2}
	if a := raid.Assess(o.findings()); a.Health != raid.AtRisk || !a.Impaired {
		t.Errorf("without degraded writes: %+v", a)
	}
}
