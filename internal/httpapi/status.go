package httpapi

import (
	_ "embed"
	"fmt"
	"net/http"
	"time"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/raid"
)

// Status describes the array, for /status. The API fills in Version, Ready, Nodes and
// Transfers.
type Status struct {
	Array         raid.ArrayID `json:"array"`
	Version       string       `json:"version"`
	Impaired      bool         `json:"-"`           // some file can't be stored or read
	Ready         bool         `json:"ready"`       // not Impaired, and Config.Ready is nil
	Message       string       `json:"message"`     // what is not as it should be, for people; empty when all is well
	Health        raid.Health  `json:"health"`      // in one word
	HealthText    string       `json:"health_text"` // why, for people; empty when all is well
	UptimeSeconds int64        `json:"uptime_seconds"`
	Nodes         NodeCounts   `json:"nodes"`
	TotalBytes    int64        `json:"total_bytes"` // of the disks of native nodes that are up
	FreeBytes     int64        `json:"free_bytes"`  // of those, beyond their reserve
	RoomBytes     int64        `json:"room_bytes"`  // that files can still take, with their copies on as many nodes
	Files         int64        `json:"files"`
	FileBytes     int64        `json:"file_bytes"`
	DegradedFiles int64        `json:"degraded_files"`
	Trash         TrashTotals  `json:"trash"` // deleted files that can be put back; their room counts in RoomBytes
	// Files of which some part has one good copy on a node that is there, and such with
	// none. When thousands of ways are in use to spread files, they are upper bounds.
	FilesAtRisk     int64      `json:"files_at_risk"`
	FilesUnreadable int64      `json:"files_unreadable"`
	Healing         Healing    `json:"healing"`
	RemovalsQueued  int64      `json:"removals_queued"`    // chunks that still have to go from nodes
	OldestVerified  string     `json:"oldest_verified"`    // UTC: every copy was read or stored since; empty without files
	Unexplained     *int64     `json:"unexplained_chunks"` // on nodes that are there; nil while they are not compared yet
	Commit          uint64     `json:"commit"`             // the catalog's last durable commit number
	Transfers       int        `json:"transfers"`          // uploads and downloads under way
	Clones          []Clone    `json:"clones"`             // machines that are refused for their node ids
	Strangers       []Stranger `json:"strangers"`          // nodes of other arrays that knock here; what they say is not proved
	Proposals       []string   `json:"proposals"`          // of nodes, for people: what somebody may accept
	Warnings        []string   `json:"warnings"`           // of the configuration, for people: what it leaves open
}

// Healing says how far the array is with making copies again, moving them, and removing
// surplus ones.
type Healing struct {
	PartsLeft      int64  `json:"parts_left"` // an estimate while nodes are being looked through
	BytesLeft      int64  `json:"bytes_left"`
	BytesPerSecond int64  `json:"bytes_per_second"` // lately
	SecondsLeft    int64  `json:"seconds_left"`     // -1: it can't be told
	BlockedBy      string `json:"blocked_by"`       // why it does not go on and what would help, for people; empty: it does
}

// Stranger are the nodes of another array that knock here, and are not let in.
type Stranger struct {
	Array     raid.ArrayID `json:"array"`
	Nodes     int          `json:"nodes"`
	Addresses []string     `json:"addresses"`
}

// Clone is a machine that is refused because another one with its node id is
// connected: both run from copies of one disk.
type Clone struct {
	Node        raid.NodeID `json:"node"`
	Address     string      `json:"address"`
	LastRefused string      `json:"last_refused"` // UTC
}

// NodeCounts counts the nodes in each state. Lab peers count in their state
// and in Lab.
type NodeCounts struct {
	Up       int `json:"up"`
	Suspect  int `json:"suspect"`
	Down     int `json:"down"`
	Draining int `json:"draining"`
	Lab      int `json:"lab"`
}

// node is a raid.NodeInfo in /nodes.
type node struct {
	ID          raid.NodeID    `json:"id"`
	Name        string         `json:"name"` // the machine's, empty: not known
	Kind        raid.NodeKind  `json:"kind"`
	State       raid.NodeState `json:"state"`
	Address     string         `json:"address"`
	Zone        string         `json:"zone"`
	Proposed    string         `json:"proposed_zone"` // by the node itself; empty: nothing else
	TotalBytes  int64          `json:"total_bytes"`
	FreeBytes   int64          `json:"free_bytes"`
	Claimed     int64          `json:"claimed_bytes"` // of a larger disk that nobody has accepted; 0: none
	Chunks      int64          `json:"chunks"`
	Version     string         `json:"version"`
	ReadOnly    bool           `json:"read_only"`
	TrashChunks int64          `json:"trash_chunks"` // that wait to be unlinked
	TrashBytes  int64          `json:"trash_bytes"`  // part of free_bytes
	BadChunks   int64          `json:"bad_chunks"`   // that it has found corrupt and that are still there
	LastScrub   *string        `json:"last_scrub"`   // UTC, when it last began to read all its chunks and got through; null: never
	Wear        *wear          `json:"wear"`         // of its disk; null: it does not tell
	Temperature *float64       `json:"temperature"`  // of the machine, in degrees Celsius; null: it does not tell
	Power       *string        `json:"power"`        // good, was-low or low; null: the machine does not tell
	Draining    bool           `json:"draining"`     // a person wants it to hold nothing, also while its state is another
	Drain       string         `json:"drain"`        // what it waits for while it drains or is replaced, for people
	Replaced    bool           `json:"replaced"`     // another node takes its place
	Successor   raid.NodeID    `json:"successor"`    // that node; empty: it has not joined yet
	Problem     string         `json:"problem"`      // what it does that no sound node does, for people
	LastSeen    *string        `json:"last_seen"`    // UTC; null when it was never seen
	Recalled    bool           `json:"recalled"`     // an earlier run of the controller saw it so
}

func (a *API) nodes(x *exchange) error {
	infos := a.cfg.Nodes()
	list := make([]node, 0, len(infos))
	for _, n := range infos {
		list = append(list, rowOf(n))
	}
	return x.SendJSON(http.StatusOK, struct {
		Nodes []node `json:"nodes"`
	}{list})
}

func rowOf(n raid.NodeInfo) node {
	row := node{
		ID: n.ID, Name: n.Name, Kind: n.Kind, State: n.State, Address: n.Address, Zone: n.Zone, TotalBytes: n.TotalBytes,
		FreeBytes: n.FreeBytes, Chunks: n.Chunks, Version: n.Version, ReadOnly: n.ReadOnly,
		TrashChunks: n.TrashChunks, TrashBytes: n.TrashBytes, Problem: n.Problem,
		Proposed: n.ProposedZone, Claimed: n.ClaimedBytes, BadChunks: n.Bad,
		Draining: n.Draining, Drain: n.Drain, Replaced: n.Replaced, Successor: n.Successor,
		Wear: wearOf(n.Wear), Temperature: degrees(n.Wear.Heat),
	}
	if power := string(n.Wear.Power); power != "" {
		row.Power = &power
	}
	if n.Scrubbed.Pass > 0 {
		row.LastScrub = &n.Scrubbed.Began
	}
	if n.Recalled != "" {
		row.Recalled, row.LastSeen = true, &n.Recalled
	}
	if n.Seen {
		seen := n.LastSeen.UTC().Format(time.DateTime)
		row.LastSeen = &seen
	}
	return row
}

// NodeDetail is one node, with what rests on it.
type NodeDetail struct {
	Info   raid.NodeInfo
	Lost   bool  // away for longer than grace: its copies are made again elsewhere
	Files  int64 // of which some part has a good copy on it
	Unplug Unplug
}

// Unplug says whether a node may be taken off now.
type Unplug struct {
	Node raid.NodeID `json:"node"`
	Safe bool        `json:"safe"` // what can be read now still can, and no upload under way fails
	Text string      `json:"text"` // a person's answer
	// How many files would have no good copy of some part, or just one, on nodes that are
	// there. They count those that are so already.
	UnreadableFiles  int64  `json:"unreadable_files"`
	UnprotectedFiles int64  `json:"unprotected_files"`
	AtMost           bool   `json:"at_most"`  // both are upper bounds
	Uploads          int    `json:"uploads"`  // under way, that would fail
	WaitFor          string `json:"wait_for"` // what must come first; empty when it is safe
	Seconds          int64  `json:"seconds"`  // about how long that takes; -1: it can't be told
}

// showNode serves GET /nodes/{id}.
func (a *API) showNode(x *exchange) error {
	d, err := a.cfg.Node(x.Context(), raid.NodeID(x.id))
	if err != nil {
		return conflict(err)
	}
	return x.SendJSON(http.StatusOK, struct {
		node
		Lost   bool   `json:"lost"`
		Files  int64  `json:"files"`
		Unplug Unplug `json:"unplug"`
	}{rowOf(d.Info), d.Lost, d.Files, d.Unplug})
}

// unplug serves GET /nodes/{id}/unplug.
func (a *API) unplug(x *exchange) error {
	d, err := a.cfg.Node(x.Context(), raid.NodeID(x.id))
	if err != nil {
		return conflict(err)
	}
	return x.SendJSON(http.StatusOK, d.Unplug)
}

func (a *API) status(x *exchange) error {
	s, err := a.cfg.Status(x.Context())
	if err != nil {
		return err
	}
	s.Version, s.Transfers, s.Nodes = a.cfg.Version, a.transfers.InUse(), countNodes(a.cfg.Nodes())
	if s.Clones == nil {
		s.Clones = []Clone{}
	}
	if s.Strangers == nil {
		s.Strangers = []Stranger{}
	}
	if s.Proposals == nil {
		s.Proposals = []string{}
	}
	if s.Warnings == nil {
		s.Warnings = []string{}
	}
	if s.Health == "" {
		s.Health = raid.Healthy
	}
	err = a.cfg.Ready()
	s.Ready = err == nil && !s.Impaired
	if err != nil && s.Message == "" {
		s.Message = err.Error()
	}
	return x.SendJSON(http.StatusOK, s)
}

func countNodes(infos []raid.NodeInfo) (c NodeCounts) {
	for _, n := range infos {
		switch n.State {
		case raid.Up:
			c.Up++
		case raid.Suspect:
			c.Suspect++
		case raid.Draining:
			c.Draining++
		default:
			c.Down++
		}
		if n.Kind == raid.Lab {
			c.Lab++
		}
	}
	return c
}

// health is the answer of livez and readyz when all is well.
type health struct {
	Status string `json:"status"`
}

// livez says that the process answers at all.
func (a *API) livez(x *exchange) error { return x.SendJSON(http.StatusOK, health{"live"}) }

// readyz says whether files can be stored and read. Why not is for those alone who
// may read the status: strangers ask this too.
func (a *API) readyz(x *exchange) error {
	if err := a.cfg.Ready(); err != nil {
		answer := &httpserver.Error{Status: http.StatusServiceUnavailable, Message: "not ready", Cause: err}
		if a.permit(x, raid.ScopeRead) == nil {
			answer.Message = fmt.Sprintf("not ready: %v", err)
		}
		return answer
	}
	return x.SendJSON(http.StatusOK, health{"ready"})
}

//go:embed openapi.yaml
var openapiYAML []byte

// openapi serves the API's own description.
func (a *API) openapi(x *exchange) error {
	x.Header().Set("Content-Type", "application/yaml")
	_, err := x.Write(openapiYAML)
	return err
}
