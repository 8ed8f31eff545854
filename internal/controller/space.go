package controller

import (
	"context"
	"fmt"

	"github.com/raidpi/raidpi/internal/raid"
)

// findSpace tells when no file can be stored any more, and what would help.
func (c *Controller) findSpace(context.Context) []raid.Finding {
	if why := c.objects.Full(); why != "" && c.trash.Makes() == 0 {
		return []raid.Finding{{Health: raid.Degraded, Impairs: true, Text: "no room for files: " + why}}
	}
	return nil
}

// room returns the bytes that files can still take, what the trash makes way for included.
func (c *Controller) room() int64 { return c.trash.Room() }

// nearlyFull warns of nodes that are.
func nearlyFull(nodes []raid.NodeInfo, trash bool) (all []string) {
	advice := "add a node soon, or delete files"
	if trash {
		advice += ", or empty the trash"
	}
	for _, n := range nodes {
		if n.Kind == raid.Native && n.IsThere() && raid.NearlyFull(n.FreeBytes, n.TotalBytes) {
			used := 100 - n.FreeBytes*100/n.TotalBytes
			all = append(all, fmt.Sprintf("%s is %d %% full, %d MiB are left to it: %s", calledNode(n), used, n.FreeBytes>>20, advice))
		}
	}
	return all
}
