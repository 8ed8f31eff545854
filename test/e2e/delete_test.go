package e2e

import (
	"sync"
	"testing"

	"github.com/raidpi/raidpi/test/cluster"
)

// A file whose DELETE got its 200 is gone, whatever happens in the next instant,
// and so are its chunks in the end. One whose DELETE got no answer is gone or whole.
func TestEvery200OfADeleteSurvivesControllerKilled(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 4, Bin: programs.race})
	kept := content(mib)
	keptID := a.upload(kept).ID
	const each = 4 // deletes at the same time
	for round := range rounds {
		stored := map[int64]cluster.Content{}
		for range each {
			c := content(100_000)
			stored[a.upload(c).ID] = c
		}
		answered := a.deleteAndKill(stored, 1+round%each)
		a.must(a.Controller.Start())
		a.must(a.WaitReady(t.Context(), len(a.Nodes)))
		for id, c := range stored {
			switch _, err := a.API.Download(t.Context(), id); {
			case cluster.Status(err) == 404:
			case answered[id]:
				t.Errorf("file %d is back (%v), its DELETE got its 200", id, err)
			default:
				a.check(id, c)
				a.must(a.API.Delete(t.Context(), id))
			}
		}
	}
	if files := a.files(); len(files) != 1 || files[0].ID != keptID {
		t.Errorf("%d files are listed, want the one that was not deleted", len(files))
	}
	a.becomesWhole()
	a.check(keptID, kept)
}

// deleteAndKill deletes files all at once, kills the controller in the moment
// that so many are answered with 200, and returns which were.
func (a *array) deleteAndKill(files map[int64]cluster.Content, kill int) map[int64]bool {
	a.t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	answered := map[int64]bool{}
	for id := range files {
		wg.Go(func() {
			if err := a.API.Delete(a.t.Context(), id); err != nil {
				if cluster.Status(err) != 0 {
					a.t.Errorf("delete file %d: %v", id, err)
				}
				return
			}
			mu.Lock()
			defer mu.Unlock()
			answered[id] = true
			if len(answered) == kill {
				if err := a.Controller.Kill(); err != nil {
					a.t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if len(answered) < kill {
		a.t.Fatalf("only %d of %d deletes were answered", len(answered), len(files))
	}
	return answered
}
