package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/raidpi/raidpi/internal/monitor"
	"github.com/raidpi/raidpi/internal/raid"
)

// happened takes note of an event. It is a raid.Tell.
func (c *Controller) happened(e raid.Event) {
	c.cfg.Log.Debug("event", "kind", e.Kind, "node", e.Node, "file", e.File, "text", e.Text, "advice", e.Advice)
	c.events.Tell(e)
}

// monitorEvery is the interval of the looks for changes. It needs no disk.
const monitorEvery = 2 * time.Second

// recalled is the number of events of earlier runs that are read at the start.
const recalled = 10_000

// monitor tells what changes about nodes and the catalog, until ctx ends.
func (c *Controller) monitor(ctx context.Context) error {
	m := monitor.New(monitor.Config{Tell: c.happened, Grace: c.cfg.Grace, Lost: c.repair.Lost})
	if before, err := c.events.Last(ctx, recalled); err == nil { // else some is told again
		m.Recall(before)
	}
	if was := c.catalog.FormerProgram(); was != "" && was != c.cfg.Version {
		c.happened(raid.Event{Kind: raid.Upgraded, Text: fmt.Sprintf("raid-controller %s runs now, and %s before", c.cfg.Version, was)})
	}
	tick := time.NewTicker(monitorEvery)
	defer tick.Stop()
	for {
		m.Look(c.view(ctx))
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// view returns the array as it is now.
func (c *Controller) view(ctx context.Context) monitor.View {
	v := monitor.View{Nodes: c.nodesByName(), Catalog: c.members.StaleCatalog()}
	for _, clone := range c.hub.Clones() {
		v.Clones = append(v.Clones, monitor.Clone{Node: clone.Node, Address: clone.Addr})
	}
	all, _ := c.reach(v.Nodes)
	if v.LostFiles = all.None; v.LostFiles > 0 && !all.Partial {
		v.LostExamples = c.lostFiles(ctx)
	}
	return v
}
