package raid

import "time"

// Event is something that happened to the array and that a person may want to know
// later.
type Event struct {
	Seq    int64     // from 1, rising; gaps are fine. 0: not kept yet
	At     time.Time // by the controller's clock; for people, never for decisions
	Kind   EventKind
	Node   NodeID // that it is about; empty: none
	File   FileID // that it is about; 0: none
	Text   string // what happened, to what; one line for a person, without a full stop
	Advice string // what to do about it; empty: nothing
}

// EventKind names what kind of thing an event is: lower-case words with "-" between,
// for programs.
type EventKind string

// The kinds of events.
const (
	NodeJoined   EventKind = "node-joined"
	NodeUp       EventKind = "node-up"
	NodeDown     EventKind = "node-down"
	NodeLost     EventKind = "node-lost"    // away for longer than grace
	NodeRemoved  EventKind = "node-removed" // for good
	NodeClone    EventKind = "node-clone"   // two programs say that they are it
	NodeAccused  EventKind = "node-accused" // it does what no sound node does
	HealBegan    EventKind = "heal-began"   // copies are being made again
	HealEnded    EventKind = "heal-ended"   // summed up
	HealBlocked  EventKind = "heal-blocked" // it can't go on until a person acts
	ChunkBad     EventKind = "chunk-bad"    // a copy is missing or rotten
	FileLost     EventKind = "file-lost"    // some part has no good copy any more
	CopiesMoved  EventKind = "copies-moved" // summed up
	ScrubBegan   EventKind = "scrub-began"
	ScrubEnded   EventKind = "scrub-ended" // summed up
	DrainBegan   EventKind = "drain-began"
	DrainEnded   EventKind = "drain-ended"   // the node holds nothing any more
	DiskFull     EventKind = "disk-full"     // or nearly
	DiskReadOnly EventKind = "disk-readonly" // it takes no writes
	TrashEmptied EventKind = "trash-emptied" // before its time, or by a person
	TokenMade    EventKind = "token-made"
	LoginFailed  EventKind = "login-failed" // summed up
	Upgraded     EventKind = "upgraded"     // another version of a program runs
)

// Tell takes note of an event. It does not wait for a disk, may be called concurrently,
// and sets Seq and At itself.
type Tell func(Event)
