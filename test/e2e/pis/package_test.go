//go:build nspawn

package pis

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/nspawn"
)

// daemon is a package with a service of the same name.
type daemon struct {
	name, conf, typo string // typo is an unknown key of its configuration
	status           string // what it begins to say of itself where there is no array yet
}

var (
	nodeDaemon       = daemon{"raid-node", nodeConf, "zzone", "Not joined: run sudo raid-node join"}
	controllerDaemon = daemon{"raid-controller", controllerConf, "reservee", "0/0 nodes up"}
)

// shared is the factor by which things may take longer than is promised, on a machine that others
// use too.
const shared = 3

// TestInstallStartsTheDaemonWithoutAnArray installs each daemon alone on a host.
func TestInstallStartsTheDaemonWithoutAnArray(t *testing.T) {
	s := newLab(t)
	hosts := []*host{s.add("alone-n", "10.99.0.11", nil), s.add("alone-c", "10.99.0.12", nil)}
	boot(t, hosts...)
	for i, d := range []daemon{nodeDaemon, controllerDaemon} {
		h := hosts[i]
		h.paste("apt")
		start := time.Now()
		h.must("sudo apt install " + d.name)
		took := time.Since(start)
		t.Logf("%s: from apt install to active: %.1f s", d.name, took.Seconds())
		if state := h.property(d.name, "ActiveState"); state != "active" || took > shared*10*time.Second {
			t.Errorf("%s is %s, %.1f s after apt install began, want active within 10 s on a quiet machine", d.name, state, took.Seconds())
		}
	}
	t.Parallel() // the figures above are those of a quiet machine
	for i, d := range []daemon{nodeDaemon, controllerDaemon} {
		h := hosts[i]
		if text := h.property(d.name, "StatusText"); !strings.HasPrefix(text, d.status) {
			t.Errorf("the status of %s is %q, want %q", d.name, text, d.status)
		}
		h.logsFields(d)
		if state := strings.TrimSpace(h.must("systemctl is-enabled " + d.name)); state != "enabled" {
			t.Errorf("%s is %s", d.name, state)
		}
		// These hosts have no memory controller that systemd can use, as many Pis; the
		// unit asks for none.
		if got := h.property(d.name, "MemoryMax") + ", " + h.property(d.name, "MemoryCurrent"); got != "infinity, [not set]" {
			t.Errorf("%s has a memory limit and use of %s", d.name, got)
		}
		h.startsFast(d)
		h.configurationIsChecked(d)
		h.statusOutlivesAVolatileJournal(d)
	}
}

// logsFields asks the journal itself for the fields that a daemon gives its lines, from
// within its sandbox.
func (h *host) logsFields(d daemon) {
	h.t.Helper()
	line := h.must("journalctl --output=json --unit=" + d.name + " --grep='^" + d.name + " is ready' PRIORITY=6")
	var fields map[string]any
	if err := json.Unmarshal([]byte(line), &fields); err != nil {
		h.t.Fatalf("the line that says that %s is ready is %q: %v", d.name, line, err)
	}
	for name, want := range map[string]any{
		"RAID_VERSION": strings.TrimSuffix(setting.source.versions[0], "-1"), "SYSLOG_IDENTIFIER": d.name, "_TRANSPORT": "journal",
	} {
		if fields[name] != want {
			h.t.Errorf("%s logs %s = %v, want %v: %s", d.name, name, fields[name], want, line)
		}
	}
}

// startsFast measures from the daemon's start to its READY=1.
func (h *host) startsFast(d daemon) {
	h.t.Helper()
	best := time.Hour
	for range 3 {
		h.must("systemctl restart " + d.name)
		moment := func(name string) int64 {
			n, _ := strconv.ParseInt(h.property(d.name, name), 10, 64) // 0 fails below
			return n
		}
		best = min(best, time.Duration(moment("ActiveEnterTimestampMonotonic")-moment("ExecMainStartTimestampMonotonic"))*time.Microsecond)
	}
	h.t.Logf("%s: ready %.2f s after its start", d.name, best.Seconds())
	if best <= 0 || best > shared*time.Second {
		h.t.Errorf("%s is ready after %v, want at most 1 s on a quiet machine", d.name, best)
	}
}

// configurationIsChecked makes a mistake in the configuration: a running daemon goes
// on, and one that starts ends with words, once.
func (h *host) configurationIsChecked(d daemon) {
	h.t.Helper()
	pid := h.property(d.name, "MainPID")
	h.must("cp -p " + d.conf + " /root/conf && echo '" + d.typo + " = 1' >>" + d.conf)
	line := strings.TrimSpace(h.must("wc -l <" + d.conf))
	place := d.conf + ":" + line
	if said, status := h.all(d.name + " --check-config"); status != 78 || !strings.Contains(said, place) {
		h.t.Errorf("%s --check-config ends with %d and says %q, want 78 and %s", d.name, status, said, place)
	}
	if _, status := h.all("systemctl reload " + d.name); status == 0 {
		h.t.Errorf("systemctl reload %s succeeds with a wrong configuration", d.name)
	}
	if now := h.property(d.name, "MainPID"); now != pid || h.property(d.name, "ActiveState") != "active" {
		h.t.Errorf("after the refused reload %s runs as %s, before as %s", d.name, now, pid)
	}
	h.logs(d.name, place)
	// A start fails, and the daemon has ended before journald, which is busy, reads why.
	h.must("systemctl stop " + d.name + "\nkill -STOP $(systemctl show --value --property=MainPID systemd-journald)\nsystemctl --no-block start " + d.name)
	h.until(d.name+" has failed", func() bool { return h.property(d.name, "ActiveState") == "failed" })
	h.must("kill -CONT $(systemctl show --value --property=MainPID systemd-journald)")
	refusal := "the configuration is refused: " + place
	h.says(d.name, d.name+"[", refusal, "status=78")
	h.logs(d.name, refusal)
	if n, state := h.property(d.name, "NRestarts"), h.property(d.name, "ActiveState"); n != "0" || state != "failed" {
		h.t.Errorf("with a wrong configuration %s is %s after %s restarts; trying again can't help", d.name, state, n)
	}
	h.must("mv /root/conf " + d.conf + " && systemctl restart " + d.name + " && systemctl reload " + d.name)
}

// statusOutlivesAVolatileJournal reboots a host that keeps no journal, as Raspberry Pi
// OS does: the status line needs none.
func (h *host) statusOutlivesAVolatileJournal(d daemon) {
	h.t.Helper()
	h.check(h.WriteFile("/etc/systemd/journald.conf.d/volatile.conf", "[Journal]\nStorage=volatile\n"))
	h.check(h.Shutdown(h.t.Context()))
	h.check(h.Boot(h.t.Context()))
	h.until(d.name+" runs and says how it is", func() bool {
		return h.property(d.name, "ActiveState") == "active" && strings.HasPrefix(h.property(d.name, "StatusText"), d.status)
	})
	h.must("rm /etc/systemd/journald.conf.d/volatile.conf && systemctl restart systemd-journald")
}

// TestWatchdogRestartsADaemonThatHangs stops a node's main process. systemd notices by
// itself, within the three minutes that a person may be told.
func TestWatchdogRestartsADaemonThatHangs(t *testing.T) {
	t.Parallel()
	s := newLab(t)
	h := s.add("hangs", "10.99.0.11", nil)
	boot(t, h)
	h.paste("apt")
	h.paste("node")
	hung := h.property("raid-node", "MainPID")
	h.must("kill -STOP " + hung)
	start := time.Now()
	until(t, "the node was restarted", 3*time.Minute, func() bool {
		return h.property("raid-node", "NRestarts") == "1" && h.property("raid-node", "ActiveState") == "active"
	})
	t.Logf("a hung node was ended and started again after %.0f s", time.Since(start).Seconds())
	h.logged("raid-node", func() string { return "_PID=" + hung }, "goroutine") // where it hung
}

// TestPolicyRcdAndChrootsInstallAndStartNothing installs where starting is forbidden,
// and where there is no systemd at all.
func TestPolicyRcdAndChrootsInstallAndStartNothing(t *testing.T) {
	t.Parallel()
	s := newLab(t)
	h := s.add("policy", "10.99.0.11", func(c *nspawn.HostConfig) { c.Files["/usr/sbin/policy-rc.d"] = "#!/bin/sh\nexit 101\n" })
	boot(t, h)
	h.paste("apt")
	h.must("sudo apt install raid-node raid-controller")
	for _, d := range []daemon{nodeDaemon, controllerDaemon} {
		if state := h.property(d.name, "ActiveState"); state != "inactive" {
			t.Errorf("%s is %s under policy-rc.d 101", d.name, state)
		}
		h.must("rm -f /usr/sbin/policy-rc.d; systemctl is-enabled " + d.name + " && systemctl start " + d.name)
	}

	chroot := s.add("chroot", "", nil)
	for _, name := range []string{"raid-node", "raid-controller"} {
		debs, err := filepath.Glob(filepath.Join(setting.source.now, "pool", "main", name, "*_amd64.deb"))
		if err != nil || len(debs) == 0 {
			t.Fatalf("there is no package %s: %v", name, err)
		}
		deb, err := os.ReadFile(debs[len(debs)-1])
		chroot.check(err)
		chroot.check(chroot.WriteFile("/root/"+name+".deb", string(deb)))
		cmd := exec.CommandContext(t.Context(), "chroot", chroot.Root(), "apt-get", "install", "/root/"+name+".deb")
		cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("apt install %s in a chroot: %v\n%s", name, err, out)
		}
		if _, err := os.Lstat(chroot.Path("/etc/systemd/system/multi-user.target.wants/" + name + ".service")); err != nil {
			t.Errorf("%s, installed in a chroot, would not start at the next boot: %v", name, err)
		}
	}
}
