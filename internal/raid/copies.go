package raid

// Held is a copy that should lie on a node: of a file, of one that was deleted, be it in
// the trash or not swept yet, or of an upload under way.
type Held struct {
	Node    NodeID
	File    FileID
	Upload  string // 22 characters
	Stripe  int64
	Part    int
	Index   int // of the copy
	Attempt int
	Length  int64 // bytes of payload
	CRC     uint32
	Bad     bool // it does not count
	Gone    bool // its file was deleted for good, or its upload given up
}

// Key is the identity of the copy's chunk. It fails with ErrBadID.
func (h *Held) Key() (ChunkKey, error) {
	u, err := ParseUploadID(h.Upload)
	return ChunkKey{Upload: u, Stripe: h.Stripe, Part: h.Part, Attempt: h.Attempt}, err
}

// CopyID says which copy of which part is meant, as long as it is that attempt.
type CopyID struct {
	File    FileID
	Stripe  int64
	Part    int
	Index   int
	Attempt int
}

// Settlement says what becomes of a surplus copy.
type Settlement struct {
	Surplus // what was verified
	// Instead is the index of the copy whose place it takes; 0: it goes.
	Instead int
	// Lost says that the copy whose place it takes is good and its node away for long:
	// that one becomes surplus then, and is not removed.
	Lost bool
}
