package controller

import (
	"context"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

// findSpace tells when no file can be stored any more, and what would help.
func (c *Controller) findSpace(context.Context) []raid.Finding {
	if why := c.objects.Full(); why != "" {
		return []raid.Finding{{Health: raid.Degraded, Impairs: true, Text: "no room for files: " + why}}
	}
	return nil
}

// room is how many bytes files can still take, see placement.Cost.
func (c *Controller) room() int64 { return c.objects.Cost().Room(c.members.Candidates()) }

// nearlyFull warns of nodes that are.
func nearlyFull(nodes []raid.NodeInfo) (all []string) {
	for _, n := range nodes {
		if n.Kind == raid.Native && n.IsThere() && raid.NearlyFull(n.FreeBytes, n.TotalBytes) {
			used := 100 - n.FreeBytes*100/n.TotalBytes
			all = append(all, fmt.Sprintf("%s is %d %% full, %d MiB are left to it: add a node soon, or delete files", calledNode(n), used, n.FreeBytes>>20))
		}
	}
	return all
}
