package raid

import (
	"errors"
	"testing"
	"time"
)

func TestWhatIsWrittenInADayAndForAByte(t *testing.T) {
	w := Wear{Source: WearOfDevice}
	w.Days[0] = WearDay{Running: 30 * time.Minute, Written: 3 << 20, Stored: 1<<20 - 1}
	if _, known := w.PerDay(); known {
		t.Error("half an hour says what a day will be")
	}
	if _, known := w.PerByte(); known {
		t.Error("a few bytes say what each costs")
	}
	w.Days[1] = WearDay{Running: 90 * time.Minute, Written: 1 << 20, Stored: 1<<20 + 1}
	if n, known := w.PerDay(); !known || n != 48<<20 {
		t.Errorf("%d bytes a day, known %v", n, known)
	}
	if n, known := w.PerByte(); !known || n != 2 {
		t.Errorf("%v for each byte, known %v", n, known)
	}
	w.Source = ""
	_, day := w.PerDay()
	_, each := w.PerByte()
	if day || each {
		t.Error("what is not counted is known")
	}
}

func TestHowWornADiskIs(t *testing.T) {
	for _, c := range []struct {
		wear Wear
		worn bool
		want string
	}{
		{Wear{}, false, ""},
		{Wear{LifeUsed: 30, Spare: SpareNormal}, false, "up to 30 % of its life are used up"},
		{Wear{LifeUsed: 80, Spare: SpareLow}, false, "up to 80 % of its life are used up, and four fifths of its spare blocks are used up"},
		{Wear{LifeUsed: 90}, true, "up to 90 % of its life are used up"},
		{Wear{LifeUsed: LifeExceeded}, true, "it has lived longer than it was made for"},
		{Wear{Spare: SpareUrgent}, true, "nine tenths of its spare blocks are used up"},
	} {
		if got := c.wear.Worn(); got != c.want || c.wear.IsWorn() != c.worn {
			t.Errorf("%+v: worn %v, %q", c.wear, c.wear.IsWorn(), got)
		}
	}
}

func TestTheNameOfADisk(t *testing.T) {
	for want, w := range map[string]Wear{
		"":                        {},
		"SD card SN64G (mmcblk0)": {Device: "mmcblk0", Medium: MediumSD, Model: "SN64G"},
		"disk (sda)":              {Device: "sda", Medium: MediumDisk},
		"memory":                  {Medium: MediumMemory},
		"(vda)":                   {Device: "vda"},
	} {
		if got := w.Disk(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestTemperaturesThatCantBeAreNotKnown(t *testing.T) {
	for milli, want := range map[int64]float64{0: 0, 61_300: 61.3, -40_000: -40} {
		if got, known := HeatOf(milli).Celsius(); !known || got != want {
			t.Errorf("%d: %v, known %v", milli, got, known)
		}
	}
	for _, milli := range []int64{-273_150, -1 << 62, 1 << 62, 1_000_000} {
		if got, known := HeatOf(milli).Celsius(); known {
			t.Errorf("%d: %v", milli, got)
		}
	}
	if got, known := Heat(1 << 31).Celsius(); known {
		t.Errorf("%v", got)
	}
}

func TestALineWithItsChecksum(t *testing.T) {
	for _, line := range []string{"", "a line", " ", "{\"a\": 1} "} {
		text := SealLine(line)
		if got, err := OpenLine(text); err != nil || got != line {
			t.Errorf("%q reads as %q, %v", line, got, err)
		}
		for i := range text {
			b := []byte(text)
			b[i] ^= 1
			if _, err := OpenLine(string(b)); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%q with byte %d changed: %v", text, i, err)
			}
			if _, err := OpenLine(text[:i]); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%q cut after %d: %v", text, i, err)
			}
		}
	}
}
