package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/raidpi/raidpi/internal/placement"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/relocate"
	"github.com/raidpi/raidpi/internal/repair"
)

// newRelocator makes what decides which good copies move.
func (c *Controller) newRelocator() *relocate.Relocator {
	cost := c.objects.Cost()
	return relocate.New(relocate.Config{
		Record: c.catalog, Wishes: c.catalog, Array: nodeArray{c}, Lost: c.repair.Lost, Uploads: c.objects.Uploads,
		Remove: func(ctx context.Context, id raid.NodeID) error {
			return c.registrar.Remove(ctx, id, raid.RemoveOrder{Replaced: true})
		},
		Revoke:   c.registrar.RevokeReplacements,
		Copies:   c.cfg.Copies,
		Overhead: cost.Overhead,
		Tell:     c.happened,
		Log:      c.cfg.Log,
	})
}

// wishes are what has copies made elsewhere that are good.
func (c *Controller) wishes() []repair.Wish {
	return []repair.Wish{{
		Nodes:   func() []raid.NodeID { return c.relocate.Sources() },
		Pick:    func(p *raid.Part) (raid.Move, bool) { return c.relocate.Pick(p) },
		Begin:   func(p *raid.Part) (raid.Move, func(raid.Copy, bool), bool) { return c.relocate.Begin(p) },
		Instead: func(p *raid.Part, lost raid.NodeID) func(raid.NodeID) bool { return c.relocate.Instead(p, lost) },
		Left: func() (parts, bytes int64) {
			drain, zone, balance := c.relocate.Left()
			// What moves to a zone that was added is much of what makes it even.
			return drain.Parts + max(zone.Parts, balance.Parts), drain.Bytes + max(zone.Bytes, balance.Bytes)
		},
		Moved: func(p *raid.Part, old, fresh raid.Copy) { c.relocate.Moved(p, old, fresh) },
	}}
}

// findZones tells of parts that a whole zone would take along, and why they stay so. Each
// has its copies on two nodes, so this alone makes no array less than healthy.
func (c *Controller) findZones(context.Context) []raid.Finding {
	return stuckInZones(c.relocate.Stuck())
}

func stuckInZones(stuck relocate.Amount) []raid.Finding {
	if stuck.Parts == 0 {
		return nil
	}
	return []raid.Finding{{Health: raid.Healthy, Text: fmt.Sprintf(
		"%s parts (%s) have all copies in one zone, since other zones have no room for them: add a node there, or free some space",
		grouped(stuck.Parts), gigabytes(stuck.Bytes))}}
}

// nodeArray is the array as package relocate sees it.
type nodeArray struct{ c *Controller }

// Nodes implements relocate.Array.
func (a nodeArray) Nodes() []raid.NodeInfo { return a.c.nodesByName() }

// Candidates implements relocate.Array.
func (a nodeArray) Candidates() []placement.Candidate { return a.c.members.Candidates() }

// Changed implements relocate.Array.
func (a nodeArray) Changed() <-chan struct{} { return a.c.members.Changed() }

// Reconsider implements relocate.Array.
func (a nodeArray) Reconsider(id raid.NodeID) { a.c.members.Reconsider(id) }

// relocations are what REST may do about where copies are.
type relocations struct{ c *Controller }

// Drain implements httpapi.Relocations.
func (r relocations) Drain(ctx context.Context, id raid.NodeID) error {
	return r.c.relocate.Drain(ctx, id)
}

// Undrain implements httpapi.Relocations.
func (r relocations) Undrain(ctx context.Context, id raid.NodeID) error {
	return r.c.relocate.Undrain(ctx, id)
}

// Replace implements httpapi.Relocations.
func (r relocations) Replace(ctx context.Context, id raid.NodeID, life time.Duration) (text string, k raid.JoinToken, err error) {
	if err := r.c.relocate.Replace(ctx, id); err != nil {
		return "", k, err
	}
	t, k, err := r.c.registrar.CreateReplacement(life, id)
	if err != nil {
		return "", k, fmt.Errorf("make a token for the Pi that takes its place: %w", err)
	}
	return t.String(), k, nil
}
