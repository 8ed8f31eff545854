package e2e

import (
	"fmt"
	"testing"

	"github.com/raidpi/raidpi/test/cluster"
)

func TestNodeRestartsAndSyncs(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 4, Bin: programs.race})
	kept, deleted := map[int64]cluster.Content{}, []int64{}
	for i := range 20 {
		c := content(int64(i) * 10_000)
		id := a.upload(c).ID
		if i%2 == 0 {
			deleted = append(deleted, id)
		} else {
			kept[id] = c
		}
	}
	away := a.Nodes[0]
	a.must(away.Kill())
	a.must(a.WaitUp(t.Context(), 3))
	before, err := a.Chunks(0)
	a.must(err)

	for _, id := range deleted {
		a.must(a.API.Delete(t.Context(), id))
		if _, err := a.API.Download(t.Context(), id); cluster.Status(err) != 404 {
			t.Errorf("deleted file %d: %v, want status 404", id, err)
		}
	}
	if now, err := a.Chunks(0); err != nil || len(now) != len(before) || len(before) == 0 {
		t.Fatalf("the node that is away held %d chunks and has %d (%v)", len(before), len(now), err)
	}
	// The queue of removals outlives the controller.
	a.must(a.Controller.Kill())
	a.must(a.Controller.Start())
	a.must(a.WaitReady(t.Context(), 3))

	a.must(away.Start())
	a.must(a.WaitReady(t.Context(), 4))
	a.becomesWhole()
	a.must(a.AllExplained(t.Context()))
	for id, c := range kept {
		a.check(id, c)
	}
}

func TestControllerAndNodesStartInAnyOrder(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 4})
	c := content(mib)
	id := a.upload(c).ID
	for _, order := range [][]*cluster.Daemon{
		{a.Nodes[0], a.Nodes[1], a.Nodes[2], a.Nodes[3], a.Controller},
		{a.Controller, a.Nodes[3], a.Nodes[2], a.Nodes[1], a.Nodes[0]},
		{a.Nodes[2], a.Controller, a.Nodes[0], a.Nodes[3], a.Nodes[1]},
	} {
		a.must(a.Terminate(settled))
		for _, d := range order {
			a.must(d.Start())
		}
		a.must(a.WaitReady(t.Context(), 4))
		a.check(id, c)
	}
}

func TestDegradedIsRepaired(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 4, Bin: programs.race, ControllerEnv: []string{"RAID_CONTROLLER_NODES_SETTLE=500ms"}})
	for _, node := range a.Nodes[1:] {
		a.must(node.Kill())
	}
	a.must(a.WaitUp(t.Context(), 1))
	stored := map[int64]cluster.Content{}
	for _, size := range []int64{0, 1, 70_000, 5 * mib} {
		c := content(size)
		created := a.upload(c)
		if !created.Degraded {
			t.Errorf("a file of %d bytes on one node: the 201 does not say that it is degraded", size)
		}
		stored[created.ID] = c
		a.check(created.ID, c)
	}
	for _, f := range a.files() {
		info, err := a.API.Info(t.Context(), f.ID)
		a.must(err)
		if !f.Degraded || !info.Degraded {
			t.Errorf("file %d on one node: degraded is %v in the list and %v in its info", f.ID, f.Degraded, info.Degraded)
		}
	}
	for _, node := range a.Nodes[1:] {
		a.must(node.Start())
	}
	a.must(a.WaitReady(t.Context(), 4))
	a.becomesWhole()
	for id, c := range stored {
		a.check(id, c)
	}
}

func TestDegradedWritesCanBeForbidden(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 1, ControllerEnv: []string{
		"RAID_CONTROLLER_NODES_SETTLE=500ms", "RAID_CONTROLLER_RAID_DEGRADED_WRITES=false",
	}})
	_, err := a.API.Upload(t.Context(), "lonely", content(1000).Reader(), 1000)
	if cluster.Status(err) != 503 {
		t.Errorf("upload to one node: %v, want status 503", err)
	}
	a.becomesWhole()
}

func TestCloneOfANodeIsRefused(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 3})
	c := content(mib)
	id := a.upload(c).ID
	clone := a.cloneOf(0)
	a.eventually("the clone says why it is refused", settled, func() error {
		if text := clone.LogText(); !cloneWords.MatchString(text) {
			return fmt.Errorf("its log is:\n%s", text)
		}
		return nil
	})
	if up, err := a.UpNodes(t.Context()); err != nil || up != 3 {
		t.Errorf("with a clone %d nodes are up (%v), want 3", up, err)
	}
	a.check(id, c)
	a.check(a.upload(c).ID, c)
	if clone.Pid() == 0 {
		t.Error("the clone ended: it should go on trying, the other may be the wrong one")
	}
	a.must(clone.Kill())
	a.becomesWhole()
}
