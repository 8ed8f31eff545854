//go:build system

package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

// asAssigned keeps a file in one stripe, as the assignment does.
const asAssigned = "RAID_CONTROLLER_RAID_STRIPE_SIZE=file"

func TestLabNodesServeOurController(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{ControllerEnv: []string{asAssigned}})
	nodes := newLab(t).nodes(a, 4)
	a.waitForLab(4)
	for _, size := range []int64{0, 1, 100_001, 5 * mib} {
		c := content(size)
		created, err := a.API.UploadJSON(t.Context(), "assigned", "text/plain", c.Bytes())
		a.must(err)
		fourOnFour(t, a.spread(created.ID, nodes))
		for range 4 { // a random copy of each half is read each time
			a.check(created.ID, c)
		}
	}
	for _, f := range a.files() {
		where := a.spread(f.ID, nodes)
		a.must(a.API.Delete(t.Context(), f.ID))
		if _, err := a.API.Download(t.Context(), f.ID); cluster.Status(err) != 404 {
			t.Errorf("deleted file %d: %v, want status 404", f.ID, err)
		}
		for name := range where { // the assignment has no message that would remove it
			found := false
			for _, n := range nodes {
				found = found || n.chunks()[name]
			}
			if !found {
				t.Errorf("chunk %s went from its lab node", name)
			}
		}
	}
}

func TestLabNodeMayRestart(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{ControllerEnv: []string{asAssigned}})
	nodes := newLab(t).nodes(a, 4)
	a.waitForLab(4)
	c := content(400_000)
	id := a.upload(c).ID
	for _, n := range nodes {
		a.must(n.Kill())
		a.check(id, c) // the other copy
		another := content(10_000)
		a.check(a.upload(another).ID, another) // the other nodes
		a.must(n.Start())
		a.waitForLab(4)
		a.check(id, c)
	}

	// A request that nobody could answer is repeated to a node that comes back.
	for _, n := range nodes {
		a.must(n.Kill())
	}
	a.waitForLab(0)
	answer := make(chan error, 1)
	go func() { answer <- a.compare(id, c) }()
	for _, n := range nodes {
		a.must(n.Start())
	}
	if err := <-answer; err != nil {
		t.Errorf("download while the lab nodes come back: %v", err)
	}
}

func TestHungLabNodeHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{ControllerEnv: []string{asAssigned}})
	nodes := newLab(t).nodes(a, 4)
	a.waitForLab(4)
	before := content(300_000)
	id := a.upload(before).ID
	for _, n := range nodes {
		a.must(n.Freeze())
		c := content(200_000)
		began := time.Now()
		a.check(a.upload(c).ID, c)
		a.check(id, before)
		if took := time.Since(began); took > longestStall {
			t.Errorf("with %s hung, an upload and two downloads took %v, want at most %v", n.Name(), took, longestStall)
		}
		a.must(n.Thaw())
		a.waitForLab(4)
	}
}

func TestLabNodeMayOpenTwoPULLs(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{ControllerEnv: []string{asAssigned}})
	nodes := newLab(t).nodes(a, 2, "--pulls", "2")
	a.waitForLab(4) // each PULL connection is a node
	for range 10 {
		c := content(50_000)
		id := a.upload(c).ID
		a.check(id, c)
		for name, on := range a.spread(id, nodes) {
			if len(on) != 1 {
				t.Errorf("chunk %s is on %v, want one node", name, on)
			}
		}
	}
}

// zmq4's own reader corrupts messages when a peer sends PINGs under load.
func TestLabHeartbeatsCorruptNothing(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{ControllerEnv: []string{asAssigned}})
	newLab(t).nodes(a, 4, "--heartbeat", "20")
	a.waitForLab(4)
	done := make(chan struct{})
	wait := a.keepsWorking(done, 8, 1, 1000, 100_000, 2*mib)
	time.Sleep(6 * time.Second)
	close(done)
	wait()
	a.waitForLab(4)
}

func TestLabAndOurNodesInOneArray(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 2, ControllerEnv: []string{"RAID_CONTROLLER_NODES_SETTLE=500ms"}})
	lab := newLab(t).nodes(a, 3)
	a.waitForLab(3)
	c := content(1_000_000)
	onOurs := a.upload(c).ID
	a.check(onOurs, c)
	for name, on := range a.spread(onOurs, lab) {
		if len(on) != 0 {
			t.Errorf("chunk %s is on lab nodes %v while two of ours are up", name, on)
		}
	}

	// With one of ours, a lab node takes the second copy of each half.
	a.must(a.Nodes[1].Kill())
	a.waitForNodesState("down", 1)
	both := content(500_000)
	mixed := a.upload(both).ID
	a.check(mixed, both)
	if where := a.spread(mixed, lab); len(where) == 4 {
		held := 0
		for _, on := range where {
			held += len(on)
		}
		if held != 2 {
			t.Errorf("with one of our nodes, lab nodes hold %d of four chunks, want 2", held)
		}
	}
	a.must(a.Nodes[0].Kill())
	a.check(mixed, both) // from the lab nodes alone
	a.must(a.Nodes[0].Start())
	a.must(a.Nodes[1].Start())
	a.must(a.WaitReady(t.Context(), 2))
	a.check(onOurs, c)
}

func (a *array) waitForNodesState(state string, n int) {
	a.t.Helper()
	a.must(a.Wait(a.t.Context(), "nodes to be "+state, func(ctx context.Context) bool {
		nodes, err := a.API.Nodes(ctx)
		count := 0
		for _, node := range nodes {
			if node.State == state {
				count++
			}
		}
		return err == nil && count == n
	}))
}
