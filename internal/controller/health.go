package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// assess is how the array is now. REST, the line that systemd shows, and metrics all
// say what it says. Whoever knows of something else that can be wrong adds a source.
func (c *Controller) assess(ctx context.Context) raid.Assessment {
	var found []raid.Finding
	for _, look := range []func(context.Context) []raid.Finding{
		c.findCatalog, c.findNodes, c.findDegraded,
	} {
		found = append(found, look(ctx)...)
	}
	return raid.Assess(found)
}

// findCatalog tells of a catalog that can't be believed.
func (c *Controller) findCatalog(context.Context) []raid.Finding {
	if err := c.ready(); err != nil {
		return []raid.Finding{{Health: raid.AtRisk, Text: err.Error(), Impairs: true}}
	}
	return nil
}

// findNodes tells of nodes that are not there.
func (c *Controller) findNodes(context.Context) (found []raid.Finding) {
	there, all := 0, c.nodesByName()
	for _, n := range all {
		if isThere(n) {
			there++
			continue
		}
		found = append(found, raid.Finding{Health: raid.Degraded, Text: awayText(n)})
	}
	switch {
	case len(all) == 0:
		found = append(found, raid.Finding{
			Health: raid.Degraded, Impairs: true,
			Text: "no node has joined yet, so nothing can be stored: sudo raidctl token create prints what to paste on each Pi",
		})
	case there == 0:
		found = append(found, raid.Finding{Health: raid.AtRisk, Impairs: true, Text: "no node is up, so nothing can be stored or read: start them"})
	}
	return found
}

// isThere reports whether a node answers: what lies on one that does not is not to
// be had now.
func isThere(n raid.NodeInfo) bool { return n.State == raid.Up || n.State == raid.Draining }

// awayText says of a node that is not there for how long that is so.
func awayText(n raid.NodeInfo) string {
	if n.State == raid.Suspect {
		return calledNode(n) + " does not answer"
	}
	if n.Silent < time.Minute {
		return calledNode(n) + " is away"
	}
	return fmt.Sprintf("%s is away for %s", calledNode(n), roughly(n.Silent))
}

// calledNode is what people call a node.
func calledNode(n raid.NodeInfo) string {
	if n.Name == "" {
		return string(n.ID)
	}
	return n.Name
}

// roughly writes a length of time in its largest unit.
func roughly(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	}
	return fmt.Sprintf("%d min", d/time.Minute)
}

// findDegraded tells of files that wait for their repair.
func (c *Controller) findDegraded(ctx context.Context) []raid.Finding {
	n, err := c.catalog.Counts(ctx)
	if err != nil || n.Degraded == 0 {
		return nil
	}
	return []raid.Finding{{Health: raid.Degraded, Text: files(n.Degraded) + " degraded, to be repaired"}}
}

// files is a number of files in words.
func files(n int64) string {
	if n == 1 {
		return "1 file"
	}
	return fmt.Sprintf("%d files", n)
}

// spreadStep is how many files of an older catalog are counted in one transaction,
// and spreadAgain how soon one that failed is tried again.
const (
	spreadStep  = 512
	spreadAgain = 10 * time.Second
)

// countSpread counts, after an update, how the files of an older catalog are spread.
func (c *Controller) countSpread(ctx context.Context) error {
	for {
		more, err := c.catalog.CountSpread(ctx, spreadStep)
		switch {
		case ctx.Err() != nil, errors.Is(err, raid.ErrCatalogBroken):
			return nil // which watchCatalog tells
		case err != nil:
			c.cfg.Log.Warn("how files are spread over nodes could not be counted; it is tried again", "error", err)
		case !more:
			return nil
		default:
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(spreadAgain):
		}
	}
}
