package catalog

import (
	"cmp"
	"database/sql/driver"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/raidpi/raidpi/internal/raid"
)

// The table spread counts complete files, and beside them those in the trash, by their places: the
// sets of nodes that good copies of their parts are on. A set is written as the keys of its nodes
// in ascending order with dots between, a copy on a lab node as 0, and no copy at all as "-". Sets
// are sorted, each stands once, and spaces are between: "1.2 3.4" is a file of which some parts are
// on nodes 1 and 2, others on 3 and 4.
//
// An array has few such texts: 55 for files of one stripe on five nodes. So that many nodes and
// long files can't make a row of each file, only the first maxPlaces texts get a row. A file with
// another is counted in a coarser row, which says the least number of good copies and all the
// nodes: "~2 1.2.3.4"; and when there are maxPlaces of these too, in one that says the number
// alone, "*2", and whether any copy is on a lab node, "*2 0". Which row a file is in can always be
// told. A row stays once it is there, and while any file is in a coarser row, no finer row begins.
const (
	noCopy     = "-"
	coarseMark = "~"
	anyMark    = "*"
)

// maxPlaces bounds the rows of each kind; a variable for tests.
var maxPlaces = 32768

// longFile is the number of stripes above which a file has a row in long_file; a
// variable for tests.
var longFile int64 = 64

// allCounted is meta.spreadTo when every file is in spread.
const allCounted = math.MaxInt64

// countedAs says what spread counts an upload as.
type countedAs int

const (
	asFile countedAs = iota
	asTrash
	countedKinds
	uncounted
)

// countsAs says what an upload in a state counts as.
func countsAs(state int64) countedAs {
	switch state {
	case complete:
		return asFile
	case trashed:
		return asTrash
	}
	return uncounted
}

// rowCount is the number of files that are in a row, by what they count as.
type rowCount [countedKinds]int64

func (n rowCount) plus(other rowCount) rowCount {
	for s := range n {
		n[s] += other[s]
	}
	return n
}

// spreadTable is spread in memory.
type spreadTable struct {
	files map[string]placed // by places
	kinds [kinds]int        // rows of each kind

	sets    map[string]placed // the rows of spread_set
	setRows int               // those of them that are sets
}

func newSpread() spreadTable {
	return spreadTable{files: map[string]placed{}, sets: map[string]placed{}}
}

// add counts n more files in a row.
func (s *spreadTable) add(row string, n rowCount) {
	p, there := s.files[row]
	if !there {
		if n == (rowCount{}) {
			return
		}
		s.kinds[kindOf(row)]++
		p = placedFiles(row)
	}
	p.n = p.n.plus(n)
	s.files[row] = p
}

// addSet counts n more files in a row of spread_set.
func (s *spreadTable) addSet(row string, n rowCount) {
	p, there := s.sets[row]
	if !there {
		if n == (rowCount{}) {
			return
		}
		s.setRows += int(truth(isSet(row)))
		p = placedSet(row)
	}
	p.n = p.n.plus(n)
	s.sets[row] = p
}

// countOf yields each row with its files of one kind.
func countOf(rows map[string]placed, as countedAs) iter.Seq2[string, int64] {
	return func(yield func(string, int64) bool) {
		for row, p := range rows {
			if !yield(row, p.n[as]) {
				return
			}
		}
	}
}

// lackOf is countOf without the rows whose files lack nothing with these nodes out of
// reach.
func lackOf(rows map[string]placed, as countedAs, outOfReach nodeFilter) iter.Seq2[string, int64] {
	return func(yield func(string, int64) bool) {
		for row, p := range rows {
			if p.n[as] != 0 && !p.complete(outOfReach) && !yield(row, p.n[as]) {
				return
			}
		}
	}
}

// The kinds of rows.
const (
	exactRow  = iota // the file's places
	coarseRow        // all its nodes
	anyRow           // nothing but the number of copies
	kinds
)

func kindOf(row string) int {
	switch row[:min(1, len(row))] {
	case coarseMark:
		return coarseRow
	case anyMark:
		return anyRow
	}
	return exactRow
}

// spreadRow is the text of a row, read.
type spreadRow struct {
	sets  [][]int64 // of a coarse row: one, of all nodes; of the coarsest: none, or one of lab nodes
	least int       // good copies that every part has
	kind  int
}

// parsePlaces reads the text of a row of spread.
func parsePlaces(places string) (r spreadRow, err error) {
	words := strings.Fields(places)
	if len(words) == 0 {
		return r, fmt.Errorf("%w: places %q", raid.ErrCorrupt, places)
	}
	if r.kind = kindOf(words[0]); r.kind != exactRow {
		if r.least, err = strconv.Atoi(words[0][1:]); err != nil {
			return r, fmt.Errorf("%w: places %q", raid.ErrCorrupt, places)
		}
		words = words[1:]
	}
	for _, w := range words {
		keys, err := parseSet(w)
		if err != nil {
			return r, fmt.Errorf("%w: places %q", raid.ErrCorrupt, places)
		}
		if r.kind == exactRow && (len(r.sets) == 0 || len(keys) < r.least) {
			r.least = len(keys)
		}
		r.sets = append(r.sets, keys)
	}
	return r, nil
}

func parseSet(w string) (keys []int64, err error) {
	if w == noCopy {
		return nil, nil
	}
	for k := range strings.SplitSeq(w, ".") {
		key, err := strconv.ParseInt(k, 10, 64)
		if err != nil || key < 0 {
			return nil, fmt.Errorf("%w: node key %q", raid.ErrCorrupt, k)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// writeSet writes the keys of the nodes of good copies as a set. Two copies on one
// node are one, but for those on lab nodes, which can't be told apart.
func writeSet(keys []int64) string {
	slices.Sort(keys)
	var b strings.Builder
	for i, k := range keys {
		if i > 0 && k != 0 && k == keys[i-1] {
			continue
		}
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(strconv.FormatInt(k, 10))
	}
	return cmp.Or(b.String(), noCopy)
}

// coarser is the text of the row for a file whose places have none of their own.
func coarser(places string) string {
	r, err := parsePlaces(places)
	if err != nil {
		return anyMark + "0" // it was made by this program
	}
	all := map[int64]bool{}
	for _, set := range r.sets {
		for _, k := range set {
			all[k] = true
		}
	}
	return coarseMark + strconv.Itoa(r.least) + " " + writeSet(slices.Collect(maps.Keys(all)))
}

// coarsest is the text of the row for a file whose coarser row is not there either.
func coarsest(places string) string {
	r, _ := parsePlaces(places)
	row := anyMark + strconv.Itoa(r.least)
	if slices.ContainsFunc(r.sets, func(set []int64) bool { return slices.Contains(set, 0) }) {
		row += " 0"
	}
	return row
}

// spreadOf are the rows of spread as a transaction sees them.
type spreadOf struct {
	base             spreadTable
	added, addedSets map[string]rowCount
}

// move counts n more files of these places, in the row that there is for them.
func (s *spreadOf) move(places string, n rowCount) {
	row := places
	if !s.fits(row) {
		if row = coarser(places); !s.fits(row) {
			row = coarsest(places)
		}
	}
	if !s.has(row) {
		s.base.kinds[kindOf(row)]++ // of this copy
	}
	s.added[row] = s.added[row].plus(n)
	if kindOf(row) != exactRow {
		s.moveSets(places, n)
	}
}

// fits reports whether a row is there, or may begin.
func (s *spreadOf) fits(row string) bool { return s.has(row) || s.base.kinds[kindOf(row)] < maxPlaces }

func (s *spreadOf) has(row string) bool {
	_, base := s.base.files[row]
	_, added := s.added[row]
	return base || added
}

// sumOf yields each row of two tables with the files of one kind in both.
func sumOf(base map[string]placed, added map[string]rowCount, as countedAs) iter.Seq2[string, int64] {
	return func(yield func(string, int64) bool) {
		for places, p := range base {
			if !yield(places, p.n[as]+added[places][as]) {
				return
			}
		}
		for places, n := range added {
			if _, there := base[places]; !there && !yield(places, n[as]) {
				return
			}
		}
	}
}

// moved is a file whose places a transaction may have changed.
type moved struct {
	old, now string    // places before, and after when known
	was      countedAs // before
	known    bool      // now is right, of a file
	short    bool      // it is known to have no row in long_file
}

// moving must be called before anything is changed of a file that says where its
// copies are, or whether it is a file or in the trash.
func (t *tx) moving(id int64) error {
	if m, ok := t.moves[id]; ok {
		m.known = false
		return nil
	}
	m := &moved{was: uncounted}
	if id <= t.base.meta.spreadTo {
		var err error
		if m.old, m.was, m.short, err = t.placesOf(id); err != nil {
			return err
		}
	}
	t.note(id, m)
	return nil
}

// arriving is moving for a file that has no row yet, and will have these parts.
func (t *tx) arriving(f *raid.File, parts []raid.Part) error {
	m := &moved{was: uncounted, known: f.Stripes <= longFile}
	if m.known {
		sets := map[string]int64{}
		for i := range parts {
			var keys []int64
			for _, c := range parts[i].Copies {
				key, err := t.nodeKey(c.Node)
				if err != nil {
					return err
				}
				if !c.Bad {
					keys = append(keys, key)
				}
			}
			sets[writeSet(keys)]++
		}
		m.now = writePlaces(sets)
	}
	t.note(int64(f.ID), m)
	return nil
}

func (t *tx) note(id int64, m *moved) {
	if t.moves == nil {
		t.moves = map[int64]*moved{}
	}
	t.moves[id] = m
}

func writePlaces(sets map[string]int64) string {
	return strings.Join(slices.Sorted(maps.Keys(sets)), " ")
}

// placesOf are the places of a file, and as what it counts; short says that it has few
// stripes. What has many gets its row in long_file with that.
func (t *tx) placesOf(id int64) (places string, as countedAs, short bool, err error) {
	as, stripes := uncounted, int64(0)
	err = t.conn.query(func(r []driver.Value) error {
		as, stripes = countsAs(integer(r[0])), integer(r[1])
		return nil
	}, "SELECT state, stripes FROM upload WHERE id = ?", id)
	if err != nil || as == uncounted {
		return "", uncounted, false, err
	}
	if stripes <= longFile {
		sets, err := t.setsOf(id)
		return writePlaces(sets), as, true, err
	}
	sets, found, err := t.longSets(id)
	if err != nil || found {
		return writePlaces(sets), as, false, err
	}
	if sets, err = t.setsOf(id); err != nil {
		return "", as, false, err
	}
	return writePlaces(sets), as, false, t.writeLong(id, sets)
}

// setsOf finds on which sets of nodes how many parts of a file are.
func (t *tx) setsOf(id int64) (map[string]int64, error) {
	sets := map[string]int64{}
	var failed error
	err := t.conn.query(func(r []driver.Value) error {
		keys, err := parseSet(cmp.Or(text(r[0]), noCopy))
		if err != nil {
			failed = err
		}
		sets[writeSet(keys)]++
		return nil
	}, "SELECT group_concat(CASE WHEN flaw <> 1 THEN ifnull(node, 0) END, '.') FROM chunk WHERE file = ? GROUP BY stripe, part", id)
	if err = cmp.Or(err, failed); err != nil || sets[noCopy] == 0 {
		return sets, err
	}
	return sets, t.sparedSets(id, sets)
}

// setOf is the set of nodes that good copies of one part are on.
func (t *tx) setOf(id, stripe, part int64) (string, error) {
	var keys []int64
	err := t.conn.query(func(r []driver.Value) error {
		keys = append(keys, integer(r[0]))
		return nil
	}, "SELECT node FROM chunk WHERE file = ? AND stripe = ? AND part = ? AND flaw <> 1", id, stripe, part)
	if err == nil && len(keys) == 0 {
		keys, err = t.sparedOn(id, stripe, part)
	}
	return writeSet(keys), err
}

// longSets reads the row of a file in long_file.
func (t *tx) longSets(id int64) (sets map[string]int64, found bool, err error) {
	var line string
	err = t.conn.query(func(r []driver.Value) error {
		line, found = text(r[0]), true
		return nil
	}, "SELECT places FROM long_file WHERE file = ?", id)
	if err != nil || !found {
		return nil, false, err
	}
	sets = map[string]int64{}
	for w := range strings.FieldsSeq(line) {
		set, count, _ := strings.Cut(w, ":")
		n, err := strconv.ParseInt(count, 10, 64)
		if err != nil {
			return nil, true, fmt.Errorf("%w: places of long file %d: %.60q", raid.ErrCorrupt, id, line)
		}
		sets[set] = n
	}
	return sets, true, nil
}

func (t *tx) writeLong(id int64, sets map[string]int64) error {
	var b strings.Builder
	for i, set := range slices.Sorted(maps.Keys(sets)) {
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s:%d", set, sets[set])
	}
	_, err := t.exec("INSERT INTO long_file (file, places) VALUES (?, ?) ON CONFLICT DO UPDATE SET places = excluded.places", id, b.String())
	return err
}

// movingCopy runs change, which changes the copies of one part, and keeps long_file
// right. It is what takes the place of moving there.
func (t *tx) movingCopy(id, stripe, part int64, change func() error) error {
	if err := t.moving(id); err != nil {
		return err
	}
	if t.moves[id].short {
		return change()
	}
	sets, long, err := t.longSets(id)
	if err != nil {
		return err
	}
	if !long {
		return change()
	}
	before, err := t.setOf(id, stripe, part)
	if err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	after, err := t.setOf(id, stripe, part)
	if err != nil || before == after {
		return err
	}
	sets[after]++
	if sets[before]--; sets[before] <= 0 {
		delete(sets, before)
	}
	return t.writeLong(id, sets)
}

// spreadNow are the rows of spread with the files that have moved so far.
func (t *tx) spreadNow() (*spreadOf, error) {
	rows := &spreadOf{base: t.base.spread, added: map[string]rowCount{}, addedSets: map[string]rowCount{}}
	for _, id := range slices.Sorted(maps.Keys(t.moves)) {
		m := t.moves[id]
		now, as, err := m.now, asFile, error(nil)
		switch {
		case id > t.meta.spreadTo:
			as = uncounted
		case !m.known:
			now, as, _, err = t.placesOf(id)
		}
		if err != nil {
			return nil, err
		}
		if as == m.was && (as == uncounted || now == m.old) {
			continue
		}
		if m.was != uncounted {
			rows.move(m.old, one(m.was, -1))
		}
		if as != uncounted {
			rows.move(now, one(as, 1))
		}
	}
	return rows, nil
}

// one counts n files of one kind.
func one(as countedAs, n int64) (out rowCount) {
	out[as] = n
	return out
}

// settleSpread counts anew the files that have moved.
func (t *tx) settleSpread() error {
	rows, err := t.spreadNow()
	if err != nil {
		return err
	}
	t.spread, t.spreadSets = rows.added, rows.addedSets
	for _, table := range []struct {
		rows map[string]rowCount
		sql  string
	}{
		{rows.added, "INSERT INTO spread (places, files, trash) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET files = files + excluded.files, trash = trash + excluded.trash"},
		{rows.addedSets, "INSERT INTO spread_set (places, files, trash) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET files = files + excluded.files, trash = trash + excluded.trash"},
	} {
		for _, row := range slices.Sorted(maps.Keys(table.rows)) {
			if n := table.rows[row]; n != (rowCount{}) {
				if _, err := t.exec(table.sql, row, n[asFile], n[asTrash]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
