package admission

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
)

// Leave removes the node at the other end of a connection, as Remove does.
func (d *Desk) Leave(ctx context.Context, cs tls.ConnectionState, force bool) error {
	id, err := d.whoever(cs)
	if err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	return d.Remove(ctx, id, force)
}

// Remove ends a node for good, joined or not: once it has returned, the node's
// connections are cut and none is let in again. It fails with raid.ErrNotFound;
// and with raid.ErrPrecondition when the node has chunks, unless forced.
func (d *Desk) Remove(ctx context.Context, id raid.NodeID, force bool) error {
	if _, err := raid.DecodeID(string(id)); err != nil {
		return fmt.Errorf("remove a node: %w: %.40q is not a node's id", raid.ErrNotFound, id)
	}
	m, _ := d.member(id)
	m.ID = id
	if !force && !m.Removed {
		if err := d.checkEmpty(ctx, m); err != nil {
			return err
		}
	}
	// Who hangs up now does not stop it half way.
	err := d.change(ctx, func() error { return d.remove(context.WithoutCancel(ctx), id) })
	if gone, _ := d.member(id); gone.Removed {
		// Also when it failed after that was written.
		d.cfg.Cut(id, fmt.Errorf("%w: %s", identity.ErrRemoved, id))
	}
	if err != nil {
		return fmt.Errorf("remove node %s: %w", id, err)
	}
	d.cfg.Log.Info("node removed", "node", id, "name", m.Name, "forced", force)
	return nil
}

// checkEmpty refuses to remove a node with chunks.
func (d *Desk) checkEmpty(ctx context.Context, m raid.Member) error {
	chunks, alone, err := d.cfg.Book.NodeChunks(ctx, m.ID)
	if err != nil {
		return fmt.Errorf("remove node %s: count its chunks: %w", m.ID, err)
	}
	const force = "To remove the node all the same, add --force"
	switch {
	case chunks == 0:
		return nil
	case alone == 0:
		return refuse(raid.ErrPrecondition, "Node %s still has %d chunks, and each of them has a good copy on another node: files stay, with a copy less until they are repaired. %s",
			called(m), chunks, force)
	}
	return refuse(raid.ErrPrecondition, "Node %s still has %d chunks, and %d of them have no other good copy: files would be LOST. Wait until they are repaired. %s",
		called(m), chunks, alone, force)
}

// remove writes it down. The caller holds change.
func (d *Desk) remove(ctx context.Context, id raid.NodeID) error {
	err := d.cfg.Book.RemoveNode(ctx, id)
	if err != nil && !d.isRemovedInBook(ctx, id) {
		return err
	}
	m, _ := d.member(id)
	m.ID, m.Removed = id, true
	d.keep(m)
	return err
}

// isRemovedInBook tells how far a removal came that failed: what follows the
// durable mark may take several transactions.
func (d *Desk) isRemovedInBook(ctx context.Context, id raid.NodeID) bool {
	all, err := d.cfg.Book.Members(ctx)
	if errors.Is(err, raid.ErrCatalogBroken) {
		return true // it may be; better refused than let in
	}
	for _, m := range all {
		if m.ID == id {
			return m.Removed
		}
	}
	return false
}
