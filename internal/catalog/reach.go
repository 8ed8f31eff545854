package catalog

import (
	"context"
	"database/sql/driver"
	"fmt"
	"iter"
	"math"
	"strconv"
	"strings"

	"github.com/raidpi/raidpi/internal/raid"
)

// Reach counts what can be read when only the good copies on these nodes, and those
// on lab nodes if lab is true, are within reach. Nodes that were removed never are. No
// I/O; it takes time by the number of rows of spread and spread_set.
func (c *Catalog) Reach(there func(raid.NodeID) bool, lab bool) raid.Reach {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.state.count(c.state.view(nobody, there, lab), asFile).reach(c.state.meta)
}

// Without counts what can be read when a node is taken off, see Reach. All lab nodes
// are one: their copies can't be told apart.
func (c *Catalog) Without(id raid.NodeID, there func(raid.NodeID) bool, lab bool) raid.ReachWithout {
	c.mu.RLock()
	defer c.mu.RUnlock()
	key := nobody
	switch k := c.state.byID[id]; {
	case !id.IsNative():
		key = 0
	case k != 0:
		key = k
	}
	v := c.state.view(key, there, lab)
	n, trash := c.state.count(v, asFile), c.state.count(v, asTrash)
	return raid.ReachWithout{Reach: n.reach(c.state.meta), Stops: n.stops, Files: n.holds, TrashStops: trash.stops, Trash: trash.holds}
}

// nobody is the key of no node.
const nobody = int64(-1)

// view says which nodes are there, by their keys. The node is there and out of reach.
type view struct {
	there []bool
	node  int64
	away  bool // some node of the array is not within reach
}

func (s *state) view(node int64, there func(raid.NodeID) bool, lab bool) view {
	v := view{there: make([]bool, len(s.nodes)+1), node: node, away: node > 0}
	v.there[0] = lab
	for i, n := range s.nodes {
		v.there[i+1] = n.removed == staying && there(n.ID)
		v.away = v.away || !v.there[i+1] && n.removed != left
	}
	return v
}

func (v view) isThere(key int64) bool { return key < int64(len(v.there)) && v.there[key] }

// has reports whether a node is within reach.
func (v view) has(key int64) bool { return key != v.node && v.isThere(key) }

// setView is the part that a view has of the copies of a part that is on a set of nodes.
type setView struct {
	copies  int
	now     int  // of them there
	without int  // of them within reach
	holds   bool // one is on view.node
}

// look yields each set of the text of an exact row of spread. It makes no garbage, since
// there may be hundreds of thousands of them.
func (v view) look(places string, yield func(setView)) {
	var s setView
	key := nobody
	for i := 0; i <= len(places); i++ {
		c := byte(' ')
		if i < len(places) {
			c = places[i]
		}
		if c >= '0' && c <= '9' {
			key = max(key, 0)*10 + int64(c-'0')
			continue
		}
		if key != nobody {
			s.copies++
			s.now += int(truth(v.isThere(key)))
			s.without += int(truth(v.has(key)))
			s.holds = s.holds || key == v.node
			key = nobody
		}
		if c == ' ' {
			yield(s)
			s = setView{}
		}
	}
}

// count sums up the rows of spread and spread_set for a view.
type count struct {
	none, few   bounds // files of which some part has no copy within reach, and at most one
	stops       int64  // files at most that can be read, and not without view.node
	holds, lost int64  // files of which some part is on view.node; those that have no copy of it elsewhere, at most
	lostAtMost  bool
}

func (n count) reach(m meta) raid.Reach {
	return raid.Reach{
		OneCopy: n.few.high - n.none.low, None: n.none.high, Partial: m.spreadTo != allCounted,
		AtMost: n.none.low != n.none.high || n.few.low != n.few.high,
	}
}

func (s *state) count(v view, as countedAs) count {
	if as == asTrash && s.meta.counts.Trash.Files == 0 {
		return count{}
	}
	out := v.outOfReach()
	return countRows(lackOf(s.spread.files, as, out), lackOf(s.spread.sets, as, out), v)
}

// countRows counts exact rows one by one. What files of coarser rows have within reach
// their rows bound in one way, and the rows of spread_set in another.
func countRows(rows, sets iter.Seq2[string, int64], v view) (n count) {
	var none, few, lost bounds // of files in coarser rows
	files := int64(0)
	for places, k := range rows {
		switch {
		case k == 0:
		case kindOf(places) == exactRow:
			n.addExact(places, k, v)
		default:
			files += k
			r := v.coarse(places)
			none.add(k, r.copies == 0, r.sure)
			few.add(k, r.copies <= 1, r.sure)
			lost.add(k, r.lost, r.sureLost)
		}
	}
	if files == 0 {
		return n
	}
	t := tallySets(sets, v, files)
	none, few, lost = none.and(t.none), few.and(t.few), lost.and(t.lost)
	n.none, n.few = n.none.plus(none), n.few.plus(few)
	n.stops, n.holds, n.lost = n.stops+min(t.stops, none.high), n.holds+t.holds, n.lost+lost.high
	n.lostAtMost = lost.low != lost.high
	return n
}

func (n *count) addExact(places string, files int64, v view) {
	now, without := math.MaxInt, math.MaxInt
	holds, lost := false, false
	v.look(places, func(s setView) {
		now, without = min(now, s.now), min(without, s.without)
		holds = holds || s.holds
		lost = lost || s.holds && s.without == 0
	})
	n.none.add(files, without == 0, true)
	n.few.add(files, without <= 1, true)
	n.stops += files * truth(now > 0 && without == 0)
	n.holds += files * truth(holds)
	n.lost += files * truth(lost)
}

// coarseView sums up a coarser row's files.
type coarseView struct {
	copies   int  // that the worst part has within reach, at least
	sure     bool // and not more
	lost     bool // some part may be on view.node, and have no copy within reach
	sureLost bool // which is so, or is not so, for sure
}

// coarse looks at a coarser row. Of the coarse ones there may be as many as of exact ones.
func (v view) coarse(places string) coarseView {
	if kindOf(places) == anyRow {
		r, _ := parsePlaces(places) // this program wrote it, or has read it at its start
		if r.least == 0 || !v.away && (len(r.sets) == 0 || v.has(0)) {
			return coarseView{copies: r.least, sure: true, lost: true}
		}
		return coarseView{lost: true}
	}
	number, set, _ := strings.Cut(places[len(coarseMark):], " ")
	least, _ := strconv.Atoi(number) // as above
	var all setView
	v.look(set, func(s setView) { all = s })
	out := all.copies - all.without
	gone := out
	if first, _, _ := strings.Cut(set, "."); first == "0" && !v.has(0) {
		gone++ // a part may have several copies on lab nodes
	}
	// With one node away, some part has lost just that copy.
	c := coarseView{copies: max(0, least-gone), sure: least == 0 || gone == 0 || gone == 1 && least == 2, sureLost: true}
	if all.holds {
		c.lost = out > 1 || least < 2
		c.sureLost = !c.lost
	}
	return c
}

// leaving counts what rests on a node, when the good copies on these other nodes
// alone are counted on. A copy on a lab node is no promise.
func (t *tx) leaving(node int64, there func(raid.NodeID) bool) (out raid.Leaving, err error) {
	v := t.base.view(node, there, false)
	for _, i := range t.identities {
		if v.isThere(i.key) {
			v.there[i.key] = i.to.removed == staying
		}
	}
	now, err := t.spreadNow()
	if err != nil {
		return out, err
	}
	counts := [countedKinds]count{}
	for as := range countedKinds {
		counts[as] = countRows(sumOf(now.base.files, now.added, as), sumOf(now.base.sets, now.addedSets, as), v)
	}
	n, trash := &counts[asFile], &counts[asTrash]
	for _, k := range []*count{n, trash} {
		spared, err := t.sparedBy(node, k.none.high-k.lost)
		if err != nil {
			return out, err
		}
		k.lost, k.lostAtMost = k.lost+spared, k.lostAtMost || spared > 0
	}
	return raid.Leaving{
		Files: n.holds, Lost: n.lost, AtMost: n.lostAtMost, Trash: trash.holds, TrashLost: trash.lost,
		Partial: t.meta.spreadTo != allCounted, Relocation: t.record(node).Relocation,
	}, nil
}

// CountSpread counts some more files of a catalog from before spread was there. more
// says that there are more.
func (c *Catalog) CountSpread(ctx context.Context, files int) (more bool, err error) {
	if !c.partial() {
		return false, nil
	}
	err = c.write(ctx, &op{name: "count how files are spread", rows: files, frees: true, run: func(t *tx) error {
		if t.base.meta.spreadTo == allCounted {
			return nil
		}
		t.changed = true
		return t.countSpread(int64(files))
	}})
	return c.partial(), err
}

func (c *Catalog) partial() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.state.meta.spreadTo != allCounted
}

func (t *tx) countSpread(files int64) error {
	from, to := t.base.meta.spreadTo, int64(allCounted)
	var ids []int64
	long := false
	err := t.conn.query(func(r []driver.Value) error {
		if !long { // one of these is enough at once
			ids, long = append(ids, integer(r[0])), integer(r[1]) > longFile
		}
		return nil
	}, "SELECT id, stripes FROM upload WHERE id > ? AND state IN (1, 2) ORDER BY id LIMIT +?", from, files)
	if err != nil {
		return err
	}
	if long || int64(len(ids)) == files {
		to = ids[len(ids)-1]
	}
	for _, id := range ids {
		t.note(id, &moved{was: uncounted})
	}
	t.meta.spreadTo = to
	return nil
}

// loadSpread reads how files are spread. What does not add up to the number of files is
// counted anew: whether a node may go is decided by it.
func (c *Catalog) loadSpread(w *conn) error {
	rows, err := readSpread(w)
	if err != nil {
		return err
	}
	m := &c.state.meta
	if m.spreadTo == allCounted && !rows.sound(rowCount{m.counts.Files, m.counts.Trash.Files}) {
		c.log.Warn("how files are spread over nodes does not add up, and is counted anew", "files", m.counts.Files, "in_trash", m.counts.Trash.Files)
		if err := w.script("DELETE FROM spread; DELETE FROM spread_set; DELETE FROM long_file; UPDATE meta SET spread_to = 0"); err != nil {
			return fmt.Errorf("begin to count how files are spread: %w", err)
		}
		m.spreadTo, rows = 0, newSpread()
	}
	c.state.spread = rows
	return nil
}

// sound reports whether rows can be those of so many files.
func (s *spreadTable) sound(want rowCount) bool {
	for as := range countedKinds {
		sum, inSets := int64(0), int64(0)
		for places, n := range countOf(s.files, as) {
			r, err := parsePlaces(places)
			if err != nil || n < 0 {
				return false
			}
			sum += n
			inSets += n * truth(r.kind != exactRow)
		}
		if sum != want[as] || !soundSets(countOf(s.sets, as), inSets) {
			return false
		}
	}
	return true
}

// readSpread reads the rows of spread. Those without files go while none is needed to
// tell which row a file is in.
func readSpread(w *conn) (rows spreadTable, err error) {
	_, err = w.exec("DELETE FROM spread WHERE files = 0 AND trash = 0 AND NOT EXISTS (SELECT 1 FROM spread WHERE (files > 0 OR trash > 0) AND (places LIKE '~%' OR places LIKE '*%'))")
	if err == nil {
		_, err = w.exec("DELETE FROM spread_set WHERE files = 0 AND trash = 0 AND NOT EXISTS (SELECT 1 FROM spread WHERE (files > 0 OR trash > 0) AND (places LIKE '~%' OR places LIKE '*%'))")
	}
	if err != nil {
		return rows, fmt.Errorf("drop empty places: %w", err)
	}
	rows = newSpread()
	err = w.query(func(r []driver.Value) error {
		places := text(r[0])
		p := placedFiles(places)
		p.n = rowCount{integer(r[1]), integer(r[2])}
		rows.files[places] = p
		rows.kinds[kindOf(places)]++
		return nil
	}, "SELECT places, files, trash FROM spread")
	if err == nil {
		err = w.query(func(r []driver.Value) error {
			rows.addSet(text(r[0]), rowCount{integer(r[1]), integer(r[2])})
			return nil
		}, "SELECT places, files, trash FROM spread_set")
	}
	if err != nil {
		return rows, fmt.Errorf("read how files are spread: %w", err)
	}
	return rows, nil
}
