package catalog

// placed is a row of spread or spread_set in memory: its files, and what tells without a
// look at its text that all their copies are within reach. 500 nodes have 190,000 rows,
// whose texts are all over the memory.
type placed struct {
	n     rowCount
	on    nodeFilter
	twice bool // every part has two good copies or more
}

// newPlaced is what to keep of a row, with the sets of nodes that it names, and the
// number of copies that each part has at least.
func newPlaced(sets [][]int64, least int) placed {
	p := placed{twice: least >= 2}
	for _, keys := range sets {
		for _, k := range keys {
			p.on.put(k)
		}
	}
	return p
}

// placedFiles is newPlaced of a row of spread.
func placedFiles(places string) placed {
	r, err := parsePlaces(places)
	if err != nil || r.kind == anyRow { // it names no nodes
		return placed{}
	}
	return newPlaced(r.sets, r.least)
}

// placedSet is newPlaced of a row of spread_set. Those of single nodes are always needed.
func placedSet(row string) placed {
	r, err := parseSetRow(row)
	if err != nil || r.kind != wholeSet {
		return placed{}
	}
	return newPlaced([][]int64{r.keys}, r.size)
}

// complete reports that the row adds nothing to what a view lacks. Its files have two
// copies or more of every part, and none on a node that may be out of reach.
func (p placed) complete(outOfReach nodeFilter) bool { return p.twice && !p.on.meets(outOfReach) }

// nodeFilter has a bit of each node in it, which others may share.
type nodeFilter [2]uint64

func (f *nodeFilter) put(key int64) { f[key>>6&1] |= 1 << (key & 63) }

func (f nodeFilter) meets(other nodeFilter) bool { return f[0]&other[0]|f[1]&other[1] != 0 }

// outOfReach are the nodes that a view has not.
func (v view) outOfReach() (f nodeFilter) {
	for k := range v.there {
		if !v.has(int64(k)) {
			f.put(int64(k))
		}
	}
	return f
}
