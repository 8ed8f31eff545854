package e2e

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

// shortGrace has nodes lost after ten seconds.
var shortGrace = []string{"RAID_CONTROLLER_REPAIR_GRACE=10s"}

// wholeWithout checks that each part has two copies on disks of distinct nodes other than
// one, and returns how many chunks that one holds beside.
func (a *array) wholeWithout(gone int) (beside int, err error) {
	files, err := a.API.Files(a.t.Context())
	if err != nil {
		return 0, err
	}
	holders, err := a.Holders()
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		info, err := a.API.Info(a.t.Context(), f.ID)
		if err != nil {
			return 0, err
		}
		for _, names := range []cluster.Names{info.Part1, info.Part2} {
			for _, n := range names {
				if h := holders[n]; len(h) == 1 && h[0] == gone {
					return 0, fmt.Errorf("file %d still rests on node%d", f.ID, gone+1)
				}
			}
			if err := onTwoNodes(names, holders); err != nil {
				return 0, fmt.Errorf("file %d: %w", f.ID, err)
			}
		}
	}
	for name, h := range holders {
		if len(h) != 1 || h[0] != gone {
			return 0, fmt.Errorf("chunk %s on nodes %v belongs to no file", name, h)
		}
		beside++
	}
	return beside, nil
}

// A node's plug is pulled for good. Without anybody's doing each file is on two other
// nodes again, so that the next one may be lost, too. What the first one brings when it
// comes back after all is surplus, and goes; nothing else does.
func TestWhatADeadNodeHeldIsMadeAgain(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 4, Bin: programs.race, ControllerEnv: shortGrace})
	stored := map[int64]cluster.Content{}
	for i := range 60 {
		c := content(int64(i*i) * 300)
		stored[a.upload(c).ID] = c
	}
	big := content(9 * mib)
	stored[a.upload(big).ID] = big
	a.must(a.Nodes[0].Kill())
	had, err := a.Chunks(0)
	a.must(err)
	a.eventually("each file is on two of the other nodes", settled, func() error {
		beside, err := a.wholeWithout(0)
		if err == nil && beside != len(had) {
			err = fmt.Errorf("the dead node held %d chunks, of which %d are of no file", len(had), beside)
		}
		return err
	})
	a.shows(`(?m)^state +healthy: \S+ away.*, and every file has its copies on other nodes; start it, or: sudo raidctl node remove `, "status")
	a.shows("heal-began .* copies .* are made again, since node "+a.nodeID(0)+" is lost", "events")
	a.must(a.Nodes[1].Kill())
	for id, c := range stored {
		a.check(id, c)
	}
	a.must(a.Nodes[1].Start())
	a.must(a.WaitUp(t.Context(), 3))
	a.must(a.Nodes[0].Start())
	a.must(a.WaitUp(t.Context(), 4))
	a.becomesWhole()
	a.shows(`(?m)^state +healthy$`, "status")
	a.must(a.AllExplained(t.Context()))
	for id, c := range stored {
		a.check(id, c)
	}
}

// shows waits until raidctl prints what matches.
func (a *array) shows(want string, args ...string) {
	a.t.Helper()
	a.eventually("raidctl "+args[0]+" shows "+want, settled, func() error {
		cmd := exec.CommandContext(a.t.Context(), filepath.Join(programs.plain, "raidctl"), append(args, "--controller", a.API.URL)...)
		out, err := cmd.Output()
		if !regexp.MustCompile(want).Match(out) {
			return fmt.Errorf("it shows: %s (%v)", out, err)
		}
		return nil
	})
}

// The controller is killed while copies are made again. The next one makes the others,
// and leaves nothing behind.
func TestHealingGoesOnAfterTheControllerWasKilled(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 4, Bin: programs.race, ControllerEnv: shortGrace})
	stored := map[int64]cluster.Content{}
	for range 250 {
		c := content(3000)
		stored[a.upload(c).ID] = c
	}
	a.must(a.Nodes[3].Kill())
	was, err := a.Holders()
	a.must(err)
	for range 2 {
		a.eventually("copies are made again", settled, func() error {
			now, err := a.Holders()
			if err == nil && len(now) <= len(was) {
				err = fmt.Errorf("%d chunks, as before", len(now))
			}
			return err
		})
		a.must(a.Controller.Kill())
		was, err = a.Holders()
		a.must(err)
		a.must(a.Controller.Start())
		a.must(a.WaitUp(t.Context(), 3))
		if _, err := a.wholeWithout(3); err == nil {
			break
		}
	}
	a.eventually("each file is on two of the other nodes", settled+10*time.Second, func() error {
		_, err := a.wholeWithout(3)
		return err
	})
	a.must(a.Nodes[3].Start())
	a.must(a.WaitUp(t.Context(), 4))
	a.becomesWhole()
	a.must(a.AllExplained(t.Context()))
	for id, c := range stored {
		a.check(id, c)
	}
}
