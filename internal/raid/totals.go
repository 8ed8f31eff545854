package raid

// Totals are kept over all files, with every change.
type Totals struct {
	Files    int64 // complete ones
	Bytes    int64 // sum of their sizes
	Degraded int64 // files of which some part has fewer good copies on distinct nodes than it should
	Removals int64 // chunks that wait for their removal, over all nodes
	Trash    TrashTotals
}

// Reach counts the files that can be read while only some nodes are there.
type Reach struct {
	OneCopy int64 // files of which some part has one good copy within reach, and none has none
	None    int64 // files of which some part has none
	AtMost  bool  // so many at most; else it is exact
	Partial bool  // only the files that were counted so far
}

// ReachWithout counts what can be read without a node that is there.
type ReachWithout struct {
	Reach // when it is gone
	// Stops counts the files that can be read now and could not then, at most. If it is
	// 0 there is none.
	Stops int64
	Files int64 // of which some part has a good copy on the node
	// TrashStops counts the files in the trash that could be put back now and not then, at
	// most, and Trash those of which some part has a good copy on the node.
	TrashStops, Trash int64
}

// Resting counts the files that rest on a node.
type Resting struct {
	Files   int64 // complete files at most that have a good copy of some part there
	Trash   int64 // the same of files in the trash
	Partial bool  // not all are counted yet
}

// None reports whether nothing rests on the node.
func (r Resting) None() bool { return r == Resting{} }
