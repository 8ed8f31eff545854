package raid

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// File is a stored file as the catalog describes it.
type File struct {
	ID          FileID
	Upload      UploadID
	Filename    string
	ContentType string
	Created     string // UTC, YYYY-MM-DD HH:MM:SS
	Size        int64
	SHA256      [32]byte
	Level       string // "raid1"
	StripeSize  int64  // bytes of a full stripe
	Stripes     int64  // at least 1
	Degraded    bool   // some part has fewer good copies on distinct nodes than it should
	Lab         bool   // some copy rests on a lab node: neither fsynced nor addressable

	// PartNames are the chunk names of good copies of its parts, those of part 1 first.
	// There may be fewer lists than parts. Listings have none for files of several stripes.
	PartNames [][]ChunkName
}

// NamesOf are the chunk names of part number, from 1, as PartNames has them.
func (f *File) NamesOf(number int) []ChunkName {
	if number > len(f.PartNames) {
		return nil
	}
	return f.PartNames[number-1]
}

// Part is one part of one stripe with its copies.
type Part struct {
	Stripe int64  // from 0
	Number int    // from 1
	Length int64  // bytes of payload
	CRC    uint32 // CRC-32C of the payload
	Copies []Copy // by Index
}

// Copy is one copy of a part, as the catalog knows it.
type Copy struct {
	Index   int    // from 1 to the array's copies
	Attempt int    // from 1; names the chunk, see ChunkKey
	Node    NodeID // empty: on some lab peer; see NodeID.IsNative
	Bad     bool   // missing, corrupt or on a node that was removed
}

// Key is the identity of the chunk that holds copy c of part p.
func (p *Part) Key(u UploadID, c Copy) ChunkKey {
	return ChunkKey{Upload: u, Stripe: p.Stripe, Part: p.Number, Attempt: c.Attempt}
}

// Removal is a recorded decision that a chunk must go from a node.
type Removal struct {
	Node NodeID
	Key  ChunkKey
}

// Listed is a chunk that a node says it has.
type Listed struct {
	Name ChunkName
	// Described says that the node told more than the name: what follows.
	Described bool
	Length    int64  // bytes of payload, as the chunk's trailer says
	CRC       uint32 // CRC-32C of the payload, as the trailer's block checksums combine
	Err       error  // why neither is known; nil: they are
}

// Repair says that one copy of a part must be made again.
type Repair struct {
	File FileID
	Part Part // with all its copies
}

// Move says which copy of a part is to be made elsewhere.
type Move struct {
	Old Copy
	// Kept says that its chunk stays for now, so that nothing would be lost with the new copy. Then
	// only some of the new copy's bytes are read back, and not all.
	Kept bool
	// Wished says that the copy is good and its node there: another place is better.
	Wished bool
	// Even says that it is wished so that nodes hold the same share, and for no other reason.
	Even bool
	// Missing says whose copies count for nothing, as their nodes are lost; nil: nobody's.
	Missing func(NodeID) bool
	// Fits says which nodes may get the new copy; nil: all that can take one.
	Fits func(NodeID) bool
}

// Surplus is a good copy of a part that the catalog no longer needs: others were made
// while its node was away.
type Surplus struct {
	File FileID
	Part Part // with the copies that it has in the catalog
	Copy Copy // the surplus one; its Index means nothing
}

// Holding counts the parts whose good copies are on the same nodes.
type Holding struct {
	Nodes []NodeID
	Parts int64
	Bytes int64 // of payload, of one copy
}

// IdempotencyKey makes a repeated upload answer as the first did.
type IdempotencyKey struct {
	Key         string   // as the client sent it, 1 to 255 bytes
	Fingerprint [32]byte // of the request that first used it
}

// NodeRecord holds what the catalog remembers of a native node between runs.
type NodeRecord struct {
	ID         NodeID
	Zone       string // as a person has set it; what the node says of itself only proposes
	Address    string
	CleanedRun uint32 // leftovers of runs below this one were removed from the node
	Relocation
	// Disk is the size of its disk in bytes. It is the size at first sight, or the one that a
	// person has accepted since. 0: not seen yet.
	Disk int64
	Last NodeSight
	// What a person decides about its scrub, and when that was last through.
	ScrubPaused bool
	Scrub       ScrubNote
}

// ScrubNote says when a node last read all its chunks, for people alone.
type ScrubNote struct {
	Pass         int64  // as the node counts; 0: it never did
	Began, Ended string // UTC, YYYY-MM-DD HH:MM:SS
}

// Relocation says what becomes of a node's copies. The zero value: they stay.
type Relocation struct {
	Draining  bool   // a person wants it to hold nothing: it gets nothing new, and its copies move
	Drained   bool   // nothing rested on it any more, which was told
	Replaced  bool   // another node takes its place, and it leaves the array then
	Successor NodeID // that node; empty: it has not joined yet
	Filling   bool   // it lacks copies, and has not got its share of those of others yet
}

// NodeSight describes a node when it was last seen, for people alone.
type NodeSight struct {
	At                            string // UTC, YYYY-MM-DD HH:MM:SS; empty: not known
	TotalBytes, FreeBytes, Chunks int64
	Version                       string
}

// NodeChange holds a person's changes to a native node; nil stays as it is.
type NodeChange struct {
	Zone *string
	Name *string // for people; empty: the machine's own host name again
	// HostName is the machine's own name. No person decided on it, so it does not replace a Name.
	HostName *string
	Disk     *int64 // bytes that it may use, see NodeRecord
}

// MaxZone is the longest name of a zone, in bytes.
const MaxZone = 64

// ValidZone reports whether s can be the name of a zone: at most MaxZone bytes of
// text that can be shown in a line. The empty zone is one like any other.
func ValidZone(s string) bool {
	return len(s) <= MaxZone && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) })
}
