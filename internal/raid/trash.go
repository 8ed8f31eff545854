package raid

import "time"

// TrashedFile is a deleted file that can still be put back.
type TrashedFile struct {
	File    File          // without its chunks' names
	Deleted string        // UTC, YYYY-MM-DD HH:MM:SS, for people
	Left    time.Duration // that the controller has to run until it goes for good
}

// TrashTotals counts what the trash holds, or what went from it.
type TrashTotals struct {
	Files int64
	Bytes int64 // sum of their sizes, copies not counted
}

// Add adds two totals.
func (t TrashTotals) Add(o TrashTotals) TrashTotals {
	return TrashTotals{Files: t.Files + o.Files, Bytes: t.Bytes + o.Bytes}
}

// Discard says which files of the trash go.
type Discard struct {
	Until time.Duration // those that were deleted when the controller had run for so long, or before
	Bytes int64         // so many bytes are enough; 0: all
	Limit int           // at most so many files
}
