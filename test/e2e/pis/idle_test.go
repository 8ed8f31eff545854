//go:build nspawn

package pis

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// idle measures an array that has nothing to do, on all hosts at once.
func (a *array) idle() {
	a.t.Helper()
	window := *idleFor
	hosts := append([]*host{a.controller}, a.pis...)
	time.Sleep(7 * time.Second) // ext4 writes out what is not synced after five
	if *idleOnly {
		time.Sleep(3 * time.Minute) // Go gives memory of the work before back for that long
	}
	type figures struct {
		writes, bytes int64
		cpu           time.Duration
	}
	read := func(h *host) (f figures) {
		var err error
		f.writes, f.bytes, err = h.DiskWrites()
		a.check(err)
		f.cpu, err = cpuTime(h)
		a.check(err)
		return f
	}
	before := map[*host]figures{}
	for _, h := range hosts {
		a.check(h.Sync())
		before[h] = read(h)
	}
	time.Sleep(window)
	for _, h := range hosts {
		now, was := read(h), before[h]
		share := float64(now.cpu-was.cpu) / float64(window) * 100
		rss, err := memory(h)
		a.check(err)
		a.t.Logf("%-10s idle for %v: %d writes (%d bytes) to its disk, the daemon takes %.2f %% of a core and %.1f MiB",
			h.Name, window, now.writes-was.writes, now.bytes-was.bytes, share, float64(rss)/(1<<20))
		if limit := memoryLimit(h); rss > limit {
			a.t.Errorf("the daemon of %s takes %.1f MiB, want at most %.0f", h.Name, float64(rss)/(1<<20), float64(limit)/(1<<20))
		}
		// A write of no bytes is a flush, which any sync(2) on the machine causes.
		if n := now.bytes - was.bytes; n != 0 {
			a.t.Errorf("%s wrote %d bytes to its disk in %v without anything to do", h.Name, n, window)
		}
		if limit := idleShare(); share > limit {
			a.t.Errorf("the idle daemon of %s takes %.2f %% of a core, want at most %.1f %%", h.Name, share, limit)
		}
	}
}

// idleShare returns the share of a core that an idle daemon may take, in percent. Beside other
// tests every wake-up costs more, since the caches are cold.
func idleShare() float64 {
	if *idleOnly {
		return 0.5
	}
	return 1.5
}

// memoryLimit bounds the memory of a daemon, in bytes: this array has stored a file of some
// megabytes. The memory of one that has done nothing yet is measured on an emulated Pi.
func memoryLimit(h *host) int64 {
	if h.Name == "controller" {
		return 96 << 20
	}
	return 48 << 20
}

func unitOf(h *host) string {
	if h.Name == "controller" {
		return "raid-controller.service"
	}
	return "raid-node.service"
}

// cpuTime returns the time that the daemon's threads have run since they started, to the
// nanosecond. Ticks, as in proc_pid_stat(5), overcount what wakes on ticks.
func cpuTime(h *host) (sum time.Duration, err error) {
	for _, pid := range h.UnitProcesses(unitOf(h)) {
		threads, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "schedstat"))
		if err != nil {
			return 0, err
		}
		for _, path := range threads {
			text, err := os.ReadFile(path)
			if err != nil {
				return 0, err
			}
			ran, _, _ := strings.Cut(string(text), " ")
			ns, err := strconv.ParseInt(ran, 10, 64)
			if err != nil {
				return 0, err
			}
			sum += time.Duration(ns)
		}
	}
	if sum == 0 {
		return 0, fmt.Errorf("%s has no daemon that runs", h.Name)
	}
	return sum, nil
}

// memory is the daemon's resident set.
func memory(h *host) (int64, error) {
	for _, pid := range h.UnitProcesses(unitOf(h)) {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(text)) {
			if kib, ok := strings.CutPrefix(line, "VmRSS:"); ok {
				n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(kib), " kB"), 10, 64)
				return n << 10, err
			}
		}
	}
	return 0, fmt.Errorf("%s has no daemon", h.Name)
}
