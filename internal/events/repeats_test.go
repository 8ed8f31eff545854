package events

import (
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// Who reads the events after a start believes the last word on a node: what happened last comes last.
func TestSumsComeInTheOrderInWhichThingsHappened(t *testing.T) {
	for range 20 { // maps have no order
		var r repeats
		now := time.Now()
		for i := range 40 {
			now = now.Add(time.Second)
			r.allow(raid.Event{Kind: []raid.EventKind{raid.NodeDown, raid.NodeUp}[i%2], Node: "n1"}, now)
		}
		out, _ := r.due(now, true)
		if len(out) < 2 || out[len(out)-1].Kind != raid.NodeUp {
			t.Fatalf("the last of %+v is not what happened last", out)
		}
	}
}
