package monitor

import (
	"strings"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// wearAgain is the least time between two events of a kind about a node's wear. What a
// node says of itself may change all the time.
const wearAgain = time.Hour

// wear is the last word told of a node's disk and power.
type wear struct {
	worn   string // the last text about its disk; empty: none
	wornAt time.Time
	low    bool // that it gets too little voltage
	lowAt  time.Time
}

// recall takes over what an earlier run has told.
func (w *wear) recall(e raid.Event) {
	switch e.Kind {
	case raid.DiskWorn:
		w.worn = e.Text
	case raid.UnderVoltage:
		w.low = true
	}
}

// checkWear tells of a disk that comes to the end of its life, when it gets worse too. It tells of
// a Pi that gets too little voltage once until it starts anew.
func (m *Monitor) checkWear(n *node, info raid.NodeInfo, arg string, now time.Time) {
	w := info.Wear
	soon := func(at time.Time) bool { return !at.IsZero() && now.Sub(at) < wearAgain }
	if words := w.Worn(); w.IsWorn() && !strings.Contains(n.wear.worn, words) && !soon(n.wear.wornAt) {
		text := "the disk of " + Called(info) + " is nearly worn out: " + words
		n.wear.worn, n.wear.wornAt = text, now
		m.cfg.Tell(raid.Event{Kind: raid.DiskWorn, Node: info.ID, Text: text,
			Advice: "replace it before it fails: sudo raidctl node replace " + arg})
	}
	switch w.Power {
	case raid.PowerLow, raid.PowerWasLow:
		if n.wear.low || soon(n.wear.lowAt) {
			return
		}
		n.wear.low, n.wear.lowAt = true, now
		m.cfg.Tell(raid.Event{Kind: raid.UnderVoltage, Node: info.ID,
			Text:   Called(info) + " gets too little voltage, which spoils cards and disks",
			Advice: "give it a stronger power supply and a shorter cable, and put its disks on a hub with a supply of its own"})
	case raid.PowerGood:
		n.wear.low = false
	}
}
