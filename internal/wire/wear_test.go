package wire

import (
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
)

func someWear() raid.Wear {
	return raid.Wear{
		Device: "mmcblk0", Medium: raid.MediumEMMC, Model: "BJTD4R", Source: raid.WearOfDevice,
		Running: 90 * time.Hour, Written: 1 << 40, Stored: 1 << 39,
		Days:     [raid.WearDays]raid.WearDay{{Running: time.Hour, Written: 5, Stored: 6}, {Running: 24 * time.Hour, Written: 7}},
		LifeUsed: 30, Spare: raid.SpareNormal, CardHeat: raid.HeatOf(41_000), Heat: raid.HeatOf(-3_000), Power: raid.PowerWasLow,
	}
}

func TestWhatANodeSaysOfItsWearComesThrough(t *testing.T) {
	most := raid.Wear{Medium: raid.MediumMemory, Spare: raid.SpareUrgent, LifeUsed: raid.LifeExceeded, Power: raid.PowerLow}
	for i := range most.Days {
		most.Days[i] = raid.WearDay{Running: 24 * time.Hour, Written: mostCounted, Stored: mostCounted}
	}
	for _, w := range []raid.Wear{{}, someWear(), most, {Medium: raid.MediumSD, Source: raid.WearOfService}, {Power: raid.PowerGood, Spare: raid.SpareLow}} {
		if got := decodeHeartbeat(encodeHeartbeat(Heartbeat{Wear: w})).Wear; got != w {
			t.Errorf("%+v\nreads as %+v", w, got)
		}
	}
	if pb := encodeHeartbeat(Heartbeat{}).Wear; pb != nil {
		t.Errorf("a node that does not tell tells %v", pb)
	}
}

func TestAHeartbeatWithWearIsSmall(t *testing.T) {
	w := someWear()
	for i := range w.Days {
		w.Days[i] = raid.WearDay{Running: 24 * time.Hour, Written: mostCounted, Stored: mostCounted}
	}
	if n := proto.Size(encodeWear(w)); n > 300 {
		t.Errorf("it takes %d bytes", n)
	}
}

func TestWhatCantBeOfWearIsNotBelieved(t *testing.T) {
	all := uint64(math.MaxUint64)
	pb := &wirepb.Wear{
		Device: strings.Repeat("x", 1000), Model: "a\x1b[31mb\nc\xff", Medium: 99, Source: -1, Spare: 77, Power: 78,
		All: &wirepb.WearDay{Seconds: all, WrittenBytes: all, StoredBytes: all}, LifeUsed: math.MaxUint32,
		CardMillikelvin: math.MaxUint32, Millikelvin: math.MaxUint32,
	}
	for range 100 {
		pb.Days = append(pb.Days, &wirepb.WearDay{Seconds: all, WrittenBytes: all, StoredBytes: all})
	}
	w := decodeWear(pb)
	if len(w.Device) != maxHeartbeatText || w.Model != "a[31mbc" || w.Medium != "" || w.Source != "" || w.Spare != "" || w.Power != "" {
		t.Errorf("texts and words: %+v", w)
	}
	if w.Running != longest || w.Written != mostCounted || w.LifeUsed != raid.LifeExceeded || w.CardHeat != 0 || w.Heat != 0 {
		t.Errorf("numbers: %+v", w)
	}
	w.Source = raid.WearOfDevice
	if sum := w.Lately(); sum.Running != raid.WearDays*longestDay || sum.Written <= 0 || sum.Stored <= 0 {
		t.Errorf("all days are %+v", sum)
	}
	if n, known := w.PerDay(); !known || n <= 0 {
		t.Errorf("%d bytes a day, known %v", n, known)
	}
	hole := decodeWear(&wirepb.Wear{Days: []*wirepb.WearDay{{Seconds: 5, WrittenBytes: 6}, {WrittenBytes: 9}, {Seconds: 7}}})
	if hole.Days != [raid.WearDays]raid.WearDay{{Running: 5 * time.Second, Written: 6}} {
		t.Errorf("a day without a time: %+v", hole.Days)
	}
}
