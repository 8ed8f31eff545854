package stripe

import (
	"fmt"
	"strings"

	"github.com/raidpi/raidpi/internal/raid"
)

// Level is a RAID level: how a stripe is cut, and how many of its parts are needed.
type Level struct {
	// Name is in the configuration, the catalog and the trailers of chunks.
	Name string
	// Parts is the number of parts of a stripe. They count from 1 and are at most raid.MaxPart.
	Parts int
	// Needed is the number of parts that a stripe can be read from, whichever they are.
	Needed int
	// Copies is the number of copies of each part; 0: as many as the configuration says.
	Copies int
	Code
}

// Code computes parts. A byte of one part depends on the bytes at the same offset of others alone.
// So a range of it is made from that range of them.
type Code interface {
	// Length is the number of bytes of a part, from 1, of a stripe of n bytes.
	Length(n int64, part int) int64
	// Locate finds the part that has the byte at offset of a stripe of n bytes, and
	// where it is there. The bytes that follow in the part follow in the stripe too.
	Locate(n, offset int64) (part int, at int64)
	// Extra returns the memory that Cut needs for a stripe of n bytes, in bytes.
	Extra(n int64) int64
	// Cut cuts a stripe into all its parts. They share its memory and that of extra.
	Cut(stripe, extra []byte) [][]byte
	// Reconstruct fills dst with a range of a part, from the same range of as many
	// others as are needed. It is called for levels that need fewer than all.
	Reconstruct(dst []byte, part int, from []Run)
}

// Run is a range of a part's bytes, as far as the part has them. It may end earlier than that of
// another part, or be empty.
type Run struct {
	Part  int
	Bytes []byte
}

// Spare is the number of parts of a stripe that may be gone.
func (l Level) Spare() int { return l.Parts - l.Needed }

// CopiesOf returns the number of copies of each part where the configuration wants so many.
func (l Level) CopiesOf(wanted int) int {
	if l.Copies > 0 {
		return l.Copies
	}
	return wanted
}

// Group is a number that a part has in common with those whose chunks must lie on other
// nodes than its own. Where parts can be spared, a node must not hold two of them.
func (l Level) Group(part int) int {
	if l.Spare() > 0 {
		return 1
	}
	return part
}

// Groups is the number of groups in a stripe.
func (l Level) Groups() int {
	if l.Spare() > 0 {
		return 1
	}
	return l.Parts
}

// Apart is the number of chunks in a group, and so of the nodes it takes, with so many copies of
// each part.
func (l Level) Apart(copies int) int { return l.Parts / l.Groups() * copies }

// Levels are those that files may have.
type Levels []Level

// Known returns the table of levels, that of new arrays first.
func Known() Levels {
	return Levels{
		RAID1(),
	}
}

// Named finds a level. raid.ErrInvalid: it is none of these.
func (ls Levels) Named(name string) (Level, error) {
	for _, l := range ls {
		if l.Name == name {
			return l, nil
		}
	}
	return Level{}, fmt.Errorf("%w: level %q is not known here; this version knows %q", raid.ErrInvalid, name, strings.Join(ls.Names(), ", "))
}

// Names are those of the levels.
func (ls Levels) Names() []string {
	names := make([]string, len(ls))
	for i, l := range ls {
		names[i] = l.Name
	}
	return names
}

// Spare is the number of parts of a stripe that may be gone, with the level that allows the most.
func (ls Levels) Spare() (n int) {
	for _, l := range ls {
		n = max(n, l.Spare())
	}
	return n
}
