// Package stripe says how a file becomes stripes, a stripe becomes parts, and
// parts become a stripe again. It is pure: no I/O, no state.
//
// Only this package and the level's name know how many parts a stripe has and
// how many of them are needed to read it.
package stripe

import (
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

// RAID1 is the level whose stripes are cut in two halves, the first one byte
// longer when the length is odd.
const RAID1 = "raid1"

const raid1Parts = 2

// Layout is how one file lies in stripes and parts.
type Layout struct {
	Level      string
	StripeSize int64 // bytes of a full stripe, at least 1
	Size       int64 // bytes of the file
}

// Extent is a run of bytes within one part.
type Extent struct {
	Stripe int64 // from 0
	Part   int   // from 1
	Offset int64 // within the part
	Length int64
}

// Valid reports whether a layout makes sense, or raid.ErrInvalid with the reason.
func (l Layout) Valid() error {
	switch {
	case l.Level != RAID1:
		return fmt.Errorf("%w: level %q is not known here; this version knows %q", raid.ErrInvalid, l.Level, RAID1)
	case l.StripeSize < 1 || l.Size < 0:
		return fmt.Errorf("%w: a file of %d bytes in stripes of %d", raid.ErrInvalid, l.Size, l.StripeSize)
	case l.Stripes()-1 > raid.MaxStripe:
		return fmt.Errorf("%w: %d stripes; at most %d fit a chunk name", raid.ErrTooLarge, l.Stripes(), int64(raid.MaxStripe)+1)
	}
	return nil
}

// Stripes is the number of stripes: at least one, since an empty file has one
// empty stripe.
func (l Layout) Stripes() int64 {
	if l.Size <= 0 {
		return 1
	}
	return (l.Size-1)/l.StripeSize + 1
}

// StripeLength is the number of bytes in stripe i.
func (l Layout) StripeLength(i int64) int64 {
	return max(0, min(l.StripeSize, l.Size-i*l.StripeSize))
}

// Parts is the number of parts of a stripe.
func (l Layout) Parts() int { return raid1Parts }

// PartLength is the number of bytes of a part, from 1, of a stripe of n bytes.
func PartLength(n int64, part int) int64 {
	if part == 1 {
		return (n + 1) / 2
	}
	return n / 2
}

// Cut cuts a stripe into its parts. The parts share the stripe's memory.
func Cut(stripe []byte) [][]byte {
	h := PartLength(int64(len(stripe)), 1)
	return [][]byte{stripe[:h:h], stripe[h:]}
}

// At finds where the byte at offset lies, and how many bytes follow it in the
// same part (the byte included, at most limit). It is only defined within the
// file.
func (l Layout) At(offset, limit int64) Extent {
	s := offset / l.StripeSize
	in := offset - s*l.StripeSize
	n := l.StripeLength(s)
	first := PartLength(n, 1)
	e := Extent{Stripe: s, Part: 1, Offset: in, Length: first - in}
	if in >= first {
		e.Part, e.Offset, e.Length = 2, in-first, n-in
	}
	e.Length = min(e.Length, limit)
	return e
}
