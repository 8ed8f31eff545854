package catalog

import (
	"database/sql/driver"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

// begin loads what is kept in memory and makes this run's number and its first
// block of ids durable.
func (c *Catalog) begin(cfg Config) (err error) {
	w := c.writer.conn
	if _, err := w.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if err := c.load(w, cfg); err != nil {
		_, _ = w.exec("ROLLBACK")
		return err
	}
	m := &c.state.meta
	c.firstID = m.nextID
	c.ids.add(m.nextID)
	m.nextID += idBlock
	if m.commit, err = drawEpoch(m.run, cfg.Random); err != nil {
		_, _ = w.exec("ROLLBACK")
		return err
	}
	m.latest = c.wall.text()
	_, err = w.exec("UPDATE meta SET run = ?, commit_number = ?, next_id = ?, latest = ?", int64(m.run), int64(m.commit), m.nextID, m.latest)
	if err != nil {
		_, _ = w.exec("ROLLBACK")
		return fmt.Errorf("write run number: %w", err)
	}
	if err := c.events.begin(w, cfg.Program); err != nil {
		_, _ = w.exec("ROLLBACK")
		return err
	}
	if _, err = w.exec("COMMIT"); err != nil {
		return fmt.Errorf("write run number: %w", err)
	}
	c.commit.Store(m.commit)
	return nil
}

func (c *Catalog) load(w *conn, cfg Config) error {
	if err := c.drawArray(w, cfg); err != nil {
		return err
	}
	var run int64
	m := &c.state.meta
	err := w.query(func(r []driver.Value) error {
		c.array, run = raid.ArrayID(text(r[0])), integer(r[1])
		m.commit, m.nextID = uint64(integer(r[2])), integer(r[3])
		m.counts = raid.Totals{Files: integer(r[4]), Bytes: integer(r[5]), Degraded: integer(r[6]), Removals: integer(r[7])}
		m.spreadTo, m.ran = integer(r[9]), integer(r[10])
		m.counts.Trash = raid.TrashTotals{Files: integer(r[11]), Bytes: integer(r[12])}
		c.ranBefore = m.ran
		return c.wall.start(text(r[8]))
	}, "SELECT array_id, run, commit_number, next_id, files, bytes, degraded, removals, latest, spread_to, ran, trash_files, trash_bytes FROM meta")
	if err != nil {
		return fmt.Errorf("read totals: %w", err)
	}
	if m.run, err = nextRun(uint32(run)); err != nil {
		return err
	}
	c.run = m.run
	if c.state.ends, err = loadEpochs(w, m.commit); err != nil {
		return err
	}
	if err := c.loadProofKey(w); err != nil {
		return err
	}
	c.state.byID = make(map[raid.NodeID]int64)
	err = w.query(func(r []driver.Value) error {
		n := node{NodeRecord: scanRecord(r[1:]), removals: integer(r[recordWidth+1])}
		var err error
		if n.identity, err = scanIdentity(r[recordWidth+2:]); err != nil {
			return fmt.Errorf("node %s: %w", n.ID, err)
		}
		c.state.nodes = append(c.state.nodes, n)
		c.state.byID[n.ID] = int64(len(c.state.nodes))
		if integer(r[0]) != int64(len(c.state.nodes)) {
			return fmt.Errorf("node %s has key %d, not %d: %w", n.ID, integer(r[0]), len(c.state.nodes), raid.ErrCorrupt)
		}
		return nil
	}, "SELECT key, "+recordColumns+", removals, "+identityColumns+" FROM node ORDER BY key")
	if err != nil {
		return fmt.Errorf("read nodes: %w", err)
	}
	if err := c.loadSpread(w); err != nil {
		return err
	}
	return c.loadTokens(w)
}

// drawArray gives a new catalog its array id.
func (c *Catalog) drawArray(w *conn, cfg Config) error {
	_, ok, err := w.queryInt("SELECT one FROM meta")
	if err != nil || ok {
		return err
	}
	id, err := raid.NewID(cfg.Random)
	if err != nil {
		return err
	}
	_, err = w.exec("INSERT INTO meta VALUES (1, ?, 0, 0, 1, 0, 0, 0, 0, '1970-01-01 00:00:00', ?, 0, 0, 0)", id, int64(allCounted))
	return err
}
