package e2e

import (
	"fmt"
	"testing"

	"github.com/raidpi/raidpi/test/cluster"
)

// A copy that was stored when the controller died, and not yet in the catalog, is found
// by the next start and removed. Else nobody would ever ask for it again.
func TestAControllerKilledInRepairLeavesNoCopyBehind(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 4, Bin: programs.race, ControllerEnv: []string{"RAID_CONTROLLER_NODES_SETTLE=500ms"}})
	for _, node := range a.Nodes[1:] {
		a.must(node.Kill())
	}
	a.must(a.WaitUp(t.Context(), 1))
	stored := map[int64]cluster.Content{}
	for range 60 {
		c := content(20_000)
		stored[a.upload(c).ID] = c
	}
	for _, node := range a.Nodes[1:] {
		a.must(node.Start())
	}
	kills := 0
	for left := a.degraded(); left > 0 && kills < 10; kills++ {
		a.eventually("repair gets on", settled, func() error {
			now := a.degraded()
			if now >= left && now > 0 {
				return fmt.Errorf("%d of %d files are degraded", now, left)
			}
			left = now
			return nil
		})
		a.must(a.Controller.Kill())
		a.must(a.Controller.Start())
		a.must(a.WaitReady(t.Context(), 4))
	}
	if kills < 3 {
		t.Fatalf("killed %d times: too little was tested", kills)
	}
	a.becomesWhole()
	a.must(a.AllExplained(t.Context()))
	for id, c := range stored {
		a.check(id, c)
	}
}

// degraded counts the files that are.
func (a *array) degraded() (n int) {
	a.t.Helper()
	for _, f := range a.files() {
		if f.Degraded {
			n++
		}
	}
	return n
}
