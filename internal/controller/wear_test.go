package controller

import (
	"maps"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

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

// A node chooses its name, and people paste what they are told to.
func TestNoNameOfANodeIsACommand(t *testing.T) {
	const name = "$(reboot)"
	n := raid.NodeInfo{ID: "id-3", Name: name, Kind: raid.Native, State: raid.Down, Wear: raid.Wear{Spare: raid.SpareUrgent}, ProposedZone: name}
	o := outlook{nodes: []raid.NodeInfo{n, {ID: "a", Kind: raid.Native, State: raid.Up}, {ID: "b", Kind: raid.Native, State: raid.Up}}, isLost: map[raid.NodeID]bool{"id-3": true}, copies: 2}
	said := proposals([]raid.NodeInfo{n})
	for _, f := range append(o.findings(), wornDisks([]raid.NodeInfo{n})...) {
		said = append(said, f.Text)
	}
	lines := 0
	for _, s := range said {
		_, command, found := strings.Cut(s, "sudo raidctl")
		if lines += len(command); found && strings.Contains(command, name) {
			t.Errorf("%q has it in a line to paste", s)
		}
	}
	if len(said) < 3 || lines == 0 {
		t.Errorf("nothing was looked at: %q", said)
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

func TestWhatIsKnownOfWearIsMeasured(t *testing.T) {
	got := map[string]float64{}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) { got[name(d)+" "+strings.Join(labels, " ")] = v }
	count := func(d *prometheus.Desc, v int64, labels ...string) { gauge(d, float64(v), labels...) }
	metrics{}.wear(raid.NodeInfo{ID: "old"}, gauge, count)
	if len(got) > 0 {
		t.Errorf("of a node that does not tell %v", got)
	}
	metrics{}.wear(raid.NodeInfo{ID: "a", Wear: raid.Wear{
		Source: raid.WearOfDevice, Written: 9, Stored: 4, LifeUsed: 90, CardHeat: raid.HeatOf(40_000), Heat: raid.HeatOf(-5_000), Power: raid.PowerLow,
	}}, gauge, count)
	metrics{}.wear(raid.NodeInfo{ID: "b", Wear: raid.Wear{Medium: raid.MediumMemory, Stored: 3, Power: raid.PowerWasLow}}, gauge, count)
	want := map[string]float64{
		"raidpi_node_written_bytes_total a device": 9, "raidpi_node_stored_bytes_total a": 4, "raidpi_node_disk_life_used_ratio a": 0.9, "raidpi_node_disk_worn a": 1,
		"raidpi_node_disk_temperature_celsius a": 40, "raidpi_node_temperature_celsius a": -5, "raidpi_node_under_voltage a": 1,
		"raidpi_node_stored_bytes_total b": 3, "raidpi_node_disk_worn b": 0, "raidpi_node_under_voltage b": 0,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// name is a metric's; its description says no more than that in a text.
func name(d *prometheus.Desc) string {
	_, after, _ := strings.Cut(d.String(), `fqName: "`)
	name, _, _ := strings.Cut(after, `"`)
	return name
}
