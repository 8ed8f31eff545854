package catalog

import (
	"io"
	"log/slog"
	"slices"

	"github.com/raidpi/raidpi/internal/raid"
)

// tx is one transaction: what its ops changed in memory beside the database. All
// of it becomes the catalog's state with the commit, or nothing.
type tx struct {
	conn    *conn
	log     *slog.Logger
	random  io.Reader
	now     func() string
	ran     func() int64 // milliseconds, see Catalog.Ran
	base    state        // what was committed before
	meta    meta
	changed bool

	added      []raid.NodeID     // nodes that get the next keys
	saved      []raid.NodeRecord // nodes whose records changed
	identities []identityChange
	removals   []removalDelta
	ended      []uint64            // last commit numbers of epochs
	moves      map[int64]*moved    // files whose copies may have changed, by id
	spread     map[string]rowCount // files that rows of spread gain
	spreadSets map[string]rowCount // the same of spread_set
	after      []func()            // run once it is durable, on the writer's goroutine
}

type removalDelta struct{ node, n int64 }

// txMark is a state of tx to come back to.
type txMark struct {
	meta                          meta
	changed                       bool
	added, saved, removals, ended int
	identities, after             int
}

func (t *tx) mark() txMark {
	return txMark{t.meta, t.changed, len(t.added), len(t.saved), len(t.removals), len(t.ended), len(t.identities), len(t.after)}
}

func (t *tx) reset(m txMark) {
	t.meta, t.changed = m.meta, m.changed
	t.added, t.saved = t.added[:m.added], t.saved[:m.saved]
	t.removals, t.ended, t.after = t.removals[:m.removals], t.ended[:m.ended], t.after[:m.after]
	t.identities = t.identities[:m.identities]
	for _, f := range t.moves {
		f.known = false // what it was known from did not happen
	}
}

// exec runs sql and notes whether it changed anything.
func (t *tx) exec(sql string, args ...any) (int64, error) {
	n, err := t.conn.exec(sql, args...)
	if n > 0 && err == nil {
		t.changed = true
	}
	return n, err
}

// nodeKey returns the key of a node, giving it one when it is new. Lab nodes
// have none: 0.
func (t *tx) nodeKey(id raid.NodeID) (int64, error) {
	if !id.IsNative() {
		return 0, nil
	}
	if k := t.findNode(id); k != 0 {
		return k, nil
	}
	key := int64(len(t.base.nodes) + len(t.added) + 1)
	if _, err := t.exec("INSERT INTO node (key, id) VALUES (?, ?)", key, string(id)); err != nil {
		return 0, err
	}
	t.added = append(t.added, id)
	return key, nil
}

// findNode is the key of a node that has one, also one that this transaction gave
// it, else 0.
func (t *tx) findNode(id raid.NodeID) int64 {
	if k := t.base.byID[id]; k != 0 {
		return k
	}
	if i := slices.Index(t.added, id); i >= 0 {
		return int64(len(t.base.nodes) + i + 1)
	}
	return 0
}

// nodeID is the node with a key, also one that this transaction added.
func (t *tx) nodeID(key int64) raid.NodeID {
	if i := key - int64(len(t.base.nodes)) - 1; i >= 0 && i < int64(len(t.added)) {
		return t.added[i]
	}
	return t.base.node(key)
}

// node is the id of the node with a key, empty for a lab node's 0.
func (s state) node(key int64) raid.NodeID {
	if key < 1 || key > int64(len(s.nodes)) {
		return ""
	}
	return s.nodes[key-1].ID
}

// settle writes the totals, as the last thing before COMMIT.
func (t *tx) settle() error {
	sums := make(map[int64]int64)
	for _, d := range t.removals {
		sums[d.node] += d.n
		t.meta.counts.Removals += d.n
	}
	for node, n := range sums {
		if _, err := t.exec("UPDATE node SET removals = removals + ? WHERE key = ?", n, node); err != nil {
			return err
		}
	}
	if err := t.count(); err != nil {
		return err
	}
	if err := t.settleSpread(); err != nil {
		return err
	}
	t.meta.latest, t.meta.ran = t.now(), t.ran()
	c := t.meta.counts
	_, err := t.exec(`UPDATE meta SET run = ?, commit_number = ?, next_id = ?, files = ?, bytes = ?, degraded = ?, removals = ?, latest = ?, spread_to = ?,
		ran = ?, trash_files = ?, trash_bytes = ?`,
		int64(t.meta.run), int64(t.meta.commit), t.meta.nextID, c.Files, c.Bytes, c.Degraded, c.Removals, t.meta.latest, t.meta.spreadTo,
		t.meta.ran, c.Trash.Files, c.Trash.Bytes)
	return err
}

// apply makes what t committed part of s.
func (s *state) apply(t *tx) {
	for _, last := range t.ended {
		s.ends[epochOf(last)] = last
	}
	s.meta = t.meta
	for _, id := range t.added {
		s.nodes = append(s.nodes, node{NodeRecord: raid.NodeRecord{ID: id}})
		s.byID[id] = int64(len(s.nodes))
	}
	for _, r := range t.saved {
		s.nodes[s.byID[r.ID]-1].NodeRecord = r
	}
	for _, i := range t.identities {
		s.nodes[i.key-1].identity = i.to
	}
	for _, d := range t.removals {
		s.nodes[d.node-1].removals += d.n
	}
	for places, n := range t.spread {
		s.spread.add(places, n)
	}
	for row, n := range t.spreadSets {
		s.spread.addSet(row, n)
	}
}
