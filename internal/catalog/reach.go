package catalog

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"

	"github.com/raidpi/raidpi/internal/raid"
)

// Reach is what can be read of the files while only some nodes are there.
type Reach struct {
	OneCopy int64 // files of which some part has one good copy within reach, and none has none
	None    int64 // files of which some part has none
	AtMost  bool  // so many at most; else it is exact
	Partial bool  // only the files that were counted so far, see CountSpread
}

// Reach counts what can be read when only the good copies on these nodes, and those
// on lab nodes if lab is true, are within reach. Nodes that were removed never are. No
// I/O; it takes time by the number of rows of spread.
func (c *Catalog) Reach(there func(raid.NodeID) bool, lab bool) Reach {
	c.mu.RLock()
	defer c.mu.RUnlock()
	v := view{there: make([]bool, len(c.state.nodes)+1)}
	v.there[0] = lab
	for i, n := range c.state.nodes {
		v.there[i+1] = n.removed == staying && there(n.ID)
		v.away = v.away || !v.there[i+1] && n.removed != left
	}
	out := Reach{Partial: c.state.meta.spreadTo != allCounted}
	for places, files := range c.state.spread.files {
		if files == 0 {
			continue
		}
		r, _ := parsePlaces(places) // this program wrote it, or has read it at its start
		copies, sure := r.within(v)
		switch copies {
		case 0:
			out.None += files
		case 1:
			out.OneCopy += files
		}
		out.AtMost = out.AtMost || !sure
	}
	return out
}

// view says which nodes are within reach, by their keys.
type view struct {
	there []bool
	away  bool // some node of the array is not
}

func (v view) has(key int64) bool { return key < int64(len(v.there)) && v.there[key] }

// within is how many copies the worst part of the row's files has within reach: at
// least so many, and not more if sure.
func (r spreadRow) within(v view) (copies int, sure bool) {
	gone := 0
	switch r.kind {
	case anyRow:
		if r.least == 0 || !v.away && (len(r.sets) == 0 || v.has(0)) {
			return r.least, true
		}
		return 0, false
	case coarseRow:
		for _, k := range r.sets[0] {
			if !v.has(k) && k == 0 {
				gone++ // a part may have several copies on lab nodes
			}
			gone += int(truth(!v.has(k)))
		}
		// With one node away, some part has lost just that copy.
		return max(0, r.least-gone), r.least == 0 || gone == 0 || gone == 1 && r.least == 2
	}
	copies = r.least
	for _, set := range r.sets {
		n := 0
		for _, k := range set {
			n += int(truth(v.has(k)))
		}
		copies = min(copies, n)
	}
	return copies, true
}

// leaving counts what rests on a node, when the good copies on these other nodes
// alone are counted on. A copy on a lab node is no promise.
func (t *tx) leaving(node int64, there func(raid.NodeID) bool) (out raid.Leaving, err error) {
	v := view{there: make([]bool, len(t.base.nodes)+1)}
	for i, n := range t.base.nodes {
		key := int64(i + 1)
		v.there[key] = key != node && t.identity(key).removed == staying && there(n.ID)
		v.away = v.away || key != node && !v.there[key] && t.identity(key).removed != left
	}
	now, err := t.spreadNow()
	if err != nil {
		return out, err
	}
	out.Partial = t.meta.spreadTo != allCounted
	for places, files := range now.all() {
		r, err := parsePlaces(places)
		if err != nil {
			return out, err
		}
		holds, lost, sure := r.without(node, v)
		out.Files += files * truth(holds)
		out.Lost += files * truth(lost)
		out.AtMost = out.AtMost || holds && !sure && files > 0
	}
	return out, nil
}

// without tells whether some part of the row's files is on a node, and whether one
// has no copy within reach then.
func (r spreadRow) without(node int64, v view) (holds, lost, sure bool) {
	switch r.kind {
	case anyRow:
		return true, v.away || r.least < 2 || len(r.sets) > 0, false
	case coarseRow:
		if !slices.Contains(r.sets[0], node) {
			return false, false, true
		}
		gone := 0
		for _, k := range r.sets[0] {
			gone += int(truth(k != node && !v.has(k)))
		}
		lost = gone > 0 || r.least < 2
		return true, lost, !lost
	}
	for _, set := range r.sets {
		if !slices.Contains(set, node) {
			continue
		}
		holds = true
		lost = lost || !slices.ContainsFunc(set, v.has)
	}
	return holds, lost, true
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
	}, "SELECT id, stripes FROM upload WHERE id > ? AND state = 1 ORDER BY id LIMIT +?", from, files)
	if err != nil {
		return err
	}
	if long || int64(len(ids)) == files {
		to = ids[len(ids)-1]
	}
	for _, id := range ids {
		t.note(id, &moved{})
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
	m, sum, sound := &c.state.meta, int64(0), true
	for places, n := range rows.files {
		_, err := parsePlaces(places)
		sum, sound = sum+n, sound && n >= 0 && err == nil
	}
	if m.spreadTo == allCounted && (!sound || sum != m.counts.Files) {
		c.log.Warn("how files are spread over nodes does not add up, and is counted anew", "counted", sum, "files", m.counts.Files)
		if err := w.script("DELETE FROM spread; DELETE FROM long_file; UPDATE meta SET spread_to = 0"); err != nil {
			return fmt.Errorf("begin to count how files are spread: %w", err)
		}
		m.spreadTo, rows = 0, spreadTable{files: map[string]int64{}}
	}
	c.state.spread = rows
	return nil
}

// readSpread reads the rows of spread. Those without files go while none is needed to
// tell which row a file is in.
func readSpread(w *conn) (rows spreadTable, err error) {
	_, err = w.exec("DELETE FROM spread WHERE files = 0 AND NOT EXISTS (SELECT 1 FROM spread WHERE files > 0 AND (places LIKE '~%' OR places LIKE '*%'))")
	if err != nil {
		return rows, fmt.Errorf("drop empty places: %w", err)
	}
	rows.files = map[string]int64{}
	err = w.query(func(r []driver.Value) error {
		places := text(r[0])
		rows.files[places] = integer(r[1])
		rows.kinds[kindOf(places)]++
		return nil
	}, "SELECT places, files FROM spread")
	if err != nil {
		return rows, fmt.Errorf("read how files are spread: %w", err)
	}
	return rows, nil
}
