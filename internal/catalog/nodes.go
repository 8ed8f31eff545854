package catalog

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

// recordColumns are read by scanRecord, recordWidth of them.
const (
	recordColumns = "id, zone, address, draining, cleaned_run, disk, last_seen, last_total, last_free, last_chunks, last_version, drained, replaced, successor, filling, " +
		"scrub_paused, scrub_pass, scrub_began, scrub_ended"
	recordWidth = 19
)

func scanRecord(r []driver.Value) raid.NodeRecord {
	return raid.NodeRecord{
		ID: raid.NodeID(text(r[0])), Zone: text(r[1]), Address: text(r[2]), CleanedRun: uint32(integer(r[4])), Disk: integer(r[5]),
		Relocation: raid.Relocation{
			Draining: integer(r[3]) != 0, Drained: integer(r[11]) != 0, Replaced: integer(r[12]) != 0, Successor: raid.NodeID(text(r[13])),
			Filling: integer(r[14]) != 0,
		},
		Last:        raid.NodeSight{At: text(r[6]), TotalBytes: integer(r[7]), FreeBytes: integer(r[8]), Chunks: integer(r[9]), Version: text(r[10])},
		ScrubPaused: integer(r[15]) != 0, Scrub: raid.ScrubNote{Pass: integer(r[16]), Began: text(r[17]), Ended: text(r[18])},
	}
}

// Nodes returns what is known of all native nodes that have joined, or that a
// chunk or SaveNode ever named, without those that were removed. It does no I/O.
func (c *Catalog) Nodes(context.Context) ([]raid.NodeRecord, error) {
	if err := c.writer.check(); err != nil {
		return nil, err
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make([]raid.NodeRecord, 0, len(c.state.nodes))
	for _, n := range c.state.nodes {
		if n.removed == staying {
			out = append(out, n.NodeRecord)
		}
	}
	return out, nil
}

// Node returns the record of a native node that was not removed. It does no I/O.
func (c *Catalog) Node(id raid.NodeID) (raid.NodeRecord, bool) {
	n, ok := c.known(id)
	return n.NodeRecord, ok && n.removed == staying
}

// SaveNode records what was observed of a native node, durably. It writes only
// when that changes something, and nothing of a node that was removed. What people
// decide it leaves alone: the zone, whether it drains, and a size of the disk that is
// there; see ChangeNode and Relocate.
func (c *Catalog) SaveNode(ctx context.Context, r raid.NodeRecord) error {
	if !r.ID.IsNative() {
		return fmt.Errorf("save node %q: %w: only native nodes are remembered", r.ID, raid.ErrInvalid)
	}
	if n, ok := c.known(r.ID); ok && n.NodeRecord == observed(n.NodeRecord, r) {
		return c.writer.check()
	}
	return c.write(ctx, &op{name: "save node " + string(r.ID), rows: 1, run: func(t *tx) error {
		key, err := t.nodeKey(r.ID)
		if err != nil || t.gone(r.ID) {
			return err
		}
		return t.setRecord(key, observed(t.record(key), r))
	}})
}

// observed is a record with what was seen since.
func observed(old, seen raid.NodeRecord) raid.NodeRecord {
	seen.ID, seen.Zone, seen.Relocation = old.ID, old.Zone, old.Relocation
	seen.ScrubPaused, seen.Scrub = old.ScrubPaused, old.Scrub
	if old.Disk != 0 {
		seen.Disk = old.Disk
	}
	return seen
}

// ChangeNode changes what people decide about a native node, durably. It fails with
// raid.ErrInvalid for what can't be, and with raid.ErrNotFound when the catalog does
// not know the node, or it was removed.
func (c *Catalog) ChangeNode(ctx context.Context, id raid.NodeID, to raid.NodeChange) (m raid.Member, err error) {
	if to.Zone != nil && !raid.ValidZone(*to.Zone) || to.Disk != nil && *to.Disk <= 0 {
		return m, fmt.Errorf("change node %s: %w: a zone has at most %d bytes that can be shown, a disk some bytes", id, raid.ErrInvalid, raid.MaxZone)
	}
	err = c.write(ctx, &op{name: "change node " + string(id), rows: 1, run: func(t *tx) error {
		key := t.findNode(id)
		who := t.identity(key)
		if key == 0 || who.removed != staying {
			return fmt.Errorf("%w: there is no such node", raid.ErrNotFound)
		}
		before := t.record(key)
		after := before
		if to.Zone != nil {
			after.Zone = *to.Zone
		}
		if to.Disk != nil {
			after.Disk = *to.Disk
		}
		if after != before {
			if err := t.setRecord(key, after); err != nil {
				return err
			}
		}
		return t.rename(key, who, to, &m)
	}})
	return m, err
}

// rename gives a node another name, where one is given. m becomes the member as it
// is then.
func (t *tx) rename(key int64, who identity, to raid.NodeChange, m *raid.Member) error {
	before := who
	if to.Name != nil {
		who.named = *to.Name != ""
		if who.named {
			who.name = *to.Name
		}
	}
	if to.HostName != nil && !who.named {
		who.name = *to.HostName
	}
	*m = who.member(t.nodeID(key))
	if who == before {
		return nil
	}
	return t.setIdentity(key, who)
}

// record is that of the node with a key as this transaction has left it.
func (t *tx) record(key int64) raid.NodeRecord {
	id := t.nodeID(key)
	for n := len(t.saved) - 1; n >= 0; n-- {
		if t.saved[n].ID == id {
			return t.saved[n]
		}
	}
	if key <= int64(len(t.base.nodes)) {
		return t.base.nodes[key-1].NodeRecord
	}
	return raid.NodeRecord{ID: id}
}

func (t *tx) setRecord(key int64, r raid.NodeRecord) error {
	_, err := t.exec(`UPDATE node SET zone = ?, address = ?, draining = ?, cleaned_run = ?, disk = ?,
		last_seen = ?, last_total = ?, last_free = ?, last_chunks = ?, last_version = ?, drained = ?, replaced = ?, successor = ?, filling = ?,
		scrub_paused = ?, scrub_pass = ?, scrub_began = ?, scrub_ended = ? WHERE key = ?`,
		r.Zone, r.Address, truth(r.Draining), int64(r.CleanedRun), r.Disk,
		r.Last.At, r.Last.TotalBytes, r.Last.FreeBytes, r.Last.Chunks, r.Last.Version, truth(r.Drained), truth(r.Replaced), string(r.Successor), truth(r.Filling),
		truth(r.ScrubPaused), r.Scrub.Pass, r.Scrub.Began, r.Scrub.Ended, key)
	if err == nil {
		t.saved = append(t.saved, r)
	}
	return err
}
