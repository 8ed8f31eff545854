package scrub

import (
	"encoding/json"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

// record is a node's account of its scrub: one line of JSON, a space and the CRC-32C of the JSON in
// eight hexadecimal digits. Times are seconds of the node's running time.
type record struct {
	Disk   string `json:"disk"`   // whose chunks they are; another disk's record says nothing
	Clock  int64  `json:"clock"`  // how long the node has run
	Closed bool   `json:"closed"` // Clock is that of the end of a life

	// What the controller has told last.
	Told   bool  `json:"told"`
	Every  int64 `json:"every"` // seconds; 0: no pass begins by itself
	Paused bool  `json:"paused"`

	Pass    int64          `json:"pass"`               // the one under way, or the next
	Running bool           `json:"running"`            // it is under way, though it may be paused
	Began   int64          `json:"began"`              // it, or the last one
	BeganAt int64          `json:"began_at,omitempty"` // seconds since 1970, for people
	After   raid.ChunkName `json:"after,omitempty"`    // the last name that was checked
	Chunks  int64          `json:"chunks"`             // checked so far
	Bytes   int64          `json:"bytes"`
	Bad     int64          `json:"bad"`

	Last ended `json:"last"`
}

// ended is a pass that came to its end.
type ended struct {
	Number  int64 `json:"number"` // 0: none yet
	Began   int64 `json:"began"`
	BeganAt int64 `json:"began_at,omitempty"`
	Ended   int64 `json:"ended"`
	Chunks  int64 `json:"chunks"`
	Bytes   int64 `json:"bytes"`
	Bad     int64 `json:"bad"`
}

// most bounds all numbers of a record: 2^53, which no JSON reader rounds.
const most = 1 << 53

func (r *record) format() string {
	b, err := json.Marshal(r)
	if err != nil { // it has numbers, flags and texts alone
		panic(fmt.Sprintf("write the record of the scrub: %v", err))
	}
	return raid.SealLine(string(b))
}

// parseRecord reads what format writes. It fails with raid.ErrCorrupt.
func parseRecord(text string) (*record, error) {
	line, err := raid.OpenLine(text)
	if err != nil {
		return nil, fmt.Errorf("read the record of the scrub: %w", err)
	}
	var r record
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		return nil, fmt.Errorf("read the record of the scrub: %w: %w", raid.ErrCorrupt, err)
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("read the record of the scrub: %w: %w", raid.ErrCorrupt, err)
	}
	return &r, nil
}

// check refuses what no program of ours writes.
func (r *record) check() error {
	for _, n := range []int64{
		r.Clock, r.Every, r.Pass, r.Began, r.BeganAt, r.Chunks, r.Bytes, r.Bad,
		r.Last.Number, r.Last.Began, r.Last.BeganAt, r.Last.Ended, r.Last.Chunks, r.Last.Bytes, r.Last.Bad,
	} {
		if n < 0 || n > most {
			return fmt.Errorf("%d is no such number", n)
		}
	}
	if r.Began > r.Clock || r.Last.Ended > r.Clock || r.Last.Began > r.Last.Ended {
		return fmt.Errorf("something happened after the %d s that the node has run", r.Clock)
	}
	if r.After != "" {
		if _, err := raid.ParseChunkName(r.After); err != nil {
			return fmt.Errorf("%.40q is no chunk's name", r.After)
		}
	}
	return nil
}
