package e2e

import (
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

// TestUploadsToFullDisksAreRefused reserves more than there is on every disk.
func TestUploadsToFullDisksAreRefused(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 4, NodeEnv: []string{"RAID_NODE_RESERVE=1000000GiB"}, Timeout: time.Minute})
	_, err := a.API.Upload(t.Context(), "full", content(1000).Reader(), 1000)
	if cluster.Status(err) != 507 {
		t.Errorf("upload to a full array: %v, want status 507", err)
	}
	a.becomesWhole()
}
