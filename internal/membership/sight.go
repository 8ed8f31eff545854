package membership

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

const (
	// noteEvery is how often at most it is written down how a node was when it came or went. One
	// that does so all the time must not wear the controller's card.
	noteEvery = time.Minute
	// lastSave bounds the time that the end of Run may take for what is still to be saved.
	lastSave = 5 * time.Second
)

// sight describes a node as it is now, for people. The time of day is nothing that anything
// is decided by. Callers hold mu.
func (n *member) sight() raid.NodeSight {
	total, free := n.room()
	return raid.NodeSight{
		At: time.Now().UTC().Format(time.DateTime), TotalBytes: total, FreeBytes: free, Chunks: n.heartbeat.Chunks, Version: n.heartbeat.Version,
	}
}

// note has it saved how a node is that came or goes: for people who look for it when
// it is away and the controller was restarted. No heartbeat writes that. Callers
// hold mu.
func (m *Members) note(n *member) {
	n.record.Last = n.sight()
	if n.notedAt.IsZero() || time.Since(n.notedAt) >= noteEvery {
		n.notedAt = time.Now()
		m.markDirty(n)
	}
}

// recall shows a node as it was seen last, by an earlier run. Callers hold mu.
func (n *member) recall(i *raid.NodeInfo) {
	last := n.record.Last
	if last.At == "" {
		return
	}
	i.Recalled = last.At
	i.TotalBytes, i.FreeBytes, i.Chunks, i.Version = last.TotalBytes, last.FreeBytes, last.Chunks, last.Version
}

// saveSights saves how the nodes are that are connected in the end, and what else
// was not saved yet.
func (m *Members) saveSights(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lastSave)
	defer cancel()
	m.mu.Lock()
	for _, n := range m.native {
		if n.session != nil {
			n.record.Last = n.sight()
			n.dirty = true
		}
	}
	m.mu.Unlock()
	for _, r := range m.takeLast() {
		err := m.cfg.Save(ctx, r)
		if errors.Is(err, raid.ErrCatalogBroken) {
			return fmt.Errorf("remember node %s: %w", r.ID, err)
		}
		if err != nil {
			m.cfg.Log.Warn("how the nodes were in the end could not be saved", "node", r.ID, "error", err)
			return nil
		}
	}
	return nil
}
