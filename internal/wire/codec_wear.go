package wire

import (
	"strings"
	"time"
	"unicode"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
)

var (
	media = map[raid.Medium]wirepb.Wear_Medium{
		raid.MediumSD: wirepb.Wear_SD, raid.MediumEMMC: wirepb.Wear_EMMC, raid.MediumNVMe: wirepb.Wear_NVME,
		raid.MediumDisk: wirepb.Wear_DISK, raid.MediumMemory: wirepb.Wear_MEMORY,
	}
	wearSources = map[raid.WearSource]wirepb.Wear_Source{raid.WearOfDevice: wirepb.Wear_DEVICE, raid.WearOfService: wirepb.Wear_SERVICE}
	spareStates = map[raid.SpareState]wirepb.Wear_Spare{
		raid.SpareNormal: wirepb.Wear_NORMAL, raid.SpareLow: wirepb.Wear_LOW, raid.SpareUrgent: wirepb.Wear_URGENT,
	}
	powerStates = map[raid.PowerState]wirepb.Wear_Power{
		raid.PowerGood: wirepb.Wear_POWER_GOOD, raid.PowerWasLow: wirepb.Wear_POWER_WAS_LOW, raid.PowerLow: wirepb.Wear_POWER_LOW,
	}
)

// encodeWear writes what a node tells of its disk; nil when that is nothing.
func encodeWear(w raid.Wear) *wirepb.Wear {
	if w == (raid.Wear{}) {
		return nil
	}
	out := &wirepb.Wear{
		Device: w.Device, Medium: media[w.Medium], Model: w.Model, Source: wearSources[w.Source],
		All:      encodeWearDay(raid.WearDay{Running: w.Running, Written: w.Written, Stored: w.Stored}),
		LifeUsed: uint32(min(max(w.LifeUsed, 0), raid.LifeExceeded)), Spare: spareStates[w.Spare],
		CardMillikelvin: uint32(w.CardHeat), Millikelvin: uint32(w.Heat), Power: powerStates[w.Power],
	}
	for _, d := range w.Days {
		if d.Running <= 0 {
			break
		}
		out.Days = append(out.Days, encodeWearDay(d))
	}
	return out
}

func encodeWearDay(d raid.WearDay) *wirepb.WearDay {
	n := func(v int64) uint64 { return uint64(max(v, 0)) }
	// Rounded up: what has bytes has a time.
	return &wirepb.WearDay{Seconds: inSeconds(d.Running + time.Second - 1), WrittenBytes: n(d.Written), StoredBytes: n(d.Stored)}
}

// decodeWear reads what a node tells of its disk. What can't be is not known; numbers are
// cut, and texts to maxHeartbeatText bytes that can be shown.
func decodeWear(pb *wirepb.Wear) (w raid.Wear) {
	if pb == nil {
		return w
	}
	w = raid.Wear{
		Device: shown(pb.Device), Medium: named(media, pb.Medium), Model: shown(pb.Model), Source: named(wearSources, pb.Source),
		LifeUsed: int(min(pb.LifeUsed, raid.LifeExceeded)), Spare: named(spareStates, pb.Spare),
		CardHeat: heat(pb.CardMillikelvin), Heat: heat(pb.Millikelvin), Power: named(powerStates, pb.Power),
	}
	all := decodeWearDay(pb.All)
	w.Running, w.Written, w.Stored = all.Running, all.Written, all.Stored
	for i, d := range pb.Days[:min(len(pb.Days), raid.WearDays)] {
		day := decodeWearDay(d)
		if day.Running = min(day.Running, longestDay); day.Running == 0 {
			break
		}
		w.Days[i] = day
	}
	return w
}

// longestDay bounds what a node may call a day: eight of them can be summed up.
const longestDay = 2 * 365 * 24 * time.Hour

func decodeWearDay(pb *wirepb.WearDay) raid.WearDay {
	cut := func(v uint64) int64 { return int64(min(v, mostCounted)) }
	return raid.WearDay{Running: seconds(pb.GetSeconds()), Written: cut(pb.GetWrittenBytes()), Stored: cut(pb.GetStoredBytes())}
}

// named is the word for a value of the wire; an unknown one is none.
func named[Word ~string, Value comparable](words map[Word]Value, v Value) (word Word) {
	for w, on := range words {
		if on == v {
			word = w
		}
	}
	return word
}

// shown is a text of a peer, cut, without what can't be shown in a line.
func shown(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxHeartbeatText)], "")
	return strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return -1
		}
		return r
	}, s)
}

func heat(millikelvin uint32) raid.Heat {
	h := raid.Heat(millikelvin)
	if _, known := h.Celsius(); !known {
		return 0
	}
	return h
}
