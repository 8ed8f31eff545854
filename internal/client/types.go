package client

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

// File is a stored file's record.
type File struct {
	ID          raid.FileID `json:"id"`
	Filename    string      `json:"filename"`
	Size        int64       `json:"size"` // bytes
	ContentType string      `json:"content_type"`
	Created     string      `json:"created"` // UTC, YYYY-MM-DD HH:MM:SS
	SHA256      string      `json:"sha256"`  // hexadecimal
	Stripes     int64       `json:"stripes"`
	Degraded    bool        `json:"degraded"` // fewer good copies on distinct nodes than there should be
	Lab         bool        `json:"lab"`      // some copy rests on a lab node
	Verified    string      `json:"verified"` // when all copies were last known to be whole, UTC; empty in listings
	// Parts has, for each part of the level, the names of its chunks, separated by commas.
	Parts []string `json:"-"`
}

// record is a File without the fields of its parts.
type record File

// UnmarshalJSON reads a record with as many fields part1_filenames, part2_filenames and so
// on as the level has parts.
func (f *File) UnmarshalJSON(text []byte) error {
	if err := json.Unmarshal(text, (*record)(f)); err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		return err
	}
	f.Parts = nil
	for {
		raw, found := fields[partField(len(f.Parts))]
		if !found {
			return nil
		}
		var names string
		if err := json.Unmarshal(raw, &names); err != nil {
			return err
		}
		f.Parts = append(f.Parts, names)
	}
}

// MarshalJSON writes the record as the controller does.
func (f File) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(record(f)); err != nil {
		return nil, err
	}
	text := bytes.TrimSuffix(b.Bytes(), []byte("}\n"))
	for i, names := range f.Parts {
		quoted, err := json.Marshal(names)
		if err != nil {
			return nil, err
		}
		text = append(fmt.Appendf(text, ",%q:", partField(i)), quoted...)
	}
	return append(text, '}'), nil
}

// partField is the name of the field with a part's chunk names; parts count from 0 here.
func partField(part int) string { return fmt.Sprintf("part%d_filenames", part+1) }

// Node is one node of the array.
type Node struct {
	ID          raid.NodeID      `json:"id"`
	Name        string           `json:"name"` // host name, of one that has joined
	Kind        raid.NodeKind    `json:"kind"`
	State       raid.NodeState   `json:"state"`
	Address     string           `json:"address"`
	Zone        string           `json:"zone"`
	Proposed    string           `json:"proposed_zone"` // by the node itself; empty: nothing else
	TotalBytes  int64            `json:"total_bytes"`
	FreeBytes   int64            `json:"free_bytes"`    // beyond the node's reserve
	Claimed     int64            `json:"claimed_bytes"` // of a larger disk that nobody has accepted; 0: none
	Chunks      int64            `json:"chunks"`
	Version     string           `json:"version"`
	ReadOnly    bool             `json:"read_only"`
	TrashChunks int64            `json:"trash_chunks"`
	TrashBytes  int64            `json:"trash_bytes"` // part of FreeBytes
	Wear        *Wear            `json:"wear"`        // of its disk; nil: it does not tell
	Temperature *float64         `json:"temperature"` // of the machine, in degrees Celsius; nil: it does not tell
	Power       *raid.PowerState `json:"power"`       // nil: the machine does not tell
	Draining    bool             `json:"draining"`    // a person wants it to hold nothing
	Drain       string           `json:"drain"`       // what it waits for while it drains or is replaced; empty: it does neither
	Replaced    bool             `json:"replaced"`    // another node takes its place
	Successor   raid.NodeID      `json:"successor"`   // that node; empty: it has not joined yet
	BadChunks   int64            `json:"bad_chunks"`  // that it has found corrupt and that are still there
	LastScrub   *string          `json:"last_scrub"`  // when it last began to read all its chunks and got through, UTC; nil: never
	Problem     string           `json:"problem"`     // what it does that no sound node does; empty: nothing
	LastSeen    *string          `json:"last_seen"`   // UTC; nil when it was never seen
	Recalled    bool             `json:"recalled"`    // an earlier run of the controller saw it so
}

// Wear says how far the disk of a node is used up. Days are of the node's own running time.
type Wear struct {
	Device  string          `json:"device"` // as the kernel calls it; empty: not known
	Medium  raid.Medium     `json:"medium"`
	Model   string          `json:"model"`
	Counted raid.WearSource `json:"counted"`
	WearCounts
	PerDay   *int64          `json:"bytes_per_day"`      // written lately; nil: it can't be told
	PerByte  *float64        `json:"written_per_stored"` // the same, for each byte of a chunk stored
	Days     []WearCounts    `json:"days"`               // the newest first, which is under way
	LifeUsed *int            `json:"life_used"`          // percent, rounded up to tens; 101: more than all; nil: the disk does not tell
	Spare    raid.SpareState `json:"spare"`
	Celsius  *float64        `json:"disk_temperature"` // nil: the disk does not tell
	Worn     bool            `json:"worn"`             // it should be replaced soon
}

// WearCounts are of a time of a node's running.
type WearCounts struct {
	Seconds int64 `json:"seconds"`
	Written int64 `json:"written_bytes"`
	Stored  int64 `json:"stored_bytes"` // of chunks
}

// NodeDetail is one node, with what rests on it.
type NodeDetail struct {
	Node
	Lost   bool   `json:"lost"`  // away for longer than grace
	Files  int64  `json:"files"` // of which some part has a good copy on it
	Unplug Unplug `json:"unplug"`
}

// Unplug says whether a node may be taken off now.
type Unplug struct {
	Node             raid.NodeID `json:"node"`
	Safe             bool        `json:"safe"`
	Text             string      `json:"text"`              // for people
	UnreadableFiles  int64       `json:"unreadable_files"`  // with those that are so already
	UnprotectedFiles int64       `json:"unprotected_files"` // which have one good copy of some part; the same
	AtMost           bool        `json:"at_most"`           // both are upper bounds
	Uploads          int         `json:"uploads"`           // under way, that would fail
	WaitFor          string      `json:"wait_for"`          // what must come first; empty when it is safe
	Seconds          int64       `json:"seconds"`           // about how long that takes; -1: it can't be told
}

// Status describes the state of the array.
type Status struct {
	Array         raid.ArrayID `json:"array"`
	Version       string       `json:"version"` // of the controller
	Ready         bool         `json:"ready"`   // files can be stored, and all be read
	Message       string       `json:"message"` // what is not as it should be; empty when all is well
	Health        raid.Health  `json:"health"`
	HealthText    string       `json:"health_text"` // why; empty when all is well
	UptimeSeconds int64        `json:"uptime_seconds"`
	Nodes         NodeCounts   `json:"nodes"`
	TotalBytes    int64        `json:"total_bytes"`
	FreeBytes     int64        `json:"free_bytes"`
	RoomBytes     *int64       `json:"room_bytes"` // that files can still take; nil: an older controller does not say
	Files         int64        `json:"files"`
	FileBytes     int64        `json:"file_bytes"`
	DegradedFiles int64        `json:"degraded_files"`
	Trash         *TrashTotals `json:"trash"` // nil: an older controller has none
	// Files with one good copy of some part on nodes that are there, and with none.
	FilesAtRisk     int64    `json:"files_at_risk"`
	FilesUnreadable int64    `json:"files_unreadable"`
	Healing         *Healing `json:"healing"`            // nil: an older controller does not say
	OldestVerified  string   `json:"oldest_verified"`    // every copy was read or stored since, UTC; empty without files
	Unexplained     *int64   `json:"unexplained_chunks"` // on nodes, which nothing explains; nil: not known yet
	RemovalsQueued  int64    `json:"removals_queued"`
	Commit          uint64   `json:"commit"`
	Transfers       int      `json:"transfers"`
	Clones          []Clone  `json:"clones"`
	Proposals       []string `json:"proposals"` // of nodes: what somebody may accept
	Warnings        []string `json:"warnings"`  // of the configuration, such as open doors
}

// Healing counts what is left of healing: making copies again, moving them, and removing surplus
// ones.
type Healing struct {
	PartsLeft      int64  `json:"parts_left"`
	BytesLeft      int64  `json:"bytes_left"`
	BytesPerSecond int64  `json:"bytes_per_second"`
	SecondsLeft    int64  `json:"seconds_left"` // -1: it can't be told
	BlockedBy      string `json:"blocked_by"`   // empty: it goes on, or nothing is left
}

// Clone is a machine that is refused because another one with its node id is
// connected.
type Clone struct {
	Node        raid.NodeID `json:"node"`
	Address     string      `json:"address"`
	LastRefused string      `json:"last_refused"` // UTC
}

// NodeCounts counts the nodes in each state; lab peers count in their state and in Lab.
type NodeCounts struct {
	Up       int `json:"up"`
	Suspect  int `json:"suspect"`
	Down     int `json:"down"`
	Draining int `json:"draining"`
	Lab      int `json:"lab"`
}
