//go:build armboot

package arm

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

var powerLosses = flag.Int("power-losses", 3, "how often the machine loses its power")

// TestStoredFilesSurviveAPowerLoss takes the power from a machine that stores files.
// What it had not flushed is lost, of the catalog as of the chunks. The second node is
// away until all is read: nothing comes from there.
func TestStoredFilesSurviveAPowerLoss(t *testing.T) {
	v := newMachine(t, models["arm64"])
	v.powerOn()
	api, second := v.array()
	files := &stored{files: map[int64]cluster.Content{}}
	for round := range *powerLosses {
		before := files.count()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- files.upload(ctx, api, uint64(round+1)*1_000_000) }()
		v.until(3*time.Minute, "files are stored", func() error {
			if files.count() < before+10 {
				return context.DeadlineExceeded
			}
			return nil
		})
		time.Sleep(rand.N(3 * time.Second))
		// A new name each time: ext4 writes out soon what replaces what a file held.
		witness := fmt.Sprintf("/mnt/unsynced-%d", round)
		v.must("echo unsynced >" + witness)
		v.pullThePlug()
		cancel()
		<-ended // whatever was said last
		if err := second.Terminate(time.Minute); err != nil {
			t.Error(err)
		}

		v.powerOn()
		if out := v.must("cat " + witness + " 2>&1 || true"); out == "unsynced" {
			t.Error("a file that nobody flushed is there: this was no power loss")
		}
		v.until(2*time.Minute, "the machine's own node is back", func() error {
			_, err := v.try("raid-node status | grep Connected")
			return err
		})
		v.checkAll(api, files)
		t.Logf("power loss %d: %d files were stored before it, all %d are there", round+1, files.count()-before, files.count())
		if t.Failed() {
			return
		}
		if err := second.Start(); err != nil {
			t.Fatal(err)
		}
		v.allUp(api)
	}
}
