package controller

import (
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/relocate"
)

func TestPartsInOneZoneForWantOfRoomAreToldInAHealthyArray(t *testing.T) {
	if f := stuckInZones(relocate.Amount{}); len(f) > 0 {
		t.Errorf("of nothing: %+v", f)
	}
	a := raid.Assess(stuckInZones(relocate.Amount{Parts: 1204, Bytes: 3_100_000_000}))
	if a.Health != raid.Healthy || a.Impaired || !strings.Contains(a.Text(), "1,204 parts (3.1 GB) have all copies in one zone") {
		t.Errorf("%s: %s", a.Health, a.Text())
	}
}
