package raid

// PartCursor is a part to go on after; the zero value is before the first.
type PartCursor struct {
	File   FileID
	Stripe int64
	Part   int
}

// Cursor is where to go on after r, in a list of repairs.
func (r *Repair) Cursor() PartCursor {
	return PartCursor{File: r.File, Stripe: r.Part.Stripe, Part: r.Part.Number}
}

// SurplusCursor is a surplus copy to go on after; the zero value is before the first.
type SurplusCursor struct {
	PartCursor
	Attempt int
}

// HeldCursor is a part in the order of chunk names to go on after. One with an Upload
// alone, or the beginning of one, comes before all its parts.
type HeldCursor struct {
	Upload string
	Stripe int64 // from 1: that of the part is one less
	Part   int
}

// CopyCursor is a copy to go on after, in the order of files; the zero value is before the first.
type CopyCursor struct{ File, Stripe, Part, Copy int64 }

// LostCursor is a place in the search for the copies of removed nodes. The zero value is the
// beginning.
type LostCursor struct {
	Node   NodeID // whose chunks are looked for
	Marked int64  // how many of them were marked bad
	After  CopyCursor
}
