// Package stripe says how a file becomes stripes, a stripe becomes parts, and
// parts become a stripe again. It is pure: no I/O, no state.
//
// Only this package knows how many parts a stripe has, and how many of them are needed to read it.
// It alone knows how a range of a file maps to parts, and how one is made from others. A [Level] is
// the answer to all of that. [Known] is the table of levels: a new one is a file here and a line
// there.
package stripe

import (
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

// Layout says how one file lies in stripes and parts.
type Layout struct {
	Level      Level
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

// PartLength is the number of bytes of a part, from 1, of stripe i.
func (l Layout) PartLength(i int64, part int) int64 {
	return l.Level.Length(l.StripeLength(i), part)
}

// At finds where the byte at offset lies, and how many bytes follow it in the
// same part (the byte included, at most limit). It is only defined within the
// file.
func (l Layout) At(offset, limit int64) Extent {
	s := offset / l.StripeSize
	part, at := l.Level.Locate(l.StripeLength(s), offset-s*l.StripeSize)
	return Extent{Stripe: s, Part: part, Offset: at, Length: min(l.PartLength(s, part)-at, limit)}
}
