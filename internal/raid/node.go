package raid

import "time"

// NodeKind tells ours from the assignment's.
type NodeKind string

// The kinds of node.
const (
	Native NodeKind = "native"
	Lab    NodeKind = "lab"
)

// NodeState is the controller's opinion of a node.
type NodeState string

// The states of a node. Suspect: silent for longer than its heartbeats allow,
// or not answering; it gets nothing new while others can take it.
const (
	Up       NodeState = "up"
	Suspect  NodeState = "suspect"
	Down     NodeState = "down"
	Draining NodeState = "draining"
)

// IsThere reports whether what is on the node can be read now.
func (n NodeInfo) IsThere() bool { return n.State == Up || n.State == Draining }

// IsCountedOn reports whether a copy on the node is counted on when another is to go.
// A lab node promises nothing, and one that drains is going itself.
func (n NodeInfo) IsCountedOn() bool { return n.Kind == Native && n.State == Up }

// NearlyFull reports whether nine tenths of a node's disk are in use, with what is in
// reserve.
func NearlyFull(free, total int64) bool { return total > 0 && free <= total/10 }

// NodeInfo is one row of the controller's view of its nodes.
type NodeInfo struct {
	ID         NodeID
	Name       string // host name of a node that has joined; for people
	Kind       NodeKind
	State      NodeState
	Address    string
	Zone       string
	TotalBytes int64 // at most what it showed at joining, or what was accepted since
	FreeBytes  int64 // beyond the node's reserve, and at most what TotalBytes leaves
	// The node says this of itself, and nobody has accepted it: a zone other than Zone,
	// and a size of its disk well above TotalBytes. Empty and 0: nothing of the kind.
	ProposedZone string
	ClaimedBytes int64
	Chunks       int64
	Version      string
	ReadOnly     bool
	Bad          int64     // chunks that it has found corrupt and that are still there
	Scrub        Scrub     // how far it is with reading all its chunks, while it is there
	Scrubbed     ScrubNote // when it last had read them all
	TrashChunks  int64
	TrashBytes   int64         // part of FreeBytes
	DiskStall    time.Duration // how long its disk has not answered; 0: it does
	Wear         Wear          // of its disk and its machine, as it told last
	Relocation
	Drain   string        // what it waits for while it drains or is replaced, for people; empty: it does neither
	Problem string        // what it does that no sound node does, for people; empty: nothing
	Silent  time.Duration // since the last sign of life; meaningless when never seen
	Seen    bool          // has been seen by this run of the controller
	// Recalled is the time at which an earlier run saw it last, in UTC, YYYY-MM-DD HH:MM:SS.
	// Sizes, Chunks and Version are as that run noted them. Empty: this run has seen it.
	Recalled string
	LastSeen time.Time // by the controller's clock; for people, never for decisions
}
