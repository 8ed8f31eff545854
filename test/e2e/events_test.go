package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

// A node that is killed, comes back, and a controller that is killed meanwhile: raidctl
// events says so, each once.
func TestEventsTellOfANodeThatWentAndCameBack(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 3, Joined: true})
	events := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), filepath.Join(programs.plain, "raidctl"), append([]string{"events", "--controller", a.API.URL}, args...)...).Output()
		if err != nil {
			t.Errorf("raidctl events: %v", err)
		}
		return string(out)
	}
	told := func(kind string, times int) func() error {
		return func() error {
			if out := events("--kind", kind); strings.Count(out, kind) != times {
				return fmt.Errorf("%s is not told %d times:\n%s", kind, times, events())
			}
			return nil
		}
	}
	a.eventually("three nodes have joined", settled, told("node-joined", 3))
	a.must(a.Nodes[1].Kill())
	a.eventually("it is away", 3*time.Minute, told("node-down", 1))
	a.must(a.Controller.Terminate(settled))
	a.must(a.Controller.Start())
	a.must(a.WaitReady(t.Context(), 2))
	a.must(a.Nodes[1].Start())
	a.eventually("it is back", 3*time.Minute, told("node-up", 1))
	a.must(told("node-down", 1)())
	a.must(told("node-joined", 3)())
}
