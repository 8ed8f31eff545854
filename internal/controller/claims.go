package controller

import (
	"context"
	"fmt"

	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
)

// findClaims tells of nodes that say they have seen a newer catalog and are not believed.
func (c *Controller) findClaims(context.Context) (found []raid.Finding) {
	for _, claim := range c.members.Claims() {
		name := c.called(claim.Node)
		remove := "sudo raidctl node remove " + string(claim.Node) // not by the name that it gives itself
		switch {
		case claim.Weight == membership.Impossible:
			found = append(found, raid.Finding{Health: raid.AtRisk, Text: fmt.Sprintf(
				"%s %s: it is faulty or lies, and is not believed. To remove it: %s", name, claim, remove)})
		case c.members.StaleCatalog() == nil:
			found = append(found, raid.Finding{Health: raid.AtRisk, Text: fmt.Sprintf(
				"%s %s: files are stored and deleted as ever, but nothing is removed from it. "+
					"If the catalog was put back from a backup, see /usr/share/doc/raid-controller/catalog.md; else it is faulty or lies: %s",
				name, claim, remove)})
		}
	}
	return found
}
