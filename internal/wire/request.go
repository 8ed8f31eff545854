package wire

import (
	"time"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/raid"
)

// maxNames bounds the names of one delete or trash request. maxListed bounds those of a list
// answer, maxDescribed those of one that describes them, and maxInspected the trailers of one
// answer. The last three must stay below maxResponse.
const (
	maxNames     = 1000
	maxListed    = 400
	maxDescribed = 250
	maxInspected = 64
)

// StoreRequest asks a node to keep a chunk. Its name is Meta.Key's.
type StoreRequest struct {
	Meta    raid.ChunkMeta
	Payload []byte // len == Meta.Length
}

// GetRequest asks a node for whole blocks of a chunk.
type GetRequest struct {
	Name raid.ChunkName
	// Offset and Length are in bytes, multiples of raid.BlockSize but that the
	// range may end at the payload's end.
	Offset, Length int64
	ExpectLength   int64  // of the whole payload, from the catalog
	ExpectCRC      uint32 // CRC-32C of the whole payload, from the catalog
	Dst            []byte // len == Length; filled when Get succeeds
	// Unchecked asks for the bytes as they lie on the node's disk, which may be
	// rotten, or in a chunk whose trailer is. The result then has no Blocks. A node
	// that does not know this refuses rotten bytes with raid.ErrCorrupt.
	Unchecked bool
}

// GetResult describes the chunk that a Get came from. The caller combines the
// blocks' checksums, compares them with the catalog's and checks Dst.
type GetResult struct {
	Length int64    // of the whole payload
	Blocks []uint32 // CRC-32C of each raid.BlockSize bytes of the whole payload
}

// ListRequest asks for the names that a node holds.
type ListRequest struct {
	After          raid.ChunkName // empty: from the start
	Limit          int            // at most 400; 0 means 400
	MinRun, MaxRun uint32         // of uploads with MinRun <= run < MaxRun
	describe       bool           // see Session.Describe
}

// Heartbeat is a node's heartbeat.
type Heartbeat struct {
	TotalBytes    int64
	FreeBytes     int64 // beyond the node's reserve
	Chunks        int64
	HighestCommit uint64 // highest catalog commit number that the node has seen
	FoundCommit   uint64 // highest that lay on the disk at the node's start, as far as it was read
	// Proven and FoundProven are the same of those numbers alone that came with a MAC.
	Proven, FoundProven raid.Commit
	Scanned             bool // FoundCommit covers every trailer on the disk
	ReadOnly            bool
	Draining            bool
	Zone                string
	Version             string
	TrashChunks         int64
	TrashBytes          int64 // part of FreeBytes
	// DiskStall is the time for which the node's disk has not answered; 0 while it does.
	DiskStall time.Duration
	Name      string // the machine's host name
	Bad       int64  // chunks that were found corrupt and are still there
	Scrub     raid.Scrub
	Wear      raid.Wear // the zero value: the node does not tell
}

// NodeGet is a Get as the node's handler sees it. Offset and Length lie within
// ExpectLength and on block borders, as GetRequest says.
type NodeGet struct {
	Name           raid.ChunkName
	Offset, Length int64
	ExpectLength   int64
	ExpectCRC      uint32
	Unchecked      bool // the chunk's checksums are neither checked nor wanted
}

// NodeChunk is the handler's answer to a NodeGet.
type NodeChunk struct {
	Length  int64          // of the whole payload
	Blocks  []uint32       // of the whole payload; none for an Unchecked Get
	Payload *budget.Buffer // the bytes asked for; the Link releases it. Nil when none were
}
