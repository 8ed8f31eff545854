package controller

import (
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

func TestAWornDiskIsAFindingAndSaysWhatToDo(t *testing.T) {
	nodes := []raid.NodeInfo{
		{ID: "a", Name: "pi1", State: raid.Up, Wear: raid.Wear{Device: "mmcblk0", Medium: raid.MediumEMMC, LifeUsed: 30, Spare: raid.SpareLow}},
		{ID: "b", Name: "pi2", State: raid.Up, Wear: raid.Wear{Device: "mmcblk0", Medium: raid.MediumEMMC, LifeUsed: 100, Spare: raid.SpareUrgent}},
		{ID: "c", State: raid.Up},
	}
	found := wornDisks(nodes)
	const want = "the disk of pi2, eMMC (mmcblk0), is nearly worn out: up to 100 % of its life are used up, and nine tenths of its spare blocks are used up; " +
		"replace it before it fails: sudo raidctl node replace pi2"
	if len(found) != 1 || found[0].Text != want || found[0].Impairs {
		t.Errorf("%+v", found)
	}
	if a := raid.Assess(found); a.Health != raid.Healthy || a.Text() != want {
		t.Errorf("%+v", a)
	}
}

func TestTooLittleVoltageIsWarnedOf(t *testing.T) {
	node := func(name string, state raid.NodeState, p raid.PowerState) raid.NodeInfo {
		return raid.NodeInfo{Name: name, Kind: raid.Native, State: state, Wear: raid.Wear{Power: p}}
	}
	all := warnOfPower([]raid.NodeInfo{
		node("pi1", raid.Up, raid.PowerGood), node("pi2", raid.Up, raid.PowerLow), node("pi3", raid.Draining, raid.PowerWasLow),
		node("pi4", raid.Down, raid.PowerLow), node("pi5", raid.Up, ""),
	})
	if len(all) != 2 || !strings.HasPrefix(all[0], "pi2 gets too little voltage now; ") || !strings.HasPrefix(all[1], "pi3 has got too little voltage since it started; ") {
		t.Errorf("%q", all)
	}
}
