package raid

// Commit is a number of the catalog's transactions, and the proof that a controller of
// this array made it. The zero Commit is none.
type Commit struct {
	Number uint64
	MAC    CommitMAC // zero: it came without one, from a program of before there were any
}

// HasProof reports whether there is a proof at all, right or wrong.
func (c Commit) HasProof() bool { return c.MAC != CommitMAC{} }

// Higher is the one of two with the higher number; of the same number, the one with a proof.
func (c Commit) Higher(d Commit) Commit {
	if d.Number > c.Number || d.Number == c.Number && !c.HasProof() {
		return d
	}
	return c
}

// CommitMAC is the HMAC-SHA-256 of a commit number, cut to 128 bits. Only the array's controllers
// have the key. Nodes keep a MAC and can't make one.
type CommitMAC [16]byte

// CommitMACOf reads one that came over the wire or from a disk: nil or of another
// length it is none.
func CommitMACOf(b []byte) (m CommitMAC) {
	if len(b) == len(m) {
		copy(m[:], b)
	}
	return m
}

// Bytes writes it for the wire or a disk; nil when there is none.
func (m CommitMAC) Bytes() []byte {
	if m == (CommitMAC{}) {
		return nil
	}
	return m[:]
}
