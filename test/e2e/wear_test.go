package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

// nodeWear is the part of /nodes about a node's wear.
type nodeWear struct {
	ID   string `json:"id"`
	Wear *struct {
		Counted string `json:"counted"`
		Seconds int64  `json:"seconds"`
		Written int64  `json:"written_bytes"`
		Stored  int64  `json:"stored_bytes"`
	} `json:"wear"`
}

// wears waits until all nodes tell of their wear so that it holds.
func (a *array) wears(what string, holds func(nodeWear) bool) (all []nodeWear) {
	a.t.Helper()
	a.eventually(what, settled, func() error {
		var answer struct {
			Nodes []nodeWear `json:"nodes"`
		}
		if err := a.Root(a.t.Context(), "GET", "/nodes", "", &answer); err != nil {
			return err
		}
		if all = answer.Nodes; len(all) != len(a.Nodes) {
			return fmt.Errorf("%d nodes are listed", len(all))
		}
		for _, n := range all {
			if n.Wear == nil || !holds(n) {
				return fmt.Errorf("node %s has %+v", n.ID, n.Wear)
			}
		}
		return nil
	})
	return all
}

// What nodes write is counted, on the real disk of the machine, and goes on after nodes
// were restarted.
func TestNodesCountWhatTheyWrite(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 2, Joined: true})
	before := a.wears("they tell", func(n nodeWear) bool { return n.Wear.Stored == 0 })
	for range 3 {
		c := content(8 * mib)
		a.check(a.upload(c).ID, c)
	}
	was := map[string]int64{}
	for _, n := range before {
		was[n.ID] = n.Wear.Written
	}
	const stored = 3 * 8 * mib
	after := a.wears("they tell of what was uploaded", func(n nodeWear) bool {
		// Where this machine's kernel names no disk, writes are not counted.
		return n.Wear.Stored == stored && (n.Wear.Counted == "" || n.Wear.Written-was[n.ID] >= stored)
	})
	counted := map[string]int64{}
	for _, n := range after {
		counted[n.ID] = n.Wear.Written
	}
	var one nodeWear
	a.must(a.Root(a.t.Context(), "GET", "/nodes/"+after[0].ID, "", &one))
	if one.Wear == nil || one.Wear.Stored != stored {
		t.Errorf("GET /nodes/{id} says %+v", one.Wear)
	}
	for _, n := range a.Nodes {
		a.must(n.Terminate(30 * time.Second))
		a.must(n.Start())
	}
	a.wears("they go on after a restart", func(n nodeWear) bool {
		return n.Wear.Stored == stored && n.Wear.Written >= counted[n.ID]
	})
}
