package e2e

import (
	"testing"

	"github.com/raidpi/raidpi/test/cluster"
)

// The answers of a delete, of putting back and of a purge hold, whenever the controller is killed.
// A file that was put back is whole, and one that was purged never comes back.
func TestDeletedFilesAndTheControllerKilled(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 3, ControllerEnv: []string{"RAID_CONTROLLER_TRASH_KEEP=1h"}})
	for round := range rounds {
		stored := map[int64]cluster.Content{}
		for range 4 {
			c := content(300_000)
			stored[a.upload(c).ID] = c
		}
		answered := a.deleteAndKill(stored, 1+round%4)
		a.must(a.Controller.Start())
		a.must(a.WaitReady(t.Context(), len(a.Nodes)))
		kill := 0
		for id, c := range stored {
			if _, err := a.API.Download(t.Context(), id); answered[id] && cluster.Status(err) != 404 {
				t.Errorf("file %d is there (%v), its DELETE got its 200", id, err)
			}
			a.must(a.API.Undelete(t.Context(), id)) // of what is no deleted file, too
			if kill++; kill == 1+round%4 {
				a.must(a.Controller.Kill())
				a.must(a.Controller.Start())
				a.must(a.WaitReady(t.Context(), len(a.Nodes)))
			}
			a.check(id, c)
		}
		for id := range stored {
			a.must(a.API.Delete(t.Context(), id))
			a.must(a.API.Purge(t.Context(), id))
			if kill--; kill == round%4 {
				a.must(a.Controller.Kill())
				a.must(a.Controller.Start())
				a.must(a.WaitReady(t.Context(), len(a.Nodes)))
			}
			if err := a.API.Undelete(t.Context(), id); cluster.Status(err) != 404 {
				t.Errorf("file %d came back after it was purged: %v", id, err)
			}
		}
	}
	a.becomesWhole() // with no chunk more than what is stored
}
