package controller

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// There is much room on one node, and none for files: what would help is said, in the
// refusal and in the status.
func TestAFullArraySaysHowManyNodesItNeeds(t *testing.T) {
	for _, c := range []struct {
		roomy, full int
		help        string
	}{
		{1, 2, "of the 3 nodes that take chunks now one alone has room beyond its reserve, and 2 copies need as many; add a node, or delete files"},
		{0, 3, "of the 3 nodes that take chunks now 0 have room beyond their reserve, and 2 copies need as many; add 2 nodes, or delete files"},
	} {
		a := newArray(t, c.roomy, nil)
		a.full = true
		for range c.full {
			a.addNode("")
		}
		a.awaitUp(c.roomy + c.full)
		status, i := a.tryUpload(bytes.NewReader(randomBytes(1000)))
		if status != http.StatusInsufficientStorage || !strings.Contains(i.Message, c.help) {
			t.Errorf("%d with room, %d without: %d %s", c.roomy, c.full, status, i.Message)
		}
		var s struct {
			shown
			RoomBytes int64 `json:"room_bytes"`
			Warnings  []string
		}
		a.getJSON("/status", &s)
		if s.Ready || s.Health != raid.Degraded || s.RoomBytes != 0 || !strings.Contains(s.HealthText, c.help) || len(s.Warnings) < c.full || !strings.Contains(s.Warnings[0], "100 % full") {
			t.Errorf("%d with room, %d without: %+v", c.roomy, c.full, s)
		}
		a.full = false
		for range 2 - c.roomy {
			a.addNode("")
		}
		a.awaitUp(2 + c.full)
		a.upload(randomBytes(1000))
		a.getJSON("/status", &s)
		if !s.Ready || s.RoomBytes <= 0 {
			t.Errorf("with two nodes that have room: %+v", s)
		}
	}
}
