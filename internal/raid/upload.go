package raid

// FinishedUpload says what makes an upload a file.
type FinishedUpload struct {
	File File
	// Parts are those that were not appended yet, with their copies. Together
	// with the appended ones they must be every part of every stripe.
	Parts []Part
	// Begun is true when a row was made for the upload.
	Begun bool
	// Removals are chunks of this upload that the file does not rest on, such as
	// copies that were replaced while it was being sent.
	Removals []Removal
	// Lost are nodes that held copies of the upload and are gone: their copies
	// are marked bad, so that the file is degraded until they are checked or made
	// again.
	Lost []NodeID
	// Idempotency is recorded with the file when it is not nil.
	Idempotency *IdempotencyKey
}

// FileQuery says which files to list.
type FileQuery struct {
	After    FileID // only files with a higher id
	Limit    int    // at most so many; 0: all
	Filename string // only files whose name contains it; empty: all
	Lost     bool   // only files of which some part has no good copy on any node
}
