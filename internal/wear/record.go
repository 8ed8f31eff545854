package wear

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// record is a node's account of what was written: a line of JSON, as raid.SealLine has it.
type record struct {
	Disk   string          `json:"disk"`             // of the node: what was counted is of this one
	Card   string          `json:"card,omitempty"`   // its maker's number; empty: not known
	Source raid.WearSource `json:"source,omitempty"` // whose writes were counted
	All    counts          `json:"all"`
	Days   []counts        `json:"days"` // the newest first, which is under way
}

// counts are of some time of the node's running.
type counts struct {
	Seconds int64 `json:"seconds"`
	Written int64 `json:"written"` // bytes
	Stored  int64 `json:"stored"`  // bytes
}

// countsOf rounds times up, so that no bytes are without one.
func countsOf(d raid.WearDay) counts {
	return counts{Seconds: int64((d.Running + time.Second - 1) / time.Second), Written: d.Written, Stored: d.Stored}
}

func (c counts) day() raid.WearDay {
	return raid.WearDay{Running: time.Duration(c.Seconds) * time.Second, Written: c.Written, Stored: c.Stored}
}

const (
	// most bounds all counts of bytes: 2^53, which no JSON reader rounds.
	most = 1 << 53
	// longestRun bounds all times: a hundred years.
	longestRun = 100 * 365 * 24 * time.Hour
	// longestDay bounds what counts as one day: a process that was stopped for long knows
	// no better.
	longestDay = 365 * 24 * time.Hour
)

func (r *record) format() string {
	b, err := json.Marshal(r)
	if err != nil { // it has numbers and texts alone
		panic(fmt.Sprintf("write the record of what was written: %v", err))
	}
	return raid.SealLine(string(b))
}

// parseRecord reads what format writes. It fails with raid.ErrCorrupt.
func parseRecord(text string) (*record, error) {
	line, err := raid.OpenLine(text)
	if err != nil {
		return nil, fmt.Errorf("read the record of what was written: %w", err)
	}
	var r record
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		return nil, fmt.Errorf("read the record of what was written: %w: %w", raid.ErrCorrupt, err)
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("read the record of what was written: %w: %w", raid.ErrCorrupt, err)
	}
	return &r, nil
}

// check refuses what no program of ours writes.
func (r *record) check() error {
	if len(r.Days) > raid.WearDays {
		return fmt.Errorf("%d days are too many", len(r.Days))
	}
	for i, c := range append([]counts{r.All}, r.Days...) {
		longest := 2 * longestDay
		if i == 0 {
			longest = longestRun
		}
		if c.Seconds < 0 || c.Seconds > int64(longest/time.Second) || c.Written < 0 || c.Written > most || c.Stored < 0 || c.Stored > most {
			return fmt.Errorf("%+v can't be", c)
		}
	}
	return nil
}
