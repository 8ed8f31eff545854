package raid

import (
	"fmt"
	"strings"
	"time"
)

// Medium is the kind of a node's disk, as far as the kernel tells.
type Medium string

// The media. The empty one is not known.
const (
	MediumSD     Medium = "sd"     // an SD card
	MediumEMMC   Medium = "emmc"   // flash that is soldered on, or a module
	MediumNVMe   Medium = "nvme"   // a solid-state disk on PCI Express
	MediumDisk   Medium = "disk"   // any other disk, such as one on USB
	MediumMemory Medium = "memory" // it wears nothing, and forgets all
)

// WearSource says whose writes are counted.
type WearSource string

// The sources. The empty one: writes are not counted, as nothing can be told of the disk.
const (
	WearOfDevice  WearSource = "device"  // all that the machine writes to the disk
	WearOfService WearSource = "service" // what raid-node alone has written
)

// SpareState says how much is left of the blocks that a card has in reserve.
type SpareState string

// The states, as JEDEC's eMMC standard has them. The empty one: the card does not tell.
const (
	SpareNormal SpareState = "normal"
	SpareLow    SpareState = "low"    // four fifths are used up
	SpareUrgent SpareState = "urgent" // nine tenths are: it fails soon
)

// PowerState is whether a Pi gets enough voltage.
type PowerState string

// The states of power. The empty one: the machine does not tell.
const (
	PowerGood   PowerState = "good"
	PowerWasLow PowerState = "was-low" // at some time since raid-node's start
	PowerLow    PowerState = "low"     // now
)

// WearDays is the number of days that a node tells of: the one under way, and whole ones before it.
const WearDays = 8

// LifeExceeded is Wear.LifeUsed of a card that has lived longer than it was made for.
const LifeExceeded = 101

// Wear says how far a node's disk is used up, and how its machine does. Days are of the node's own
// running time: while it is off nothing passes, and no clock is asked.
type Wear struct {
	Device string // as the kernel calls it, such as "mmcblk0"; empty: not known
	Medium Medium
	Model  string // as the maker calls it; empty: not known
	Source WearSource

	// Since it was first counted on this disk.
	Running         time.Duration
	Written, Stored int64 // bytes written, and bytes of chunks that were stored

	Days [WearDays]WearDay // the newest first, which is under way

	LifeUsed int // percent, rounded up to tens; LifeExceeded: more than all; 0: the card does not tell
	Spare    SpareState

	CardHeat Heat // of the disk
	Heat     Heat // of the machine
	Power    PowerState
}

// WearDay is a day of a node's running time.
type WearDay struct {
	Running         time.Duration // of it; 0: there was none
	Written, Stored int64         // bytes
}

// Heat is a temperature in thousandths of a kelvin; 0: not known.
type Heat uint32

// zeroCelsius is 0 °C.
const zeroCelsius Heat = 273_150

// maxHeat is more than any sensor of a machine shows.
const maxHeat = 1_000_000

// HeatOf is the temperature of so many thousandths of a degree Celsius; one that can't be
// is not known.
func HeatOf(milliCelsius int64) Heat {
	if milliCelsius <= -int64(zeroCelsius) || milliCelsius > maxHeat-int64(zeroCelsius) {
		return 0
	}
	return Heat(milliCelsius + int64(zeroCelsius))
}

// Celsius is the temperature in degrees Celsius; known says whether it is one.
func (h Heat) Celsius() (degrees float64, known bool) {
	return (float64(h) - float64(zeroCelsius)) / 1000, h > 0 && h <= maxHeat
}

// Lately sums the days up that a node tells of.
func (w Wear) Lately() (sum WearDay) {
	for _, d := range w.Days {
		sum.Running += d.Running
		sum.Written += d.Written
		sum.Stored += d.Stored
	}
	return sum
}

const (
	day = 24 * time.Hour
	// fewest is the time from which on a day's writes are told.
	fewest = time.Hour
	// least is the number of bytes stored from which on it is told what each costs. With less, the
	// count is mostly of the machine's own log.
	least = 1 << 20
)

// PerDay returns the bytes written in a day of running, lately. known is false while that can't be
// told.
func (w Wear) PerDay() (bytes int64, known bool) {
	sum := w.Lately()
	if w.Source == "" || sum.Running < fewest {
		return 0, false
	}
	return int64(float64(sum.Written) / float64(sum.Running) * float64(day)), true
}

// PerByte returns the bytes written for each byte of a chunk stored, lately. known is false when
// that can't be told.
func (w Wear) PerByte() (bytes float64, known bool) {
	sum := w.Lately()
	if w.Source == "" || sum.Stored < least {
		return 0, false
	}
	return float64(sum.Written) / float64(sum.Stored), true
}

// wornAt is the percentage of its life from which on a card is worn.
const wornAt = 90

// IsWorn reports whether the disk should be replaced soon.
func (w Wear) IsWorn() bool { return w.Spare == SpareUrgent || w.LifeUsed >= wornAt }

// Worn says in a person's words how worn the disk is. An example: "nine tenths of its spare blocks
// are used up". It is empty when the disk does not tell.
func (w Wear) Worn() string {
	var said []string
	switch {
	case w.LifeUsed >= LifeExceeded:
		said = append(said, "it has lived longer than it was made for")
	case w.LifeUsed > 0:
		said = append(said, fmt.Sprintf("up to %d %% of its life are used up", w.LifeUsed))
	}
	switch w.Spare {
	case SpareUrgent:
		said = append(said, "nine tenths of its spare blocks are used up")
	case SpareLow:
		said = append(said, "four fifths of its spare blocks are used up")
	}
	return strings.Join(said, ", and ")
}

// Disk names the disk for a person, as "SD card SN64G (mmcblk0)"; empty when nothing is
// known of it.
func (w Wear) Disk() string {
	name := map[Medium]string{
		MediumSD: "SD card", MediumEMMC: "eMMC", MediumNVMe: "NVMe disk", MediumDisk: "disk", MediumMemory: "memory",
	}[w.Medium]
	if w.Model != "" {
		name = strings.TrimSpace(name + " " + w.Model)
	}
	if w.Device != "" {
		name = strings.TrimSpace(name + " (" + w.Device + ")")
	}
	return name
}
