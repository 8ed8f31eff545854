package catalog

import (
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"io"

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
	if c.epoch, m.commit, err = drawEpoch(c.run, cfg.Random); err != nil {
		_, _ = w.exec("ROLLBACK")
		return err
	}
	_, err = w.exec("UPDATE meta SET run = ?, commit_number = ?, next_id = ?", int64(c.run), int64(m.commit), m.nextID)
	if err != nil {
		_, _ = w.exec("ROLLBACK")
		return fmt.Errorf("write run number: %w", err)
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
		m.counts = Counts{Files: integer(r[4]), Bytes: integer(r[5]), Degraded: integer(r[6]), Removals: integer(r[7])}
		return nil
	}, "SELECT array_id, run, commit_number, next_id, files, bytes, degraded, removals FROM meta")
	if err != nil {
		return fmt.Errorf("read totals: %w", err)
	}
	if run >= maxRun {
		return fmt.Errorf("begin a run: no run number is left after %d", run)
	}
	c.run = uint32(run) + 1
	if err := c.loadRuns(w, run, m.commit); err != nil {
		return err
	}
	c.state.byID = make(map[raid.NodeID]int64)
	err = w.query(func(r []driver.Value) error {
		n := node{removals: integer(r[6])}
		n.ID, n.Zone, n.Address = raid.NodeID(text(r[1])), text(r[2]), text(r[3])
		n.Draining, n.CleanedRun = integer(r[4]) != 0, uint32(integer(r[5]))
		c.state.nodes = append(c.state.nodes, n)
		c.state.byID[n.ID] = int64(len(c.state.nodes))
		if integer(r[0]) != int64(len(c.state.nodes)) {
			return fmt.Errorf("node %s has key %d, not %d: %w", n.ID, integer(r[0]), len(c.state.nodes), raid.ErrCorrupt)
		}
		return nil
	}, "SELECT key, id, zone, address, draining, cleaned_run, removals FROM node ORDER BY key")
	if err != nil {
		return fmt.Errorf("read nodes: %w", err)
	}
	return nil
}

// A commit number is made of three: 19 bits of run, 12 random ones and 32 of
// counting. The random ones tell a run from the run of the same number that a
// catalog went through before it was put back.
const (
	tagBits = 12
	maxRun  = 1<<19 - 1
)

// drawEpoch draws the upper half of a run's commit numbers, and returns the
// number of its first write transaction too, which is the one that makes the run.
func drawEpoch(run uint32, random io.Reader) (epoch uint32, first uint64, err error) {
	var b [2]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return 0, 0, fmt.Errorf("draw a run's tag: %w", err)
	}
	epoch = run<<tagBits | uint32(binary.BigEndian.Uint16(b[:]))&(1<<tagBits-1)
	return epoch, uint64(epoch)<<32 | 1, nil
}

// loadRuns notes how far the last run came, and loads how far all did.
func (c *Catalog) loadRuns(w *conn, run int64, last uint64) error {
	if run > 0 {
		if _, err := w.exec("INSERT INTO run VALUES (?, ?)", run, int64(last)); err != nil {
			return fmt.Errorf("end run %d: %w", run, err)
		}
	}
	c.ends = map[uint32]uint64{}
	err := w.query(func(r []driver.Value) error {
		last := uint64(integer(r[0]))
		c.ends[uint32(last>>32)] = last
		return nil
	}, "SELECT last FROM run")
	if err != nil {
		return fmt.Errorf("read earlier runs: %w", err)
	}
	return nil
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
	_, err = w.exec("INSERT INTO meta VALUES (1, ?, 0, 0, 1, 0, 0, 0, 0)", id)
	return err
}
