package raid

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strings"
)

// FileID names a file towards clients. It is positive and never used twice.
type FileID int64

// ArrayID names an array: 22 characters of [A-Za-z0-9] from 128 random bits.
type ArrayID string

// NodeID names a node for as long as its disk lives. A native node has 22 characters of
// [A-Za-z0-9], a lab peer "lab-" and an address.
type NodeID string

// labPrefix begins the ids of lab peers.
const labPrefix = "lab-"

// LabID is the id of a lab peer, by its remote address: it has no name of its own, and another id
// with each connection.
func LabID(address string) NodeID { return NodeID(labPrefix + address) }

// IsLab reports whether id is that of a lab peer.
func (id NodeID) IsLab() bool { return strings.HasPrefix(string(id), labPrefix) }

// IsNative reports whether id is that of a native node. The zero id, by which the catalog means a
// copy on some lab peer, is none.
func (id NodeID) IsNative() bool { return id != "" && !id.IsLab() }

// SessionID names one life of a node process: 22 characters of [A-Za-z0-9].
type SessionID string

// DiskID names one chunk directory: 22 characters of [A-Za-z0-9].
type DiskID string

// IDLen is the length in characters of a 128-bit id written by [EncodeID].
const IDLen = 22

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// ErrBadID is returned where a text is not an id or a chunk name of ours.
var ErrBadID = errors.New("not a raidpi id")

// NewID draws 128 bits from random and writes them as 22 characters.
func NewID(random io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("draw a random id: %w", err)
	}
	return EncodeID(b), nil
}

// EncodeID writes 128 bits as 22 digits of base 62, the least significant first. So the leading
// digits differ even between ids that share their high bits, as the uploads of one run do. A
// fan-out by leading characters needs that.
func EncodeID(b [16]byte) string {
	hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	var out [IDLen]byte
	for i := range out {
		var r uint64
		hi, r = hi/62, hi%62
		lo, r = bits.Div64(r, lo, 62)
		out[i] = base62[r]
	}
	return string(out[:])
}

// DecodeID reads what EncodeID wrote. It returns ErrBadID for any other text,
// also for 22 digits whose value exceeds 128 bits.
func DecodeID(s string) (b [16]byte, err error) {
	if len(s) != IDLen {
		return b, ErrBadID
	}
	var hi, lo uint64
	for i := IDLen - 1; i >= 0; i-- {
		d := digit(s[i])
		if d < 0 {
			return b, ErrBadID
		}
		over, hi62 := bits.Mul64(hi, 62)
		carry, lo62 := bits.Mul64(lo, 62)
		var c uint64
		lo, c = bits.Add64(lo62, uint64(d), 0)
		hi, c = bits.Add64(hi62, carry, c)
		if over != 0 || c != 0 {
			return b, ErrBadID
		}
	}
	binary.BigEndian.PutUint64(b[:8], hi)
	binary.BigEndian.PutUint64(b[8:], lo)
	return b, nil
}

func digit(c byte) int { return strings.IndexByte(base62, c) }

// UploadID is the identity of one upload on disk, and of the file that it makes. The first four
// bytes are the controller's run number, big endian. The other 96 bits are random.
type UploadID [16]byte

// NewUploadID draws an upload id for the given run of the controller.
func NewUploadID(run uint32, random io.Reader) (id UploadID, err error) {
	binary.BigEndian.PutUint32(id[:4], run)
	if _, err = io.ReadFull(random, id[4:]); err != nil {
		return id, fmt.Errorf("draw a random upload id: %w", err)
	}
	return id, nil
}

// ParseUploadID reads the 22 characters that String writes.
func ParseUploadID(s string) (UploadID, error) {
	b, err := DecodeID(s)
	return UploadID(b), err
}

// Run is the run number of the controller that began the upload.
func (u UploadID) Run() uint32 { return binary.BigEndian.Uint32(u[:4]) }

// String writes the id as the 22 characters that its chunk names begin with.
func (u UploadID) String() string { return EncodeID(u) }
