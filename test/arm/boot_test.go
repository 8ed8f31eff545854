//go:build armboot

package arm

import (
	"flag"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

// idleFor is the time for which idle daemons are watched; make e2e-arm IDLE=10m takes ten minutes.
var idleFor = flag.Duration("idle", time.Minute, "how long an idle machine is watched")

var daemons = []string{"raid-controller", "raid-node"}

// ceilings of the daemons' own memory, as the array promises them.
var ceilings = map[string]struct{ idle, peak int64 }{
	"raid-controller": {30 * mib, 96 * mib},
	"raid-node":       {20 * mib, 48 * mib},
}

func TestPackagesWorkOnArm64(t *testing.T) { packagesWork(t, models["arm64"]) }

func TestPackagesWorkOnArmhf(t *testing.T) { packagesWork(t, models["armhf"]) }

// packagesWork boots a machine on which the packages are installed.
func packagesWork(t *testing.T, m model) {
	v := newMachine(t, m)
	v.powerOn()
	for _, daemon := range daemons {
		v.readyInSandbox(daemon)
	}
	if out := v.must("systemctl show -p StatusText raid-node"); !strings.Contains(out, "Not joined") {
		t.Errorf("before it joins: %s", out)
	}
	api, _ := v.array()
	v.store(api, content(10_000))
	time.Sleep(15 * time.Second) // what was begun ends
	v.idles()
	v.memory("idle", func(daemon string) int64 { return ceilings[daemon].idle })
	v.store(api, content(64*mib))
	v.memory("after 64 MiB", func(daemon string) int64 { return ceilings[daemon].peak })
	v.watchdogEndsWhatHangs()
	v.allUp(api)
	v.store(api, content(10_000))
	if out := v.must("journalctl -q -o cat _COMM=raid-controller _COMM=raid-node | grep -n 'operation not permitted' || true"); out != "" {
		t.Errorf("the sandbox forbids what a daemon does: %s", out)
	}
}

func content(size int64) cluster.Content { return cluster.Content{Seed: 4, Size: size} }

// readyInSandbox compares what systemd and the kernel do with the unit with what the
// unit asks for.
func (v *machine) readyInSandbox(daemon string) {
	v.t.Helper()
	shows := map[string]string{}
	for line := range strings.Lines(v.must("systemctl show " + daemon)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		shows[name] = value
	}
	for name, want := range map[string]string{
		"DropInPaths": "", "Type": "notify", "WatchdogUSec": "1min", "NRestarts": "0", "NoNewPrivileges": "yes",
		"ProtectSystem": "strict", "MemoryDenyWriteExecute": "yes", "CapabilityBoundingSet": "",
		// The controller must know other users by their ids.
		"PrivateUsers": map[string]string{"raid-controller": "no", "raid-node": "yes"}[daemon],
	} {
		if shows[name] != want {
			v.t.Errorf("%s: %s is %q, want %q", daemon, name, shows[name], want)
		}
	}
	// Debian 12 says /lib where it is /usr/lib.
	if path := shows["FragmentPath"]; !strings.HasSuffix(path, "/lib/systemd/system/"+daemon+".service") {
		v.t.Errorf("%s is not the unit of the package, but %q", daemon, path)
	}
	// What the kernel says: filtered system calls, no capability, a user of its own.
	status := v.must("cat /proc/$(systemctl show -p MainPID --value " + daemon + ")/status")
	for _, want := range []string{"Seccomp:\t2", "NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000"} {
		if !strings.Contains(status, want) {
			v.t.Errorf("%s: the kernel does not say %q:\n%s", daemon, want, status)
		}
	}
	// Worse than 1.5 ends with an error.
	exposure := v.must("systemd-analyze security --no-pager --threshold=15 " + daemon)
	exposure = exposure[strings.LastIndex(exposure, "\n")+1:]
	started := v.number("systemctl show -p ActiveEnterTimestampMonotonic --value " + daemon)
	asked := v.number("systemctl show -p InactiveExitTimestampMonotonic --value " + daemon)
	v.t.Logf("%s: ready %v after its start; %s", daemon, time.Duration(started-asked)*time.Microsecond, exposure)
}

// memory reports what a daemon takes, and compares its own memory with the ceiling.
// The kernel counts the cache of its files into the cgroup, so that is shown only.
func (v *machine) memory(when string, ceiling func(daemon string) int64) {
	v.t.Helper()
	for _, daemon := range daemons {
		pid := v.must("systemctl show -p MainPID --value " + daemon)
		field := map[string]int64{}
		for line := range strings.Lines(v.must("cat /proc/" + pid + "/status")) {
			name, value, _ := strings.Cut(line, ":")
			if kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64); err == nil {
				field[name] = kib << 10
			}
		}
		group := "/sys/fs/cgroup/system.slice/" + daemon + ".service/"
		current := v.number("cat " + group + "memory.current")
		anonymous := v.number("sed -n 's/^anon //p' " + group + "memory.stat")
		v.t.Logf("%s, %s: RSS %.1f MiB, its peak %.1f, without the program's own pages %.1f; cgroup %.1f, of it no cache %.1f", daemon, when,
			inMiB(field["VmRSS"]), inMiB(field["VmHWM"]), inMiB(field["RssAnon"]), inMiB(current), inMiB(anonymous))
		used := field["VmHWM"]
		if when == "idle" {
			used = field["VmRSS"]
		}
		if used == 0 || used > ceiling(daemon) {
			v.t.Errorf("%s, %s: %.1f MiB, want at most %.0f", daemon, when, inMiB(used), inMiB(ceiling(daemon)))
		}
	}
}

func inMiB(n int64) float64 { return float64(n) / mib }

// idles watches the disks and the processor while nobody asks for anything.
func (v *machine) idles() {
	v.t.Helper()
	// Fields 5 and 7 of /sys/block/*/stat: writes and sectors written.
	const writes = "for d in vda vdb; do set -- $(cat /sys/block/$d/stat); echo $d $5 $7; done"
	busy := func() (usage [2]time.Duration) {
		for i, daemon := range daemons {
			usage[i] = time.Duration(v.number("sed -n 's/^usage_usec //p' /sys/fs/cgroup/system.slice/"+daemon+".service/cpu.stat")) * time.Microsecond
		}
		return usage
	}
	v.must("sync")
	before, used := v.must(writes), busy()
	time.Sleep(*idleFor)
	usedAfter := busy()
	if after := v.must(writes); after != before {
		v.t.Errorf("the disks' writes while idle for %v: from\n%s\nto\n%s", *idleFor, before, after)
	}
	for i, daemon := range daemons {
		share := float64(usedAfter[i]-used[i]) / float64(*idleFor)
		v.t.Logf("%s, idle for %v: %.2f %% of an emulated core", daemon, *idleFor, 100*share)
	}
}

// watchdogEndsWhatHangs freezes both daemons at once.
func (v *machine) watchdogEndsWhatHangs() {
	v.t.Helper()
	v.must("kill -STOP $(systemctl show -p MainPID --value " + strings.Join(daemons, " ") + ")")
	start := time.Now()
	for _, daemon := range daemons {
		v.until(4*time.Minute, "the watchdog has "+daemon+" started anew", func() error {
			out, err := v.try("systemctl show -p NRestarts --value " + daemon + "; systemctl is-active " + daemon)
			if err == nil && out != "1\nactive" {
				err = fmt.Errorf("%q", out)
			}
			return err
		})
		out := v.must("journalctl -q -u " + daemon)
		for _, want := range []string{"Watchdog timeout", "SIGABRT", "goroutine "} {
			if !strings.Contains(out, want) {
				v.t.Errorf("the journal of %s has no %q:\n%s", daemon, want, out)
			}
		}
	}
	v.t.Logf("both are back %v after they hung", time.Since(start).Round(time.Second))
}

// TestUnitsStartWithoutTheMemoryCgroup: many Pis boot like this.
func TestUnitsStartWithoutTheMemoryCgroup(t *testing.T) {
	v := newMachine(t, models["arm64"])
	v.powerOn("cgroup_disable=memory")
	if out := v.must("cat /sys/fs/cgroup/cgroup.controllers"); strings.Contains(out, "memory") {
		t.Fatalf("there is a memory cgroup: %s", out)
	}
	for _, daemon := range daemons {
		v.readyInSandbox(daemon)
	}
	api, _ := v.array()
	v.store(api, content(mib))
}
