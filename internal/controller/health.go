package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// assess returns the array as it is now. REST, the line that systemd shows, and metrics all
// say what it says. Whoever knows of something else that can be wrong adds a source.
func (c *Controller) assess(ctx context.Context) raid.Assessment {
	var found []raid.Finding
	for _, look := range []func(context.Context) []raid.Finding{
		c.findCatalog, c.findClaims, c.findFiles, c.findBad, c.findSpace, c.findWear, c.findZones,
	} {
		found = append(found, look(ctx)...)
	}
	return raid.Assess(found)
}

// findCatalog tells of a catalog that can't be believed, or is not that of the nodes.
func (c *Controller) findCatalog(context.Context) []raid.Finding {
	if err := c.ready(); err != nil {
		return []raid.Finding{{Health: raid.AtRisk, Text: err.Error(), Impairs: true}}
	}
	return nil
}

// findFiles tells of nodes that are not there, and of files that this concerns.
func (c *Controller) findFiles(ctx context.Context) []raid.Finding {
	if c.forgotten() != nil {
		return nil // findCatalog has said more
	}
	o := outlook{
		nodes: c.nodesByName(), isLost: map[raid.NodeID]bool{}, healing: c.repair.Progress(),
		copies: c.cfg.Copies, degradedWrites: c.cfg.DegradedWrites,
	}
	for _, n := range o.nodes {
		o.isLost[n.ID] = n.Kind == raid.Native && !n.IsThere() && c.repair.Lost(n.ID)
	}
	o.all, o.now = c.reach(o.nodes)
	slices.SortStableFunc(o.nodes, func(a, b raid.NodeInfo) int { return strings.Compare(a.Name, b.Name) })
	if n, err := c.catalog.Counts(ctx); err == nil {
		o.degraded = n.Degraded
	}
	if o.all.None > 0 {
		o.lost = c.lostFiles(ctx)
	}
	return o.findings()
}

// lookForLost bounds the time that a look for the names of lost files may take.
const lookForLost = 200 * time.Millisecond

// lostFiles are some files of which a part has no good copy on any node. If they are
// not found soon, the sentence does without.
func (c *Controller) lostFiles(ctx context.Context) (some []raid.File) {
	ctx, stop := context.WithTimeout(ctx, lookForLost)
	defer stop()
	for f, err := range c.catalog.Files(ctx, raid.FileQuery{Limit: maxNamed, Lost: true}) {
		if err != nil {
			break
		}
		some = append(some, f)
	}
	return some
}

// reach is what can be read when all nodes of the array are there, and what with those
// that are there now. Copies on lab nodes can't be told apart: all are there while one
// is.
func (c *Controller) reach(nodes []raid.NodeInfo) (all, now raid.Reach) {
	there, lab := map[raid.NodeID]bool{}, false
	key := fmt.Sprint(c.catalog.Commit())
	for _, n := range nodes {
		if there[n.ID] = n.IsThere(); n.IsThere() {
			key += " " + string(n.ID)
		}
		lab = lab || n.Kind == raid.Lab && n.IsThere()
	}
	r := &c.reached
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.key != key {
		r.all = c.catalog.Reach(func(raid.NodeID) bool { return true }, true)
		r.now = c.catalog.Reach(func(id raid.NodeID) bool { return there[id] }, lab)
		r.key = key
	}
	return r.all, r.now
}

// reached is what was found last, which holds until a write or a node that comes or goes. An idle
// array is looked at every few seconds.
type reached struct {
	mu       sync.Mutex
	key      string // the commit, and the nodes that are there
	all, now raid.Reach
}

// spreadStep is the number of files of an older catalog that are counted in one transaction,
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
