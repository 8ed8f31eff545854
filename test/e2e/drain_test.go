package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

// moved bounds the time that an array takes to move what these tests store.
const moved = 3 * time.Minute

// fill uploads so many files.
func (a *array) fill(files int, size int64) map[int64]cluster.Content {
	a.t.Helper()
	stored := map[int64]cluster.Content{}
	for range files {
		c := content(size)
		stored[a.upload(c).ID] = c
	}
	return stored
}

func (a *array) checkAll(stored map[int64]cluster.Content) {
	a.t.Helper()
	for id, c := range stored {
		a.check(id, c)
	}
}

// nodeCalled returns the array's word on a node; gone: there is none.
func (a *array) nodeCalled(id string) (n cluster.Node, gone bool) {
	a.t.Helper()
	var all []cluster.Node
	a.eventually("the controller answers", settled, func() (err error) {
		all, err = a.API.Nodes(a.t.Context())
		return err
	})
	for _, n := range all {
		if n.ID == id {
			return n, false
		}
	}
	return n, true
}

// order posts something about a node.
func (a *array) order(id, what, body string, answer any) error {
	return a.Root(a.t.Context(), http.MethodPost, "/nodes/"+id+"/"+what, body, answer)
}

func (a *array) nodeID(i int) string {
	a.t.Helper()
	id, err := a.NodeID(i)
	a.must(err)
	return id
}

// holds counts the chunks in a node's folder.
func (a *array) holds(i int) int {
	a.t.Helper()
	chunks, err := a.Chunks(i)
	a.must(err)
	return len(chunks)
}

func (a *array) awaitDrained(id string) {
	a.t.Helper()
	a.eventually("the node holds nothing any more", moved, func() error {
		if n, gone := a.nodeCalled(id); gone || !strings.Contains(n.Drain, "may be unplugged") {
			return fmt.Errorf("it says: %s", n.Drain)
		}
		return nil
	})
}

// A node is drained while files come, and the controller is killed in the middle. When the
// array says that it may be unplugged, it is killed for good: nothing is missing.
func TestADrainedNodeMayBeTakenAway(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 4, Bin: programs.race, ControllerEnv: []string{"RAID_CONTROLLER_NODES_SETTLE=500ms"}})
	stored := a.fill(60, 20_000)
	id := a.nodeID(0)
	a.must(a.order(id, "drain", "", nil))
	a.must(a.order(id, "drain", "", nil)) // twice is fine
	for kill := range 3 {
		a.eventually("copies move", moved, func() error {
			if n := a.holds(0); n > 0 && n > 50-kill*15 {
				return fmt.Errorf("%d chunks are left", n)
			}
			return nil
		})
		a.must(a.Controller.Kill())
		a.must(a.Controller.Start())
		a.must(a.WaitReady(t.Context(), 3)) // the other one drains
	}
	for id, c := range a.fill(10, 20_000) {
		stored[id] = c
	}
	a.awaitDrained(id)
	if n := a.holds(0); n != 0 {
		t.Errorf("%d chunks are in its folder", n)
	}
	a.must(a.Nodes[0].Kill())
	a.checkAll(stored)
	a.becomesWhole()
}

// Files are deleted, and then both of the nodes are drained and taken away that each of
// them may have been on. All can be put back, as was promised.
func TestWhatIsInTheTrashMovesWithADrain(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 4, ControllerEnv: []string{"RAID_CONTROLLER_TRASH_KEEP=1h"}})
	stored := a.fill(12, 20_000)
	for id := range stored {
		a.must(a.API.Delete(t.Context(), id))
	}
	for i := range 2 {
		id := a.nodeID(i)
		a.must(a.order(id, "drain", "", nil))
		a.awaitDrained(id)
		if n := a.holds(i); n != 0 {
			t.Errorf("%d chunks are in its folder", n)
		}
		a.must(a.Root(t.Context(), http.MethodDelete, "/nodes/"+id, "", nil))
		a.must(a.Nodes[i].Kill())
	}
	for id := range stored {
		a.must(a.API.Undelete(t.Context(), id))
	}
	a.checkAll(stored)
	a.becomesWhole()
}

// Undrained in the middle, a node stays and takes copies again.
func TestADrainCanBeTakenBack(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 3})
	stored := a.fill(30, 5_000)
	id := a.nodeID(1)
	a.must(a.order(id, "drain", "", nil))
	a.must(a.order(id, "undrain", "", nil))
	if n, _ := a.nodeCalled(id); n.Draining || n.State != "up" {
		t.Errorf("it is %+v", n)
	}
	before := a.holds(1)
	for id, c := range a.fill(30, 5_000) {
		stored[id] = c
	}
	if after := a.holds(1); after <= before-10 {
		t.Errorf("it has %d chunks, and had %d", after, before)
	}
	a.checkAll(stored)
}

// What the rest can't take stays where it is, and the refusal says what is missing.
func TestADrainIsRefusedWhenTheRestCanNotTakeIt(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 3})
	a.fill(10, 500_000)
	refused := func(id, want string) {
		t.Helper()
		err := a.order(id, "drain", "", nil)
		var e *cluster.StatusError
		if !errors.As(err, &e) || e.Status != http.StatusConflict || !strings.Contains(e.Message, want) {
			t.Errorf("%v; want 409 with %q", err, want)
		}
		if n, _ := a.nodeCalled(id); n.Draining {
			t.Errorf("it drains: %+v", n)
		}
	}
	id := a.nodeID(0)
	for _, n := range a.Nodes[1:] { // they come back without room
		a.must(n.Terminate(10 * time.Second))
		n.SetEnv("RAID_NODE_RESERVE=900TiB")
		a.must(n.Start())
	}
	a.must(a.WaitUp(t.Context(), 3))
	refused(id, "add a node, or free ")
	a.must(a.Nodes[2].Kill())
	a.must(a.WaitUp(t.Context(), 2))
	refused(id, "1 other nodes take chunks now, and 2 copies need as many")
}

func TestAFifthNodeGetsItsShare(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 4, Bin: programs.race})
	stored := a.fill(60, 20_000) // 240 chunks, of which 48 are its share
	_, err := a.Add(t.Context(), "")
	a.must(err)
	enough := func() error {
		if n := a.holds(4); n < 38 {
			return fmt.Errorf("it has %d chunks", n)
		}
		return nil
	}
	a.eventually("the fifth node gets its share", moved, enough)
	a.becomesWhole()
	if n := a.holds(4); n > 60 {
		t.Errorf("it has %d chunks, its share is 48", n)
	}
	a.checkAll(stored)
}

// replace lets a new node take the place of one, and waits until that one left the array.
func (a *array) replace(id string, before func()) {
	a.t.Helper()
	var made struct{ Token string }
	a.must(a.order(id, "replace", "{}", &made))
	if n, _ := a.nodeCalled(id); n.Draining {
		a.t.Errorf("it drains before its successor is there: %+v", n)
	}
	before()
	_, err := a.Add(a.t.Context(), made.Token)
	a.must(err)
	a.eventually("the old node leaves the array", moved, func() error {
		if n, gone := a.nodeCalled(id); !gone {
			return fmt.Errorf("it is %s, and says: %s", n.State, n.Drain)
		}
		return nil
	})
}

func TestANodeIsReplacedAlive(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 3, Joined: true, ControllerEnv: []string{"RAID_CONTROLLER_NODES_SETTLE=500ms"}})
	stored := a.fill(40, 20_000)
	held := a.holds(1)
	a.replace(a.nodeID(1), func() {})
	a.must(a.Nodes[1].Kill())
	if got := a.holds(3); got < held*9/10 {
		t.Errorf("the new node has %d chunks, the old one had %d", got, held)
	}
	a.checkAll(stored)
	a.becomesWhole()
}

// The controller is killed between, which ends the token: another one is asked for.
func TestADeadNodeIsReplaced(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 3, Joined: true, ControllerEnv: []string{"RAID_CONTROLLER_NODES_SETTLE=500ms", "RAID_CONTROLLER_REPAIR_GRACE=3s"}})
	stored := a.fill(40, 20_000)
	id := a.nodeID(1)
	a.must(a.order(id, "replace", "{}", nil))
	a.must(a.Controller.Kill())
	a.must(a.Controller.Start())
	a.must(a.WaitReady(t.Context(), 3))
	if n, _ := a.nodeCalled(id); !strings.Contains(n.Drain, "waits for the Pi") {
		a.eventually("the replacement is known after the start", settled, func() error {
			if n, _ := a.nodeCalled(id); !strings.Contains(n.Drain, "waits for the Pi") {
				return fmt.Errorf("it says: %s", n.Drain)
			}
			return nil
		})
	}
	a.replace(id, func() { a.must(a.Nodes[1].Kill()) })
	a.must(os.RemoveAll(a.ChunkDir(1))) // it is thrown away
	a.checkAll(stored)
	a.becomesWhole()
}
