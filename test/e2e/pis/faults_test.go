//go:build nspawn

package pis

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
	"github.com/raidpi/raidpi/test/nspawn"
)

// hold is the time that a fault lasts: longer than it takes the array to notice.
const hold = 5 * time.Second

// lasts keeps a fault up until a daemon's status begins with the words that tell of
// it, and for hold at least.
func (h *host) lasts(unit, words string) {
	h.t.Helper()
	start, status := time.Now(), ""
	until(h.t, h.Name+": "+unit+" says "+words, patience, func() bool {
		status = h.property(unit, "StatusText")
		return strings.HasPrefix(status, words)
	}, func() string { return "it says " + status })
	time.Sleep(hold - time.Since(start))
}

// oneIsGone are the controller's words then.
const oneIsGone = "3/4 nodes up"

// nodeFaults do to one node after the other what a Pi suffers. Nobody's upload fails.
func (a *array) nodeFaults(files *traffic) {
	ctx, t := a.t.Context(), a.t
	pi := a.pis[0]
	files.through(t, "the plug of a node is pulled and put back", func() {
		a.check(pi.Plug(ctx))
		a.controller.lasts("raid-controller", oneIsGone)
		a.check(pi.Boot(ctx))
		a.whole(4)
	})
	for i, cut := range []nspawn.Cut{nspawn.Both, nspawn.In, nspawn.Out} {
		pi := a.pis[i+1]
		files.through(t, fmt.Sprintf("the cable of a node is %v", cut), func() {
			a.check(pi.Cable(ctx, cut))
			a.controller.lasts("raid-controller", oneIsGone)
			a.check(pi.Cable(ctx, nspawn.None))
			a.whole(4)
		})
	}
	pi = a.pis[2]
	files.through(t, "a node hangs", func() {
		a.check(pi.Freeze(ctx))
		a.controller.lasts("raid-controller", oneIsGone)
		time.Sleep(hold)
		pi.Thaw()
		a.whole(4)
	})
	pi = a.pis[3]
	files.through(t, "the disk of a node is full", func() {
		a.check(pi.FillDisk(1 << 20))
		pi.lasts("raid-node", "Disk is full")
		a.check(pi.EmptyDisk())
		a.whole(4)
	})
}

// powerLosses make disks of nodes forget what was not synced, in turn.
func (a *array) powerLosses(files *traffic) {
	ctx := a.t.Context()
	for i := range *rounds {
		pi := a.pis[i%len(a.pis)]
		files.through(a.t, fmt.Sprintf("the disk of %s loses what was not synced", pi.Name), func() {
			a.check(pi.LosePower(ctx))
			a.complete(files.those(func(f attempt) bool { return f.err == nil }))
			a.check(pi.Boot(ctx))
			a.whole(4)
		})
	}
}

// complete looks for all chunks of files on the disks, of hosts that are off too. What
// is missing would be served from the other copy, and made anew, without anybody seeing.
func (a *array) complete(stored []attempt) {
	a.t.Helper()
	onDisk := map[string]bool{}
	look := func() {
		for _, pi := range a.pis {
			a.check(filepath.WalkDir(pi.Path("/var/lib/raid-node/chunks"), func(path string, e os.DirEntry, err error) error {
				if errors.Is(err, os.ErrNotExist) {
					return nil // written and renamed, or removed, just now
				}
				onDisk[filepath.Base(path)] = true
				return err
			}))
		}
	}
	names := func(file attempt) []string {
		info, err := a.api.Info(a.t.Context(), file.id)
		a.check(err)
		if len(info.Part1) == 0 || len(info.Part2) == 0 {
			a.t.Fatalf("file %d has no chunks", file.id)
		}
		return append(info.Part1, info.Part2...)
	}
	chunks := 0
	look()
	for _, file := range stored {
		missing := func() (found []string) {
			for _, name := range names(file) {
				chunks++
				if !onDisk[name] {
					found = append(found, name)
				}
			}
			return found
		}
		if len(missing()) == 0 {
			continue
		}
		look() // another copy of it may have been made in the meantime
		if found := missing(); len(found) > 0 {
			a.t.Errorf("of file %d, which was answered with 201 at %s, these chunks are on no disk: %v", file.id, file.end.Format(time.TimeOnly), found)
		}
	}
	a.t.Logf("%d files have %d chunks on the disks", len(stored), chunks)
}

// nothingCrashed looks for what systemd heals: a daemon that ended by itself, or hung,
// and was started again. No fault was meant to end one on a Pi.
func (a *array) nothingCrashed() {
	a.t.Helper()
	for _, h := range a.all() {
		for unit, bad := range map[string][]string{
			"raid-controller": {"panic:", "fatal error:", "Watchdog timeout", "bad copy"},
			"raid-node":       {"panic:", "fatal error:", "Watchdog timeout", "Scheduled restart job", "Chunk is corrupt"},
		} {
			log := h.Journal(a.t.Context(), 1_000_000, "_SYSTEMD_UNIT="+unit+".service", "+", "UNIT="+unit+".service")
			if installed := h != a.laptop && (h == a.controller) == (unit == "raid-controller"); installed != strings.Contains(log, unit+" is ready") {
				a.t.Errorf("the journal of %s on %s has %d bytes:\n%s", unit, h.Name, len(log), log[:min(len(log), 2000)])
			}
			for line := range strings.Lines(log) {
				for _, words := range bad {
					if strings.Contains(line, words) {
						a.t.Errorf("%s on %s: %s", unit, h.Name, line)
					}
				}
			}
		}
	}
}

// controllerFaults leave the array without its controller for a while.
func (a *array) controllerFaults(files *traffic) {
	ctx := a.t.Context()
	files.despite(a.t, "the controller is killed with -9", func() {
		before := a.controller.property("raid-controller", "MainPID")
		a.controller.must("kill -9 " + before)
		a.controller.until("systemd has started it again", func() bool {
			now := a.controller.property("raid-controller", "MainPID")
			return now != before && now != "0" && a.controller.property("raid-controller", "ActiveState") == "active"
		})
		a.whole(4)
	})
	files.despite(a.t, "the controller is rebooted", func() {
		a.check(a.controller.Shutdown(ctx))
		a.check(a.controller.Boot(ctx))
		a.whole(4)
	})
	for range *rounds {
		files.despite(a.t, "the controller's disk loses what was not synced", func() {
			a.check(a.controller.LosePower(ctx))
			a.check(a.controller.Boot(ctx))
			a.whole(4)
		})
	}
}

// onlyItsPorts looks at what a network sees of the hosts.
func (a *array) onlyItsPorts() {
	a.t.Helper()
	const listening = `ss -Hltn | awk '{ print $4 }' | sed 's/.*://' | sort -un | tr '\n' ' '`
	if ports := a.controller.must(listening); strings.TrimSpace(ports) != "5557 5558 5559 9000" {
		a.t.Errorf("the controller listens on the TCP ports %s", ports)
	}
	for _, pi := range a.pis {
		if ports := pi.must(listening); ports != "" {
			a.t.Errorf("%s listens on the TCP ports %s", pi.Name, ports)
		}
	}
	if out, _ := a.laptop.all("curl -sS -i http://controller.local:9000/files"); !strings.HasPrefix(out, "HTTP/1.1 403") {
		a.t.Errorf("HTTP without TLS from elsewhere is answered with %s", out)
	}
	// As in the test of strangers: no peer without TLS, whatever it says, is served.
	a.check(a.laptop.WriteFile("/root/stranger", string(strangerProgram(a.t))))
	out, _ := a.laptop.all("chmod +x stranger && ./stranger " + controllerAddr)
	if strings.Contains(out, "SERVED") || strings.Count(out, "refused") != 9 {
		a.t.Errorf("a stranger at the nodes' ports:\n%s", out)
	}
}

// strangerProgram builds test/stranger.
func strangerProgram(t *testing.T) []byte {
	t.Helper()
	root, err := cluster.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "stranger")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", path, "./test/stranger")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return program
}
