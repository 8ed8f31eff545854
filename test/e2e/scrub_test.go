package e2e

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/raidpi/raidpi/test/cluster"
)

// scrub is GET /scrub, as far as it is looked at.
type scrub struct {
	Nodes []struct {
		State        string  `json:"state"`
		BadChunks    int64   `json:"bad_chunks"`
		LastFinished *string `json:"last_finished"`
	} `json:"nodes"`
	OldestVerified string `json:"oldest_verified"`
}

func (a *array) scrub(action string) {
	a.t.Helper()
	a.must(a.Root(a.t.Context(), "POST", "/scrub", fmt.Sprintf(`{"action": %q}`, action), nil))
}

func (a *array) scrubs() (s scrub, err error) {
	err = a.Root(a.t.Context(), "GET", "/scrub", "", &s)
	return s, err
}

// all fails unless it holds of all nodes.
func (s scrub) all(a *array, what string, holds func(state string, bad int64, finished bool) bool) error {
	if len(s.Nodes) != len(a.Nodes) {
		return fmt.Errorf("%d of %d nodes are listed", len(s.Nodes), len(a.Nodes))
	}
	for _, n := range s.Nodes {
		if !holds(n.State, n.BadChunks, n.LastFinished != nil) {
			return fmt.Errorf("not all nodes %s: %+v", what, s.Nodes)
		}
	}
	return nil
}

// summedUp matches an event that tells of several bad chunks of a node.
var summedUp = regexp.MustCompile(`(\d+) chunks are not what was stored`)

// The nodes themselves find rot, and it is healed though nobody reads the file. It is healed from
// the other copy, or block by block where both copies are rotten.
func TestRotIsFoundAndHealedWithoutARead(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 3, Bin: programs.race, ControllerEnv: []string{"RAID_CONTROLLER_TRASH_KEEP=1h"}})
	one, both := content(3*mib), content(3*mib)
	first, second := a.upload(one).ID, a.upload(both).ID
	info1, err := a.API.Info(t.Context(), first)
	a.must(err)
	info2, err := a.API.Info(t.Context(), second)
	a.must(err)
	rotten1, rotten2 := []string{info1.Part1[0]}, []string{info2.Part2[0], info2.Part2[1]}
	a.must(flip(a.chunkFile(rotten1[0]), 0.5))
	a.must(flip(a.chunkFile(rotten2[0]), 0.1)) // of 24 blocks the third
	a.must(flip(a.chunkFile(rotten2[1]), 0.8)) // and the twentieth

	a.scrub("start")
	a.eventually("rot is found and healed", 2*settled, func() error {
		s, err := a.scrubs()
		if err != nil {
			return err
		}
		if err := a.replaced(first, rotten1...); err != nil {
			return err
		}
		if err := a.replaced(second, rotten2...); err != nil {
			return err
		}
		return s.all(a, "are through and well", func(_ string, bad int64, finished bool) bool { return finished && bad == 0 })
	})
	a.check(first, one)
	a.check(second, both)
	a.becomesWhole()

	// What was rotten waits in the trash.
	a.eventually("the rotten chunks are in the trash", settled, func() error {
		for _, name := range append(rotten1, rotten2...) {
			if in, _ := filepath.Glob(filepath.Join(a.Dir(), "node*", "chunks", "trash", "*", name)); len(in) != 1 {
				return fmt.Errorf("chunk %s is not there", name)
			}
		}
		return nil
	})

	// Each is told once: by itself, or with others when the node's list was compared first.
	a.eventually("the events are there", settled, func() error {
		var list struct {
			Events []struct{ Kind, Text string } `json:"events"`
		}
		if err := a.Root(t.Context(), "GET", "/events", "", &list); err != nil {
			return err
		}
		told, texts := 0, []string{}
		for _, e := range list.Events {
			if e.Kind != "chunk-bad" {
				continue
			}
			n := 1
			if several := summedUp.FindStringSubmatch(e.Text); several != nil {
				n, _ = strconv.Atoi(several[1]) // digits
			}
			told, texts = told+n, append(texts, e.Text)
		}
		if told != len(rotten1)+len(rotten2) {
			return fmt.Errorf("%d bad chunks were told: %q", told, texts)
		}
		return nil
	})
	var info struct{ Verified string }
	a.must(a.Root(t.Context(), "GET", fmt.Sprintf("/files/%d/info", first), "", &info))
	if s, err := a.scrubs(); err != nil || s.OldestVerified == "" || info.Verified < s.OldestVerified {
		t.Errorf("file 1 was verified %q, all since %q, %v", info.Verified, s.OldestVerified, err)
	}
}

// A pause holds until a person ends it, whoever is killed meanwhile.
func TestAPauseOfTheScrubHolds(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 2})
	a.upload(content(mib)) // before it has a chunk, a node without TLS is not remembered
	state := func(want string) {
		t.Helper()
		a.eventually("all nodes are "+want, settled, func() error {
			s, err := a.scrubs()
			if err != nil {
				return err
			}
			return s.all(a, "are "+want, func(state string, _ int64, _ bool) bool { return state == want })
		})
	}
	state("waiting")
	a.scrub("pause")
	state("paused")
	for _, d := range a.Daemons() {
		a.must(d.Kill())
		a.must(d.Start())
	}
	a.eventually("the array is back", settled, func() error { return a.API.Ready(t.Context()) })
	state("paused")
	a.scrub("start")
	a.eventually("all nodes are through", settled, func() error {
		s, err := a.scrubs()
		if err != nil {
			return err
		}
		return s.all(a, "are through", func(_ string, _ int64, finished bool) bool { return finished })
	})
}
