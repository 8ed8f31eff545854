package controller

import "github.com/raidpi/raidpi/internal/raid"

// happened takes note of an event. It is a raid.Tell.
func (c *Controller) happened(e raid.Event) {
	c.cfg.Log.Debug("event", "kind", e.Kind, "node", e.Node, "file", e.File, "text", e.Text, "advice", e.Advice)
	c.events.Tell(e)
}
