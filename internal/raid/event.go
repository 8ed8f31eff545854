package raid

import (
	"strconv"
	"time"
)

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
	DrainStopped EventKind = "drain-stopped" // by a person
	DiskFull     EventKind = "disk-full"     // or nearly
	DiskReadOnly EventKind = "disk-readonly" // it takes no writes
	DiskStalled  EventKind = "disk-stalled"  // it does not answer
	DiskGood     EventKind = "disk-good"     // it was full, read-only or stalled, and is not any more
	DiskWorn     EventKind = "disk-worn"     // it says that it comes to the end of its life
	UnderVoltage EventKind = "under-voltage" // a Pi gets too little voltage, which spoils cards
	TrashEmptied EventKind = "trash-emptied" // before its time, or by a person
	TokenMade    EventKind = "token-made"
	TokenRevoked EventKind = "token-revoked"
	LoginFailed  EventKind = "login-failed" // summed up
	Upgraded     EventKind = "upgraded"     // another version of a program runs

	CatalogBehind  EventKind = "catalog-behind"  // it is older than what nodes have seen
	CatalogDamaged EventKind = "catalog-damaged" // its bytes are not what was written
	CertificateBad EventKind = "certificate-bad" // it could not be made anew
	EventsLost     EventKind = "events-lost"     // events that could not be kept
)

// IsGrave reports whether a person must learn of an event of this kind at once, and
// rather than of others.
func (k EventKind) IsGrave() bool {
	switch k {
	case FileLost, HealBlocked, CatalogBehind, CatalogDamaged, DiskReadOnly, DiskWorn, NodeLost, NodeRemoved:
		return true
	}
	return false
}

// Tell takes note of an event. It does not wait for a disk, may be called concurrently,
// and sets Seq and At itself.
type Tell func(Event)

// EventRecord is an event in JSON, for REST and for the program that gets each event.
type EventRecord struct {
	Seq    int64     `json:"seq"`
	At     string    `json:"at"` // UTC, YYYY-MM-DD HH:MM:SS
	Kind   EventKind `json:"kind"`
	Node   NodeID    `json:"node"` // empty: none
	File   *FileID   `json:"file"` // nil: none
	Text   string    `json:"text"`
	Advice string    `json:"advice"` // empty: nothing is to be done
}

// Record is the event as JSON has it.
func (e Event) Record() EventRecord {
	r := EventRecord{Seq: e.Seq, At: e.At.UTC().Format(time.DateTime), Kind: e.Kind, Node: e.Node, Text: e.Text, Advice: e.Advice}
	if e.File != 0 {
		r.File = &e.File
	}
	return r
}

// maxQuoted is the number of a name's characters that a sentence quotes.
const maxQuoted = 60

// Quoted returns a name as a sentence shows it. A stranger may have chosen the name, such as a
// file's. So it stands in quotes, with escapes for what could not be shown, and is cut when it is
// long.
func Quoted(name string) string {
	if r := []rune(name); len(r) > maxQuoted {
		name = string(r[:maxQuoted-1]) + "…"
	}
	return strconv.Quote(name)
}
