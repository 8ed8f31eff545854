package controller

import (
	"context"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

// changeNode does what a person has decided about a node.
func (c *Controller) changeNode(ctx context.Context, id raid.NodeID, to raid.NodeChange) error {
	// One without TLS that has no chunk yet is known by its connection alone.
	if p, ok := c.members.Peer(id); ok && !p.Lab() && !c.catalog.Remembers(id) && !c.catalog.Gone(id) {
		if err := c.catalog.SaveNode(ctx, raid.NodeRecord{ID: id}); err != nil {
			return err
		}
	}
	if err := c.registrar.Change(ctx, id, to); err != nil {
		return err
	}
	c.members.Reconsider(id)
	c.cfg.Log.Info("a node was changed", "node", id, "zone", said(to.Zone), "name", said(to.Name), "disk", said(to.Disk))
	return nil
}

// said is what a log has of a wish that may be none.
func said[T any](v *T) any {
	if v == nil {
		return "as it was"
	}
	return *v
}

// proposals are what nodes say of themselves that counts only when a person has
// accepted it, each with how. What comes from a node stands in a line to paste
// only when a shell sees nothing in it.
func proposals(nodes []raid.NodeInfo) (all []string) {
	args := raid.NodeArgs(nodes)
	for _, n := range nodes {
		arg := args[n.ID]
		if n.ProposedZone != "" {
			accept := fmt.Sprintf("accept with: sudo raidctl node zone %s %s", arg, n.ProposedZone)
			if !raid.IsPlain(n.ProposedZone) {
				accept = fmt.Sprintf("accept with sudo raidctl node zone %s and its name in quotes", arg)
			}
			all = append(all, fmt.Sprintf("%s proposes zone %s; %s", arg, shownZone(n.ProposedZone), accept))
		}
		if n.ClaimedBytes > 0 {
			all = append(all, fmt.Sprintf("%s shows a disk of %s, and %s of it are used: a larger disk counts once it is accepted. If you put one in: sudo raidctl node accept %s",
				arg, gigabytes(n.ClaimedBytes), gigabytes(n.TotalBytes), arg))
		}
	}
	return all
}

func shownZone(z string) string {
	if raid.IsPlain(z) {
		return z
	}
	return fmt.Sprintf("%q", z)
}

// gigabytes is a size as it stands on a card.
func gigabytes(n int64) string {
	if n < 1e9 {
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}
