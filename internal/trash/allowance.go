package trash

import (
	"context"
	"slices"
	"strings"
	"time"
)

const (
	// allowedSteps bounds the steps that may go for room until files take it. More than one, as
	// what goes frees room on other nodes than those that are full, too.
	allowedSteps = 4
	// grownShare is which share of what went must be seen as room, to go on with it.
	grownShare = 8
	// renewEvery lies between two times that other nodes let as much go anew as if nothing
	// had gone. One that comes and goes gains nothing by that.
	renewEvery = maxRest
)

// allowance bounds what goes for room by what the controller knows of itself, whatever
// nodes say is free on them. They have held so many bytes of files: when fewer are there
// now, the rest of it is room. Once that is much, and still none is seen, no more goes.
type allowance struct {
	nodes   string    // that take chunks
	most    int64     // bytes of files that they were seen to hold, those in the trash included
	renewed time.Time // when other nodes let more go last; zero: they have not
}

// see takes over which nodes there are, and how many bytes of files. Other nodes may hold
// fewer or more than those before, which is to be found out anew.
func (a *allowance) see(nodes string, held int64) {
	switch {
	case held >= a.most: // nothing has gone
		a.nodes, a.most = nodes, held
	case nodes != a.nodes && (a.renewed.IsZero() || time.Since(a.renewed) >= renewEvery):
		*a = allowance{nodes, held, time.Now()}
	}
}

// unused looks at how many bytes of files there are, and returns how many fewer than there
// were on these nodes.
func (b *Bin) unused() int64 {
	n, _ := b.cfg.Record.Counts(context.Background()) // nothing, when the catalog is broken
	held := n.Bytes + n.Trash.Bytes
	var ids []string
	for _, c := range b.cfg.Nodes.Candidates() {
		ids = append(ids, string(c.ID))
	}
	slices.Sort(ids)
	nodes := strings.Join(ids, " ")
	b.mu.Lock()
	defer b.mu.Unlock()
	b.allowance.see(nodes, held)
	return b.allowance.most - held
}

// allow leaves room for one more step, after a rest. unused is what unused has returned.
func (b *Bin) allow(unused, step int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.allowance.most -= unused - (allowedSteps-1)*step
}
