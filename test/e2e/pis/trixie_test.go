//go:build nspawn

package pis

import (
	"strings"
	"testing"

	"github.com/raidpi/raidpi/test/nspawn"
)

// TestTrixie installs both daemons by the README on the release after bookworm, whose
// apt verifies with sqv and whose systemd is 257.
func TestTrixie(t *testing.T) {
	t.Parallel()
	s := newLab(t)
	h := s.add("trixie", controllerAddr, func(c *nspawn.HostConfig) { c.Release = nspawn.Trixie })
	boot(t, h)
	h.paste("apt")
	if said, status := h.all("sudo apt-get update --audit"); status != 0 || !strings.Contains(said, sourceName) || strings.Contains(said, "W:") || strings.Contains(strings.ToLower(said), "warn") || strings.Contains(said, "Audit") {
		t.Errorf("apt-get update --audit ends with %d and says %q", status, said)
	}
	h.must("sudo apt-get install raid-controller raid-node raidctl")
	for _, d := range []daemon{nodeDaemon, controllerDaemon} {
		if state := h.property(d.name, "ActiveState"); state != "active" {
			t.Errorf("%s is %s", d.name, state)
		}
		if text := h.property(d.name, "StatusText"); !strings.Contains(text, d.status) {
			t.Errorf("the status of %s is %q, want %q", d.name, text, d.status)
		}
		unit := "/usr/lib/systemd/system/" + d.name + ".service"
		// These hosts have no man.
		if said, status := h.all("systemd-analyze verify --man=no " + unit); status != 0 || said != "" {
			t.Errorf("systemd-analyze verify ends with %d and says %q", status, said)
		}
		if said, status := h.all("systemd-analyze security --offline=true --threshold=15 " + unit); status != 0 {
			t.Errorf("the exposure of %s is more than 1.5:\n%s", d.name, said)
		}
		if said, status := h.all("dpkg -V " + d.name); status != 0 || said != "" {
			t.Errorf("dpkg -V %s ends with %d and says %q", d.name, status, said)
		}
	}
	h.must(strings.Replace(h.paste("invite"), "controller.local", controllerAddr, 1))
	h.must("head -c 300000 /dev/urandom >stored")
	h.until("the node is up", h.oneIsUp)
	h.must("raidctl upload stored")
	h.still()
}
