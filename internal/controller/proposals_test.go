package controller

import (
	"fmt"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

func TestProposalsOfNodesAreSafeToPaste(t *testing.T) {
	const id = "AbCdEfGhIjKlMnOpQrStUv"
	for _, c := range []struct {
		node raid.NodeInfo
		want string
	}{
		{raid.NodeInfo{Name: "pi-3", ProposedZone: "attic"}, "pi-3 proposes zone attic; accept with: sudo raidctl node zone pi-3 attic"},
		{raid.NodeInfo{Name: "$(id)", ProposedZone: "attic"}, id + " proposes zone attic; accept with: sudo raidctl node zone " + id + " attic"},
		{raid.NodeInfo{Name: "-x", ProposedZone: "attic"}, id + " proposes zone attic; accept with: sudo raidctl node zone " + id + " attic"},
		{raid.NodeInfo{Name: "pi-3", ProposedZone: "$(id)"}, `pi-3 proposes zone "$(id)"; accept with sudo raidctl node zone pi-3 and its name in quotes`},
		{raid.NodeInfo{Name: "pi-3", TotalBytes: 63_800_000_000, ClaimedBytes: 256_000_000_000},
			"pi-3 shows a disk of 256.0 GB, and 63.8 GB of it are used: a larger disk counts once it is accepted. If you put one in: sudo raidctl node accept pi-3"},
	} {
		c.node.ID = id
		if got := proposals([]raid.NodeInfo{c.node, {ID: "other", Name: "pi-9"}}); len(got) != 1 || got[0] != c.want {
			t.Errorf("%q", got)
		}
	}
	twins := proposals([]raid.NodeInfo{{ID: id, Name: "pi", ProposedZone: "x"}, {ID: "other", Name: "pi"}})
	if len(twins) != 1 || !strings.Contains(twins[0], "node zone "+id+" x") {
		t.Errorf("of two of one name: %q", twins)
	}
}

// A node that says that it stands alone in a zone would be given a copy of every half.
func TestANodesOwnZoneChangesNothingUntilItIsAccepted(t *testing.T) {
	a := newArray(t, 0, nil)
	for i := range 5 {
		a.addNode(map[bool]string{true: "liar's own"}[i == 0])
	}
	a.awaitUp(5)
	const files = 60
	for range files {
		a.upload(randomBytes(4000))
	}
	liar := nodeIDOf(t, a.nodes[0])
	if n := len(a.nodes[0].chunks()); n == 0 || n > files*5/4 {
		t.Errorf("it has %d of %d chunks, in an array of five", n, 4*files)
	}
	var s struct{ Proposals []string }
	a.getJSON("/status", &s)
	if len(s.Proposals) != 1 || !strings.Contains(s.Proposals[0], `proposes zone "liar's own"`) {
		t.Errorf("proposals: %q", s.Proposals)
	}
	path := "/nodes/" + string(liar)
	if status, text := a.root("PATCH", path, `{"zone": "liar's own"}`); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	before := len(a.nodes[0].chunks())
	for range 10 {
		a.upload(randomBytes(4000))
	}
	if n := len(a.nodes[0].chunks()) - before; n != 20 {
		t.Errorf("alone in its zone by a person's word it has %d copies of 20 halves", n)
	}
	a.stopController()
	zones := ""
	for _, n := range a.remembered() {
		zones += fmt.Sprintf("%q ", n.Zone)
	}
	if strings.Count(zones, `"liar's own"`) != 1 || strings.Count(zones, `""`) != 4 {
		t.Errorf("zones remembered: %s", zones)
	}
	a.startController()
	a.awaitUp(5)
	a.getJSON("/status", &s)
	if len(s.Proposals) != 0 {
		t.Errorf("proposals of what is accepted: %q", s.Proposals)
	}
}
