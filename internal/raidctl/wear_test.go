package raidctl

import (
	"bytes"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/client"
	"github.com/raidpi/raidpi/internal/raid"
)

func TestWhatIsKnownOfWearIsSaidAndWhatNotToo(t *testing.T) {
	few, perDay := 123.4, int64(1)<<30
	life := raid.LifeExceeded
	for _, c := range []struct {
		wear                *client.Wear
		disk, written, worn string
	}{
		{&client.Wear{Device: "mmcblk0", Medium: raid.MediumSD, Model: "SN64G", Counted: raid.WearOfDevice, WearCounts: client.WearCounts{Written: 1 << 20}},
			"SD card SN64G (mmcblk0)", "1.0 MiB so far", "not known: no SD card tells"},
		{&client.Wear{Medium: raid.MediumMemory}, "memory", "to memory, which does not wear", "not known: the disk does not tell"},
		{&client.Wear{}, "-", "not known: the kernel does not tell where the chunks lie", "not known: the disk does not tell"},
		{&client.Wear{Counted: raid.WearOfService, PerDay: &perDay, PerByte: &few, Days: []client.WearCounts{{Seconds: 7200}}},
			"-", "1.0 GiB a day, 123 bytes for each byte stored, by raid-node alone (of 2 h that it ran)", "not known: the disk does not tell"},
		{&client.Wear{Medium: raid.MediumEMMC, Spare: raid.SpareNormal}, "eMMC", "not known: the kernel does not tell where the chunks lie", "it has most of its spare blocks left"},
		{&client.Wear{Medium: raid.MediumEMMC, Spare: raid.SpareUrgent, LifeUsed: &life, Worn: true}, "eMMC", "not known: the kernel does not tell where the chunks lie",
			"it has lived longer than it was made for, and nine tenths of its spare blocks are used up: replace it soon"},
	} {
		if got := diskText(c.wear); got != c.disk {
			t.Errorf("disk %q, want %q", got, c.disk)
		}
		if got := writtenText(c.wear); got != c.written {
			t.Errorf("written %q, want %q", got, c.written)
		}
		if got := wornText(c.wear); got != c.worn {
			t.Errorf("worn %q, want %q", got, c.worn)
		}
	}
	for p, want := range map[raid.PowerState]string{
		raid.PowerGood: "power is good", raid.PowerLow: "too little voltage now: ", raid.PowerWasLow: "too little voltage at some time since it started: ", "\x1b": `power: \x1b`,
	} {
		if got := powerText(p); !strings.HasPrefix(got, want) {
			t.Errorf("power %q, want %q", got, want)
		}
	}
}

func TestAWornDiskIsNamedUnderTheTable(t *testing.T) {
	var out bytes.Buffer
	nodes := []client.Node{{ID: "a", Name: "pi", Wear: &client.Wear{Worn: true}}, {ID: "b", Name: "well", Wear: &client.Wear{}}, {ID: "c", Name: "old"}}
	if err := nodeTable(&out, nodes, false); err != nil || !strings.HasSuffix(out.String(), "\npi: its disk is nearly worn out; raidctl node show tells more\n") {
		t.Errorf("%q, %v", out.String(), err)
	}
}
