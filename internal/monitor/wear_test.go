package monitor

import (
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

func TestAWornDiskIsToldOfOnceAndWhenItGetsWorse(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s := newScene(t, up("a", "pi1"))
		wear := &s.view.Nodes[0].Wear
		*wear = raid.Wear{LifeUsed: 80, Spare: raid.SpareLow}
		s.pass(time.Minute)
		s.wants()
		wear.LifeUsed, wear.Spare = 90, raid.SpareNormal
		s.pass(5 * time.Hour)
		s.wants("disk-worn: the disk of pi1 is nearly worn out: up to 90 % of its life are used up [replace it before it fails: sudo raidctl node replace pi1]")
		wear.Spare = raid.SpareUrgent
		s.pass(5 * time.Hour)
		s.wants("disk-worn: the disk of pi1 is nearly worn out: up to 90 % of its life are used up, and nine tenths of its spare blocks are used up")
		wear.Spare = raid.SpareNormal // less than what was told
		s.pass(5 * time.Hour)
		s.wants()
	})
}

func TestTooLittleVoltageIsToldOfOnceUntilThePiStartsAnew(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s := newScene(t, up("a", "pi1"), up("b", "pi2"))
		power := func(p raid.PowerState) { s.view.Nodes[0].Wear.Power = p; s.pass(2 * time.Hour) }
		power(raid.PowerGood)
		s.wants()
		power(raid.PowerLow)
		s.wants("under-voltage: pi1 gets too little voltage, which spoils cards and disks [give it a stronger power supply")
		power(raid.PowerWasLow)
		power(raid.PowerLow)
		power("")
		power(raid.PowerWasLow)
		s.wants()
		power(raid.PowerGood) // it was restarted
		power(raid.PowerWasLow)
		s.wants("under-voltage: pi1")
	})
}

func TestANodeThatSaysAnythingOfItsWearIsNoFlood(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s := newScene(t, up("a", "pi1"))
		wear := &s.view.Nodes[0].Wear
		for i := range 1800 { // an hour
			wear.LifeUsed = []int{90, 100, raid.LifeExceeded}[i%3]
			wear.Power = []raid.PowerState{raid.PowerGood, raid.PowerLow}[i%2]
			s.m.Look(s.view)
			time.Sleep(2 * time.Second)
		}
		if len(s.told) > 4 {
			t.Errorf("it caused %d events in an hour", len(s.told))
		}
	})
}

func TestAfterARestartOfTheControllerWearIsNotToldAgain(t *testing.T) {
	inTime(t, func(t *testing.T) {
		s := newScene(t, up("a", "pi1"))
		s.view.Nodes[0].Wear = raid.Wear{Spare: raid.SpareUrgent, Power: raid.PowerWasLow}
		s.pass(time.Minute)
		before := s.told
		s.wants("disk-worn", "under-voltage")
		s.m = New(s.m.cfg)
		s.m.Recall(before)
		s.pass(time.Minute)
		s.wants()
	})
}
