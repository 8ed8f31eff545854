package httpapi

import (
	"math"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// wear is a raid.Wear in /nodes. Days are of the node's own running time.
type wear struct {
	Device  string          `json:"device"` // as the kernel calls it; empty: not known
	Medium  raid.Medium     `json:"medium"` // the same
	Model   string          `json:"model"`  // the same
	Counted raid.WearSource `json:"counted"`
	wearCounts
	PerDay   *int64          `json:"bytes_per_day"`      // written lately; null: it can't be told
	PerByte  *float64        `json:"written_per_stored"` // the same, for each byte of a chunk stored
	Days     []wearCounts    `json:"days"`               // the newest first, which is under way
	LifeUsed *int            `json:"life_used"`          // percent, rounded up to tens; 101: more than all; null: the disk does not tell
	Spare    raid.SpareState `json:"spare"`              // blocks; empty: the disk does not tell
	Celsius  *float64        `json:"disk_temperature"`   // null: the disk does not tell
	Worn     bool            `json:"worn"`               // it should be replaced soon
}

// wearCounts are of a time of the node's running.
type wearCounts struct {
	Seconds int64 `json:"seconds"`
	Written int64 `json:"written_bytes"`
	Stored  int64 `json:"stored_bytes"` // of chunks
}

func countsOf(d raid.WearDay) wearCounts {
	return wearCounts{Seconds: int64(d.Running / time.Second), Written: d.Written, Stored: d.Stored}
}

// wearOf is nil of a node that does not tell.
func wearOf(w raid.Wear) *wear {
	if w == (raid.Wear{}) {
		return nil
	}
	row := &wear{
		Device: w.Device, Medium: w.Medium, Model: w.Model, Counted: w.Source,
		wearCounts: countsOf(raid.WearDay{Running: w.Running, Written: w.Written, Stored: w.Stored}),
		Days:       []wearCounts{}, Spare: w.Spare, Celsius: degrees(w.CardHeat), Worn: w.IsWorn(),
	}
	if n, known := w.PerDay(); known {
		row.PerDay = &n
	}
	if n, known := w.PerByte(); known {
		row.PerByte = &n
	}
	for _, d := range w.Days {
		if d.Running <= 0 {
			break
		}
		row.Days = append(row.Days, countsOf(d))
	}
	if w.LifeUsed > 0 {
		row.LifeUsed = &w.LifeUsed
	}
	return row
}

// degrees are in tenths; nil: not known.
func degrees(h raid.Heat) *float64 {
	c, known := h.Celsius()
	if !known {
		return nil
	}
	c = math.Round(c*10) / 10
	return &c
}
