package reconcile

import (
	"encoding/binary"
	"hash/maphash"
	"strings"

	"github.com/raidpi/raidpi/internal/raid"
)

// digits are those of names, in their order.
const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

const (
	// prefixes is the number of beginnings of three digits. Upload ids are random,
	// and so spread over them evenly.
	prefixes = 62 * 62 * 62
	// A range has about chunksInRange chunks of a node, but there are at least minRanges
	// and at most maxRanges of them, of sumSize bytes each.
	chunksInRange = 64
	minRanges     = 16
	maxRanges     = 1 << 16
	sumSize       = 16
)

// sum adds up the chunks of a range, in any order.
type sum struct {
	chunks int64
	hashes uint64
}

// sums are those of all ranges of one node. Sums of two sides can be compared when they
// have the same seed and number of ranges.
type sums struct {
	seed      maphash.Seed
	described bool // lengths and checksums are in the hashes
	ranges    []sum
}

// rangesFor returns the number of ranges of a node with so many chunks.
func rangesFor(chunks int64) int {
	return int(min(max(chunks/chunksInRange, minRanges), maxRanges))
}

// chunkSum is the part of a chunk that is added up.
type chunkSum struct {
	upload  string // 22 characters
	stripe  int64
	part    int
	attempt int
	length  int64
	crc     uint32
}

// add adds a chunk.
func (s *sums) add(c chunkSum) {
	var b [raid.IDLen + 8 + 8 + 8 + 8 + 4]byte
	at := copy(b[:raid.IDLen], c.upload)
	rest := b[at:at]
	rest = binary.LittleEndian.AppendUint64(rest, uint64(c.stripe))
	rest = binary.LittleEndian.AppendUint64(rest, uint64(c.part))
	rest = binary.LittleEndian.AppendUint64(rest, uint64(c.attempt))
	if s.described {
		rest = binary.LittleEndian.AppendUint64(rest, uint64(c.length))
		rest = binary.LittleEndian.AppendUint32(rest, c.crc)
	}
	r := &s.ranges[s.rangeOf(c.upload)]
	r.chunks++
	r.hashes += maphash.Bytes(s.seed, b[:at+len(rest)])
}

// markDifferent makes a chunk's range differ from any other side's.
func (s *sums) markDifferent(upload string) { s.ranges[s.rangeOf(upload)].chunks += 1 << 32 }

func (s *sums) rangeOf(upload string) int {
	v := int64(0) // a product of it has more than 32 bits
	for i := range 3 {
		v = v*62 + int64(max(0, strings.IndexByte(digits, upload[i])))
	}
	return int(v * int64(len(s.ranges)) / prefixes)
}

// beginning is the text that the upload ids of a range begin with or come after; empty: there is no
// such range.
func (s *sums) beginning(i int) string {
	n := int64(len(s.ranges))
	v := (int64(i)*prefixes + n - 1) / n
	if v >= prefixes {
		return ""
	}
	return string([]byte{digits[v/62/62], digits[v/62%62], digits[v%62]})
}

// span are the uploads from one beginning to before another. An empty to: all that
// follow.
type span struct{ from, to string }

// differences are where two sides differ, in order and as few spans as can be.
func (s *sums) differences(other *sums) (out []span) {
	for i := 0; i < len(s.ranges); i++ {
		if s.ranges[i] == other.ranges[i] {
			continue
		}
		from := i
		for i+1 < len(s.ranges) && s.ranges[i+1] != other.ranges[i+1] {
			i++
		}
		out = append(out, span{s.beginning(from), s.beginning(i + 1)})
	}
	return out
}
