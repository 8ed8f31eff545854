package raid

import "time"

// ScrubState says what a node's scrub does.
type ScrubState string

// The states of a scrub. The empty one is that of a node that has none, or of which it
// is not known.
const (
	ScrubRunning ScrubState = "running"
	ScrubPaused  ScrubState = "paused"  // by a person, until it is started
	ScrubWaiting ScrubState = "waiting" // until the next pass is due
)

// Scrub says how far a node has read all its chunks. One reading of all of them is a pass. Times
// are of the node's own running time: while it is off nothing passes.
type Scrub struct {
	State ScrubState
	Pass  int64 // which one is under way, or comes next; from 1
	// Of the pass under way: what was read, and of how much, as far as it can be told.
	Chunks, Bytes     int64
	OfChunks, OfBytes int64
	Bad               int64         // bad chunks that it found
	BytesPerSecond    int64         // lately; 0: it reads nothing
	Left              time.Duration // until its end; negative: it can't be told
	Next              time.Duration // until the next pass is due; 0 while one is under way
	Last              ScrubPass     // the last one that came to its end
	Read              int64         // bytes read since the node's start
}

// ScrubPass is one reading of all chunks of a node.
type ScrubPass struct {
	Number             int64         // from 1; 0: none came to its end yet
	Began, Ended       time.Duration // ago
	BeganAt            int64         // by the node's clock, in seconds since 1970; for people
	Chunks, Bytes, Bad int64
}

// ScrubOrder tells a node what the controller wants of its scrub.
type ScrubOrder struct {
	Every  time.Duration // from the beginning of a pass to that of the next; 0: none begins by itself
	Paused bool
	Keep   time.Duration // how long bad chunks stay in the node's trash; 0: not at all
}
