package catalog

import (
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"

	"github.com/raidpi/raidpi/internal/raid"
)

// The table spread_set counts the files that are in coarser rows of spread once more:
// by each set of nodes that some part of theirs is on, written as there, and by each
// node, "@7" (lab nodes: "@0"). A file of many parts is in many of these rows, once in
// each. Of 500 nodes there are 124,750 pairs, however many files there are.
//
// Sets may have more nodes than two. Only the first maxSets get a row; what is on
// another is counted in "*2", by its number of copies. As in spread a row stays while
// any file is in one of these.
const nodeMark = "@"

// maxSets bounds the sets that have a row; a variable for tests.
var maxSets = 262144

// moveSets counts n more files of these places in the rows of spread_set.
func (s *spreadOf) moveSets(places string, n rowCount) {
	touched := map[string]bool{}
	for set := range strings.FieldsSeq(places) {
		keys, _ := parseSet(set) // this program wrote it, or has read it at its start
		row := set
		switch {
		case s.hasSet(row):
		case s.base.setRows >= maxSets:
			row = anyMark + strconv.Itoa(len(keys))
		default:
			s.base.setRows++ // of this copy
		}
		touched[row] = true
		for _, k := range keys {
			touched[nodeMark+strconv.FormatInt(k, 10)] = true
		}
	}
	for row := range touched {
		s.addedSets[row] = s.addedSets[row].plus(n)
	}
}

func (s *spreadOf) hasSet(row string) bool {
	_, base := s.base.sets[row]
	_, added := s.addedSets[row]
	return base || added
}

// isSet tells a row of a set from those of nodes and of other sets.
func isSet(row string) bool { return row[:1] != nodeMark && row[:1] != anyMark }

// setRow is the text of a row of spread_set, read.
type setRow struct {
	kind int
	node int64   // of a nodeRow
	keys []int64 // of a wholeSet
	size int     // copies: of a wholeSet and of otherSets
}

// The kinds of rows of spread_set.
const (
	wholeSet = iota
	nodeRow
	otherSets
)

func parseSetRow(row string) (r setRow, err error) {
	switch {
	case strings.HasPrefix(row, nodeMark):
		r.kind = nodeRow
		r.node, err = strconv.ParseInt(row[1:], 10, 64)
	case strings.HasPrefix(row, anyMark):
		r.kind = otherSets
		r.size, err = strconv.Atoi(row[1:])
	default:
		r.keys, err = parseSet(row)
		r.size = len(r.keys)
	}
	if err != nil || r.node < 0 || r.size < 0 {
		return r, fmt.Errorf("%w: set of nodes %q", raid.ErrCorrupt, row)
	}
	return r, nil
}

// soundSets reports whether the rows of spread_set can be those of so many files.
func soundSets(rows iter.Seq2[string, int64], files int64) bool {
	sum := int64(0)
	for row, n := range rows {
		r, err := parseSetRow(row)
		if err != nil || n < 0 || n > files {
			return false
		}
		if r.kind != nodeRow {
			sum += n
		}
	}
	return sum >= files
}

// bounds are a number that is not exactly known.
type bounds struct{ low, high int64 }

// join adds n files, some of which may have been counted already.
func (b *bounds) join(n int64) { b.low, b.high = max(b.low, n), b.high+n }

// add adds n files that were not counted yet: all if they are meant, and for sure.
func (b *bounds) add(n int64, meant, sure bool) {
	b.low += n * truth(meant && sure)
	b.high += n * truth(meant)
}

func (b bounds) plus(other bounds) bounds { return bounds{b.low + other.low, b.high + other.high} }

// and returns what both of two bounds leave.
func (b bounds) and(other bounds) bounds {
	high := min(b.high, other.high)
	return bounds{min(max(b.low, other.low), high), high}
}

// tally sums up rows of spread_set for a view.
type tally struct {
	none  bounds // files of which some part has no copy within reach
	few   bounds // those of which some has at most one
	stops int64  // files at most of which some part has its last copy within reach on view.node
	holds int64  // files of which some part is on view.node
	lost  bounds // those of them of which such a part has no copy within reach elsewhere

	onNode map[int64]int64 // files by node
	spare  map[int64]bool  // nodes out of reach that some part does without: it has two other copies
	thin   int64           // files at most of which some part has at most one copy, which is within reach
	others map[int]int64   // files by copies of a part on some set that has no row
}

// tallySets sums up the rows of spread_set that are about so many files. Each of these
// is in several rows, so there are bounds. They meet where one set is concerned, or one
// node.
func tallySets(rows iter.Seq2[string, int64], v view, files int64) tally {
	t := tally{onNode: map[int64]int64{}, spare: map[int64]bool{}, others: map[int]int64{}}
	for row, n := range rows {
		if n != 0 {
			t.add(row, n, v)
		}
	}
	away, reach := int64(0), int64(0) // nodes out of reach, and files on them at most
	for k, n := range t.onNode {
		if n == 0 || v.has(k) {
			continue
		}
		if away++; k == 0 {
			away += math.MaxInt32 // any number of copies are on lab nodes
		}
		if reach += n; !t.spare[k] && len(t.others) == 0 {
			t.few.low = max(t.few.low, n)
		}
	}
	t.addOthers(away, t.onNode[max(v.node, 0)] > 0 && v.node >= 0)
	all := bounds{0, files}
	t.none, t.lost, t.stops = t.none.and(all), t.lost.and(bounds{0, t.holds}), min(t.stops, files)
	t.few = t.few.and(bounds{t.none.low, min(files, reach+t.thin)})
	return t
}

func (t *tally) add(row string, n int64, v view) {
	if !isSet(row) {
		r, _ := parseSetRow(row) // as in moveSets
		switch {
		case r.kind == otherSets:
			t.others[r.size] += n
			return
		case r.node == v.node:
			t.holds = n
		}
		t.onNode[r.node] = n
		return
	}
	v.look(row, func(s setView) {
		if s.without == 0 {
			t.none.join(n)
			t.stops += n * truth(s.now > 0)
			if s.holds {
				t.lost.join(n)
			}
		}
		if s.without <= 1 {
			t.few.join(n)
			t.thin += n * truth(s.without == s.copies)
		} else if s.without < s.copies {
			keys, _ := parseSet(row)
			for _, k := range keys {
				t.spare[k] = true
			}
		}
	})
}

// addOthers adds what is known of sets without rows, when so many nodes are out of reach,
// and view.node has files or not.
func (t *tally) addOthers(away int64, holds bool) {
	for size, n := range t.others {
		copies := int64(size)
		if copies <= away {
			t.none.high += n
			t.stops += n * truth(holds)
			t.lost.high += n * truth(holds)
		}
		if copies <= 1 || copies-1 <= away {
			t.few.high += n
		}
		t.thin += n * truth(copies <= 1)
	}
}
