package controller

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/raidpi/raidpi/internal/node"
)

func TestNamesOfMachinesAreFollowedWithoutARestart(t *testing.T) {
	var host atomic.Pointer[string]
	called := func(name string) { host.Store(&name) }
	called("raspberrypi")
	a := joined(t, 2, func(c *Config) {
		closed(c)
		c.Machine = func() (string, []netip.Addr) { return *host.Load(), []netip.Addr{netip.MustParseAddr("192.168.1.7")} }
	})
	has := func(want ...string) func() bool {
		return func() bool {
			var got struct{ Nodes []struct{ Name string } }
			a.getJSON("/nodes", &got)
			all := " "
			for _, n := range got.Nodes {
				all += n.Name + " "
			}
			for _, w := range want {
				if !strings.Contains(all, " "+w+" ") {
					return false
				}
			}
			return true
		}
	}
	a.eventually("names as they joined", has("node1", "node2"))
	upstairs := "pi-upstairs"
	a.nodes[0].host.Store(&upstairs)
	a.eventually("the name of the node's machine", has("pi-upstairs", "node2"))

	// A person's word goes before, and the node says what it is called.
	id := string(nodeIDOf(t, a.nodes[1]))
	if status, text := a.root("PATCH", "/nodes/"+id, `{"name": "library"}`); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	a.eventually("a person's name", has("pi-upstairs", "library"))
	a.eventually("the node knows it", func() bool {
		s, err := node.Remote{Socket: a.nodes[1].socket}.Status(t.Context())
		return err == nil && s.Name == "library"
	})
	other := "another"
	a.nodes[1].host.Store(&other)

	called("nas")
	a.eventually("the line to join with", func() bool {
		_, text := a.root("POST", "/join-tokens", `{}`)
		return strings.Contains(text, `"hosts":["nas.local"`)
	})
	a.eventually("nodes know how the controller is called", func() bool {
		for _, n := range a.nodes {
			b, err := os.ReadFile(filepath.Join(n.dir, "state", "controller.json"))
			if err != nil || !strings.Contains(string(b), `"others":"nas.local nas`) {
				return false
			}
		}
		return true
	})
	if !has("pi-upstairs", "library")() {
		t.Error("its owner's name for the machine replaced the name that a person gave here")
	}
	if status, text := a.root("PATCH", "/nodes/"+id, `{"name": ""}`); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	a.eventually("the machine's own name again", has("pi-upstairs", "another"))
}
