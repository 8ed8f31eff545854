package admission

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
)

// Leave removes the node at the other end of a connection, as Remove does.
func (d *Registrar) Leave(ctx context.Context, cs tls.ConnectionState, order raid.RemoveOrder) error {
	id, err := d.whoever(cs)
	if err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	return d.Remove(ctx, id, order)
}

// Remove ends a node for good, joined or not: once it has returned, the node's
// connections are cut and none is let in again. It fails with raid.ErrNotFound;
// with raid.ErrPrecondition when the node has copies of files, unless forced; and with
// a raid.LossError when other files would be lost than the order allows.
//
// Only copies on nodes that are there at this moment are counted on. Each must be heard of
// after the call began, which takes some seconds at most. What rests on the
// node is looked up in the transaction that removes it. So of two nodes which hold
// the copies of a file, one alone goes without a word.
func (d *Registrar) Remove(ctx context.Context, id raid.NodeID, order raid.RemoveOrder) error {
	if _, err := raid.DecodeID(string(id)); err != nil {
		return fmt.Errorf("remove a node: %w: %.40q is not a node's id", raid.ErrNotFound, id)
	}
	m, _ := d.member(id)
	m.ID = id
	begun, err := d.hear(ctx)
	if err != nil {
		return err
	}
	// Who hangs up now does not stop it half way.
	var held int64
	err = d.change(ctx, func() (err error) {
		held, err = d.remove(context.WithoutCancel(ctx), m, order, begun)
		return err
	})
	if gone, _ := d.member(id); gone.Removed {
		// Also when it failed after that was written.
		d.cfg.Cut(id, fmt.Errorf("%w: %s", identity.ErrRemoved, id))
	}
	var no *refusal
	var loss *raid.LossError
	switch {
	case errors.As(err, &no): // for a person, as it is
		return no
	case errors.As(err, &loss):
		return loss
	case err != nil:
		return fmt.Errorf("remove node %s: %w", id, err)
	}
	e := raid.Event{Kind: raid.NodeRemoved, Node: id, Text: raid.Quoted(called(m)) + " was removed from the array for good"}
	switch {
	case order.Lose == 1:
		e.Text += ", and 1 file was lost with it, as it was ordered"
	case order.Lose > 0:
		e.Text += fmt.Sprintf(", and %d files were lost with it, as it was ordered", order.Lose)
	case held > 0:
		e.Text += ": what it held is made again on other nodes"
	default:
		e.Text += "; no file had a copy on it"
	}
	d.cfg.Tell(e)
	d.cfg.Log.Info("node removed", "node", id, "name", m.Name, "forced", order.Force, "lost", order.Lose)
	return nil
}

// hearWithin bounds the time that a node may take to give a sign of life. It is longer than the
// distance of heartbeats, and than one that hangs passes for being up. hearEvery is how
// often it is looked for one.
const (
	hearWithin = 5 * time.Second
	hearEvery  = 20 * time.Millisecond
)

// hear waits until all nodes that seem to be up have given a sign of life, or for
// hearWithin, and returns since when one is to be later.
func (d *Registrar) hear(ctx context.Context) (begun time.Time, err error) {
	begun = time.Now()
	tick := time.NewTicker(hearEvery)
	defer tick.Stop()
	for d.mute(begun) && time.Since(begun) < hearWithin {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return begun, fmt.Errorf("wait for a sign of life of the other nodes: %w", ctx.Err())
		}
	}
	return begun, nil
}

// mute reports whether some node that seems to be up has not been heard of since.
func (d *Registrar) mute(since time.Time) bool {
	long := time.Since(since)
	return slices.ContainsFunc(d.cfg.Nodes(), func(n raid.NodeInfo) bool { return n.IsCountedOn() && n.Silent >= long })
}

// remove writes it down, and returns of how many files the node had copies. The caller
// holds change. Nodes count that were heard of since begun.
func (d *Registrar) remove(ctx context.Context, m raid.Member, order raid.RemoveOrder, begun time.Time) (held int64, err error) {
	long, nodes := time.Since(begun), d.cfg.Nodes()
	there := map[raid.NodeID]bool{}
	for i := range nodes {
		if n := &nodes[i]; n.IsCountedOn() && n.Silent >= long {
			n.State = raid.Suspect
		}
		there[nodes[i].ID] = nodes[i].IsCountedOn()
	}
	err = d.cfg.Store.RemoveNode(ctx, m.ID, func(id raid.NodeID) bool { return there[id] }, func(l raid.Leaving) error {
		held = l.Files
		return mayLeave(m, l, order, nodes)
	})
	if err != nil && !d.isRemovedInStore(ctx, m.ID) {
		return 0, err
	}
	now, _ := d.member(m.ID)
	now.ID, now.Removed = m.ID, true
	d.remember(now)
	return held, err
}

// mayLeave decides whether a node goes, of which this is known.
func mayLeave(m raid.Member, l raid.Leaving, order raid.RemoveOrder, nodes []raid.NodeInfo) error {
	const force = "To remove the node all the same, with a copy less of these files until they are repaired, add --force"
	switch {
	case order.Replaced && !(l.Relocation.Replaced && l.Relocation.Draining && l.Relocation.Drained):
		return refuse(raid.ErrPrecondition, "Node %s stays: it is not replaced any more, or something rests on it again", called(m))
	case l.Partial:
		return refuse(raid.ErrPrecondition, "After an update the controller still counts where files are; until then it can't tell which need node %s. Try again in some minutes; sudo raidctl status tells when it is done", called(m))
	case l.Lost > 0 && (!order.Force || order.Lose != l.Lost):
		return lossText(m, l, order, nodes)
	case order.Lose != l.Lost:
		return refuse(raid.ErrPrecondition, "No file would be lost with node %s, and not %d: nothing was changed. Leave --lose away", called(m), order.Lose)
	case l.TrashLost > 0 && !order.Force:
		return refuse(raid.ErrPrecondition, "With node %s up to %s could not be put back any more: no other node that is up has a good copy of all their parts. %sTo give them up: raidctl trash empty. %s",
			called(m), deletedFiles(l.TrashLost), removalAdvice(m, nodes), force)
	case l.Files+l.Trash > 0 && !order.Force:
		return refuse(raid.ErrPrecondition, "Node %s still has copies of %s, and each of them has a good copy on another node that is up. %s%s",
			called(m), restingText(l), drainAdvice(m, nodes), force)
	}
	return nil
}

// restingText says what has copies on a node.
func restingText(l raid.Leaving) string {
	switch files := someFiles(l.Files, l.AtMost); {
	case l.Files == 0:
		return deletedFiles(l.Trash) + " that can be put back"
	case l.Trash > 0:
		return files + " and " + deletedFiles(l.Trash)
	default:
		return files
	}
}

// drainAdvice tells what to do about a node that has copies of files.
func drainAdvice(m raid.Member, nodes []raid.NodeInfo) string {
	for _, n := range nodes {
		switch {
		case n.ID == m.ID && n.State == raid.Draining:
			return "They move to other nodes: wait until raidctl nodes says that no file rests on it. "
		case n.ID == m.ID && n.State == raid.Up:
			return "To have them moved first: sudo raidctl node drain " + raid.NodeArg(m.ID, m.Name) + ". "
		}
	}
	return ""
}

// lossText says what would be lost, and what keeps it.
func lossText(m raid.Member, l raid.Leaving, order raid.RemoveOrder, nodes []raid.NodeInfo) error {
	text := fmt.Sprintf("With node %s %s would be LOST: no other node that is up has a good copy of all their parts. ", called(m), someFiles(l.Lost, l.AtMost))
	if order.Lose > 0 {
		text = fmt.Sprintf("Nothing was changed: it is not %d files. ", order.Lose) + text
	}
	if l.TrashLost > 0 {
		text += fmt.Sprintf("Up to %s could not be put back any more either. ", deletedFiles(l.TrashLost))
	}
	return &raid.LossError{Files: l.Lost, Text: text + removalAdvice(m, nodes) + fmt.Sprintf("To lose them for good: --force --lose %d", l.Lost)}
}

// removalAdvice says how what rests on a node gets copies elsewhere.
func removalAdvice(m raid.Member, nodes []raid.NodeInfo) string {
	var away []string
	for _, n := range nodes {
		if n.ID != m.ID && n.Kind == raid.Native && !n.IsCountedOn() {
			away = append(away, called(raid.Member{ID: n.ID, Name: n.Name}))
		}
	}
	if len(away) == 0 {
		return "Wait until they are repaired. "
	}
	slices.Sort(away)
	return fmt.Sprintf("Not up now: %s; start them first. ", strings.Join(away, ", "))
}

// deletedFiles is a number of files in the trash.
func deletedFiles(n int64) string {
	if n == 1 {
		return "1 deleted file"
	}
	return fmt.Sprintf("%d deleted files", n)
}

func someFiles(n int64, atMost bool) string {
	text := fmt.Sprintf("%d files", n)
	if n == 1 {
		text = "1 file"
	}
	if atMost {
		return "up to " + text
	}
	return text
}

// isRemovedInBook tells how far a removal came that failed: what follows the
// durable mark may take several transactions.
func (d *Registrar) isRemovedInStore(ctx context.Context, id raid.NodeID) bool {
	all, err := d.cfg.Store.Members(ctx)
	if errors.Is(err, raid.ErrCatalogBroken) {
		return true // it may be; better refused than let in
	}
	for _, m := range all {
		if m.ID == id {
			return m.Removed
		}
	}
	return false
}
