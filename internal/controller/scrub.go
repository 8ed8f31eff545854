package controller

import (
	"context"
	"fmt"
	"time"

	"github.com/raidpi/raidpi/internal/catalog"
	"github.com/raidpi/raidpi/internal/httpapi"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/verify"
)

// badCopies is the catalog for those who find bad copies. Whoever it is, a copy that
// turns bad is told once.
type badCopies struct {
	*catalog.Catalog
	c *Controller
}

// MarkBad is the catalog's.
func (b badCopies) MarkBad(ctx context.Context, file raid.FileID, stripe int64, part, index, attempt int) error {
	_, err := b.MarkAllBad(ctx, []raid.CopyID{{File: file, Stripe: stripe, Part: part, Index: index, Attempt: attempt}})
	return err
}

// MarkAllBad is the catalog's.
func (b badCopies) MarkAllBad(ctx context.Context, copies []raid.CopyID) (marked []raid.CopyID, err error) {
	marked, err = b.Catalog.MarkAllBad(ctx, copies)
	for _, m := range marked {
		b.tell(ctx, m)
	}
	return marked, err
}

// tell tells of a copy that has turned bad. What can't be found out is left out.
func (b badCopies) tell(ctx context.Context, m raid.CopyID) {
	e := raid.Event{Kind: raid.ChunkBad, File: m.File, Advice: "it is replaced from what is good. If that happens often on one node, replace its disk"}
	what := fmt.Sprintf("file %d", m.File)
	if f, err := b.Stored(ctx, m.File); err == nil {
		what = fmt.Sprintf("%q", f.Filename)
	}
	parts, err := b.Parts(ctx, m.File, m.Stripe, m.Stripe+1)
	for _, p := range parts {
		for _, c := range p.Copies {
			if err == nil && p.Number == m.Part && c.Index == m.Index {
				e.Node = c.Node
			}
		}
	}
	where := "an unknown node"
	if e.Node != "" {
		where = b.c.called(e.Node)
	}
	e.Text = fmt.Sprintf("a copy of a part of %s on %s is bad: it is missing, or its bytes are rotten", what, where)
	b.c.happened(e)
}

// checkedCopies gives verify what it needs to see to bad chunks.
type checkedCopies struct{ badCopies }

// Check implements verify.Copies.
func (k checkedCopies) Check(ctx context.Context, f raid.File, part raid.Part, c raid.Copy) error {
	return k.c.objects.Check(ctx, f, part, c)
}

// MarkBad implements verify.Copies.
func (k checkedCopies) MarkBad(ctx context.Context, file raid.FileID, stripe int64, part, index, attempt int) error {
	err := k.badCopies.MarkBad(ctx, file, stripe, part, index, attempt)
	if err == nil {
		k.c.repair.Wake()
	}
	return err
}

// newVerifier makes what knows when chunks were last read.
func (c *Controller) newVerifier(known []raid.NodeRecord) *verify.Verifier {
	return verify.New(verify.Config{
		Catalog: c.catalog, Copies: checkedCopies{c.badCopies()}, Nodes: c.members, Known: known, Every: c.cfg.ScrubEvery, Keep: c.cfg.TrashKeep,
		Name: func(id raid.NodeID) string { return c.registrar.Name(id) }, Now: time.Now, Tell: c.happened, Log: c.cfg.Log,
	})
}

func (c *Controller) badCopies() badCopies { return badCopies{c.catalog, c} }

// scrubs gives verify.Verifier the interface that httpapi asks for.
type scrubs struct{ *verify.Verifier }

var _ httpapi.Scrubs = scrubs{}

// findBad tells of nodes that have found bad chunks which were not looked at yet. Until that is done
// it is not known which files they are of.
func (c *Controller) findBad(context.Context) []raid.Finding {
	return uncheckedChunks(c.nodesByName(), c.verify.Unchecked())
}

func uncheckedChunks(nodes []raid.NodeInfo, bad map[raid.NodeID]int64) (found []raid.Finding) {
	for _, n := range nodes {
		switch k := bad[n.ID]; {
		case k == 1:
			found = append(found, raid.Finding{Health: raid.Degraded, Named: true, Text: calledNode(n) + " has found a bad chunk, which is yet to be looked at"})
		case k > 1:
			found = append(found, raid.Finding{Health: raid.Degraded, Named: true, Text: fmt.Sprintf("%s has found %s bad chunks, which are yet to be looked at", calledNode(n), grouped(k))})
		}
	}
	return found
}

// warnOfBadDisks says of nodes on which rot was found that their disks may be failing.
func warnOfBadDisks(nodes []raid.NodeInfo) (all []string) {
	const many = 10
	for _, n := range nodes {
		if bad := max(n.Bad, n.Scrub.Last.Bad); bad >= many {
			all = append(all, fmt.Sprintf("%s: %d of its chunks are rotten, or were when it last read them; its disk may be failing: replace it", calledNode(n), bad))
		}
	}
	return all
}
