//go:build nspawn

package pis

import (
	"strings"
	"testing"

	"github.com/raidpi/raidpi/test/nspawn"
)

// pair is a controller and a node that has joined it, and one file.
func pair(t *testing.T) (controller, pi *host, s *setUp) {
	t.Helper()
	s = newLab(t)
	controller, pi = s.add("controller", controllerAddr, nil), s.add("pi-1", "10.99.0.11", nil)
	boot(t, controller, pi)
	together([]*host{controller, pi}, func(h *host) { h.paste("apt") })
	controller.must("sudo apt install raid-controller")
	pi.paste("node")
	pi.must(strings.Replace(controller.paste("invite"), "controller.local", controllerAddr, 1))
	controller.must("head -c 300000 /dev/urandom >stored")
	controller.until("the node is up", controller.oneIsUp)
	controller.must("raidctl upload stored")
	return controller, pi, s
}

// still compares the file.
func (h *host) still() {
	h.t.Helper()
	h.until("the file can be read", func() bool {
		_, err := h.try("raidctl download --force -o copy 1 && cmp stored copy")
		return err == nil
	})
}

func (h *host) becomesActive(unit string) {
	h.t.Helper()
	h.until(unit+" is active", func() bool { return h.property(unit, "ActiveState") == "active" })
}

// TestControllerInABadSituationSaysSo does one thing after another to a controller.
// Each time `systemctl status` and the journal say what happened, and when it is set
// right the array is there again.
func TestControllerInABadSituationSaysSo(t *testing.T) {
	t.Parallel()
	h, _, _ := pair(t)
	const unit, catalog = "raid-controller", "/var/lib/raid-controller/catalog.db"

	h.must("systemctl stop raid-controller && systemd-run --unit=taker systemd-socket-activate -l 9000 sleep 1000")
	h.until("another program has the port", func() bool { return strings.Contains(h.must("ss -Hltn"), ":9000") })
	h.all("systemctl start raid-controller")
	h.refuses(unit, "9000", "address already in use")
	h.must("systemctl stop taker")
	h.becomesActive(unit) // by itself
	h.still()

	h.must("systemctl stop raid-controller && chattr -R +i /var/lib/raid-controller")
	h.all("systemctl start raid-controller")
	h.refuses(unit, "raid-controller may not write in /var/lib/raid-controller")
	h.must("systemctl stop raid-controller; chattr -R -i /var/lib/raid-controller; systemctl start raid-controller")
	h.still()

	h.must("systemctl stop raid-controller && cp -p " + catalog + " /root/good && dd if=/dev/urandom of=" + catalog + " bs=4096 count=4 conv=notrunc status=none")
	h.all("systemctl start raid-controller")
	h.refuses(unit, "the file "+catalog+" is damaged or is no catalog")
	h.must("systemctl stop raid-controller; cp -p /root/good " + catalog + "; systemctl start raid-controller")
	h.still()

	h.check(h.FailDisk())
	h.must("systemctl restart raid-controller || true")
	h.refuses(unit, "is read-only for raid-controller")
	h.check(h.Plug(t.Context()))
	h.check(h.RepairDisk(t.Context()))
	h.check(h.Boot(t.Context()))
	h.becomesActive(unit)
	h.still()
	h.says(unit, "1/1 nodes up", "1 file degraded") // it has one good copy, on the only node
}

// TestNodeInABadSituationSaysSo does the same to a node.
func TestNodeInABadSituationSaysSo(t *testing.T) {
	t.Parallel()
	controller, pi, s := pair(t)
	const unit = "raid-node"

	// It looks the controller up by mDNS, and nobody answers.
	pi.must("systemctl mask --now avahi-daemon.service avahi-daemon.socket && rm -f /var/lib/raid-node/controller.json && systemctl restart raid-node")
	pi.says(unit, "avahi-daemon")
	pi.logs(unit, "avahi-daemon")
	pi.must("echo '[controller]\nhost = \"" + controllerAddr + "\"' >/etc/raid-node/conf.d/address.toml && systemctl restart raid-node")
	pi.says(unit, "Connected")
	pi.must("systemctl unmask avahi-daemon.service avahi-daemon.socket && systemctl start avahi-daemon")

	// Without a network at its start.
	pi.check(pi.Shutdown(t.Context()))
	pi.check(pi.PowerOn(t.Context()))
	pi.check(pi.Cable(t.Context(), nspawn.Both))
	pi.check(pi.AwaitBoot(t.Context()))
	pi.says(unit, "active (running)", "Reconnecting to "+controllerAddr)
	pi.check(pi.Cable(t.Context(), nspawn.None))
	pi.says(unit, "Connected")
	controller.still()

	pi.must("systemctl stop raid-node && chattr -R +i /var/lib/raid-node")
	pi.all("systemctl start raid-node")
	pi.refuses(unit, "the user that raid-node runs as may not use it", "/var/lib/raid-node")
	pi.must("systemctl stop raid-node; chattr -R -i /var/lib/raid-node; systemctl start raid-node")
	controller.still()

	pi.check(pi.FailDisk())
	pi.must("systemctl restart raid-node || true")
	pi.refuses(unit, "the disk is mounted read-only")
	pi.check(pi.Plug(t.Context()))
	pi.check(pi.RepairDisk(t.Context()))
	pi.check(pi.Boot(t.Context()))
	pi.says(unit, "Connected")
	controller.still()

	// A card that was copied, in another Pi.
	pi.must("systemctl stop raid-node")
	clone := s.add("clone", "10.99.0.12", nil)
	copied, err := pi.try("tar -C /var/lib -cf - raid-node | base64 -w0")
	pi.check(err)
	boot(t, clone)
	pi.must("systemctl start raid-node")
	clone.paste("apt")
	clone.check(clone.WriteFile("/root/card", copied))
	clone.must("sudo apt install raid-node && systemctl stop raid-node && rm -rf /var/lib/raid-node && base64 -d card | tar -C /var/lib -xf -")
	clone.all("systemctl start raid-node")
	clone.says(unit, "reset-identity")
	clone.logs(unit, "reset-identity")
	pi.says(unit, "Connected")
	controller.still()
}
