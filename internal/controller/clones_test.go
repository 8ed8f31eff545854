package controller

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/httpapi"
	"github.com/raidpi/raidpi/internal/raid"
)

func TestStatusShowsTwoMachinesWithOneNodeID(t *testing.T) {
	a := newArray(t, 0, nil)
	n := a.addNode("")
	a.awaitUp(1)
	n.stop()
	twin := &testNode{dir: filepath.Join(a.dir, "twin")}
	if err := os.CopyFS(twin.dir, os.DirFS(n.dir)); err != nil {
		t.Fatal(err)
	}
	a.startNode(n, "")
	a.awaitUp(1)
	a.startNode(twin, "")
	t.Cleanup(func() { twin.stop() })
	var s httpapi.Status
	a.eventually("the clone is shown", func() bool {
		a.getJSON("/status", &s)
		return len(s.Clones) == 1
	})
	var nodes struct{ Nodes []struct{ ID raid.NodeID } }
	a.getJSON("/nodes", &nodes)
	c := s.Clones[0]
	if _, err := time.Parse(time.DateTime, c.LastRefused); err != nil || c.Address == "" || len(nodes.Nodes) != 1 || c.Node != nodes.Nodes[0].ID {
		t.Errorf("%+v of %+v", c, nodes)
	}
}
