package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
)

// filesNamed bounds the files that an event names, and filesKept those that are counted.
const (
	filesNamed = 3
	filesKept  = 10_000
)

// concerns notes a file with a copy that is not good.
func (o *outcome) concerns(f raid.FileID) {
	if o.files == nil {
		o.files = map[raid.FileID]bool{}
	}
	if len(o.files) < filesKept {
		o.files[f] = true
	}
}

// conclude publishes what was found, and tells of it.
func (n *node) conclude(ctx context.Context, p *membership.Peer) error {
	l := n.look
	n.look = look{}
	n.r.mu.Lock()
	res := &n.result
	before := res.strayed
	if n.part {
		l.outcome.missing += res.outcome.missing
		l.outcome.wrong += res.outcome.wrong
	}
	known := res.outcome
	res.session, res.done, res.refused, res.outcome = n.session, time.Now(), false, l.outcome
	res.strayed, res.strayAt = l.strayed(), slices.SortedFunc(maps.Keys(l.at), func(a, b span) int { return strings.Compare(a.from, b.from) })
	n.r.mu.Unlock()
	n.spans = nil

	log := n.r.cfg.Log
	if l.strayed() > 0 && l.strayed() != before && n.r.logLimit.due() {
		log.Warn("a node holds chunks that nothing explains; they stay", "node", p.ID(), "chunks", l.strayed(), "such_as", someName(l.strays))
	}
	if n.part {
		l.outcome.missing -= known.missing
		l.outcome.wrong -= known.wrong
	}
	if o := l.outcome; o.missing+o.wrong+o.revived+o.unclear > 0 {
		log.Info("a node was compared with the catalog", "node", p.ID(), "missing", o.missing, "wrong", o.wrong, "good_again", o.revived, "unclear", o.unclear)
	}
	n.tellEvent(ctx, p, &l.outcome)
	if len(l.strays) == 0 {
		return nil
	}
	return n.r.cfg.Leftovers.Stray(ctx, p, slices.Collect(maps.Keys(l.strays)))
}

func someName(keys map[raid.ChunkKey]bool) raid.ChunkName {
	for k := range keys {
		return k.Name()
	}
	return ""
}

// tellEvent sums up what was found bad. A file whose name can't be read has none.
func (n *node) tellEvent(ctx context.Context, p *membership.Peer, o *outcome) {
	if o.missing+o.wrong == 0 {
		return
	}
	var names []string
	for _, id := range slices.Sorted(maps.Keys(o.files)) {
		if len(names) == filesNamed {
			break
		}
		if f, err := n.r.cfg.Catalog.File(ctx, id); err == nil {
			names = append(names, fmt.Sprintf("%q", f.Filename))
		}
	}
	e := raid.Event{Kind: raid.ChunkBad, Node: p.ID(), Text: o.text(names),
		Advice: "the copies are made again from the others; if this node has lost or spoilt chunks before, check its disk (dmesg, fsck) or replace it"}
	if len(o.files) == 1 {
		for id := range o.files {
			e.File = id
		}
	}
	n.r.cfg.Tell(e)
}

// text says what is wrong with a node, of which files.
func (o *outcome) text(names []string) string {
	var what []string
	if o.missing > 0 {
		what = append(what, fmt.Sprintf("%d chunks are missing", o.missing))
	}
	if o.wrong > 0 {
		what = append(what, fmt.Sprintf("%d chunks are not what was stored", o.wrong))
	}
	text := "on this node " + strings.Join(what, " and ")
	if len(names) == 0 {
		return text
	}
	text += ", of " + strings.Join(names, ", ")
	switch more := len(o.files) - len(names); {
	case len(o.files) == filesKept:
		text += " and many other files"
	case more > 0:
		text += fmt.Sprintf(" and %d other files", more)
	}
	return text
}

// Progress says how far a node was compared with the catalog.
type Progress struct {
	Running bool
	// Done is when the last comparison ended, by the monotonic clock; zero: there was none
	// since the controller's start.
	Done time.Time
	// Missing and Wrong are copies that it found not to be there, or not to be what was
	// stored, and marked bad.
	Missing, Wrong int64
}

// Reconciled tells how far a node was compared.
func (r *Reconciler) Reconciled(id raid.NodeID) Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.nodes[id]
	if n == nil {
		return Progress{}
	}
	res := &n.result
	return Progress{Running: res.running, Done: res.done, Missing: res.outcome.missing, Wrong: res.outcome.wrong}
}

// Unexplained counts the chunks on the nodes that are there that nothing explains: no copy,
// no recorded removal, no upload under way. Nothing is removed on that account. known is
// false while a node was not compared yet.
func (r *Reconciler) Unexplained() (chunks int64, known bool) {
	peers := r.cfg.Nodes.Natives()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range peers {
		n := r.nodes[p.ID()]
		if n == nil || n.result.session != p.Session() || n.result.refused {
			return 0, false
		}
		chunks += n.result.strayed
	}
	return chunks, true
}
