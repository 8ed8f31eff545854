package membership

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
)

// genuine is the proof that claimsConfig's array makes.
var genuine = raid.CommitMAC{1, 2, 3}

// claimsConfig is an array of five nodes whose catalog came to 100.
func claimsConfig() Config {
	cfg := config()
	cfg.Known = nil
	for i := range 5 {
		cfg.Known = append(cfg.Known, raid.NodeRecord{ID: raid.NodeID(fmt.Sprint("n", i))})
	}
	cfg.Genuine = func(c raid.Commit) bool { return c.MAC == genuine }
	cfg.Possible = func(n uint64) bool { return n < 1_000_000 }
	return cfg
}

func (m *Members) hear(id raid.NodeID, b wire.Heartbeat) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.apply(m.native[id], b)
}

func TestOneNodesWordDoesNotStopTheArray(t *testing.T) {
	for name, b := range map[string]wire.Heartbeat{
		"a number that can't be":                  {HighestCommit: 9_000_000_000_000_000_000},
		"a number that can't be, on its disk":     {FoundCommit: 1<<64 - 1},
		"a number without a proof":                {HighestCommit: 101},
		"a number without a proof, on its disk":   {FoundCommit: 101},
		"a number with a made-up proof":           {Proven: raid.Commit{Number: 101, MAC: raid.CommitMAC{9}}},
		"one with a made-up proof, on its disk":   {FoundProven: raid.Commit{Number: 101, MAC: raid.CommitMAC{9}}},
		"a number without a proof, called proven": {Proven: raid.Commit{Number: 101}},
	} {
		m := New(claimsConfig())
		m.hear("n1", b)
		if err := m.StaleCatalog(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		claims := m.Claims()
		if len(claims) != 1 || claims[0].Node != "n1" || claims[0].Weight == Proven || claims[0].Commit < 101 {
			t.Errorf("%s: shown as %+v", name, claims)
		}
		for _, n := range m.Nodes() {
			if want := n.ID == "n1"; strings.HasPrefix(n.Problem, "has seen a newer catalog (number ") != want {
				t.Errorf("%s: %s is shown with %q", name, n.ID, n.Problem)
			}
		}
		m.Remove("n1")
		if m.StaleCatalog() != nil || len(m.Claims()) != 0 {
			t.Errorf("%s: after its removal: %v, %+v", name, m.StaleCatalog(), m.Claims())
		}
	}
}

// An old genuine number is what each node has; telling it again is no claim.
func TestAnOldGenuineNumberIsHarmless(t *testing.T) {
	m := New(claimsConfig())
	old := raid.Commit{Number: 40, MAC: genuine}
	m.hear("n1", wire.Heartbeat{HighestCommit: 40, FoundCommit: 40, Proven: old, FoundProven: old})
	if m.StaleCatalog() != nil || len(m.Claims()) != 0 {
		t.Errorf("%v, %+v", m.StaleCatalog(), m.Claims())
	}
}

func TestAProvenNumberStopsTheArrayUntilItsNodesAreRemoved(t *testing.T) {
	for name, b := range map[string]wire.Heartbeat{
		"heard of":      {Proven: raid.Commit{Number: 101, MAC: genuine}},
		"found on disk": {FoundProven: raid.Commit{Number: 101, MAC: genuine}},
	} {
		m := New(claimsConfig())
		m.hear("n1", b)
		m.hear("n1", wire.Heartbeat{}) // later words don't take it back
		m.hear("n2", b)
		changed := m.Changed()
		for _, id := range []raid.NodeID{"n1", "n2"} {
			if err := m.StaleCatalog(); !errors.Is(err, raid.ErrCatalogBehind) {
				t.Errorf("%s: before %s is removed: %v", name, id, err)
			}
			m.Remove(id)
		}
		if err := m.StaleCatalog(); err != nil {
			t.Errorf("%s: after the removal of all that claim it: %v", name, err)
		}
		select {
		case <-changed:
		default:
			t.Errorf("%s: nobody who waits is woken", name)
		}
	}
}

// Nodes of the version before prove nothing. Two of them are believed, and one that is
// all there is.
func TestTwoNodesWithoutProofsAreBelieved(t *testing.T) {
	m := New(claimsConfig())
	m.hear("n1", wire.Heartbeat{HighestCommit: 101})
	m.hear("n2", wire.Heartbeat{FoundCommit: 150})
	if err := m.StaleCatalog(); !errors.Is(err, raid.ErrCatalogBehind) {
		t.Errorf("two: %v", err)
	}
	m.Remove("n2")
	if err := m.StaleCatalog(); err != nil {
		t.Errorf("one of them was removed: %v", err)
	}
	cfg := claimsConfig()
	cfg.Known = cfg.Known[:1]
	m = New(cfg)
	m.hear("n0", wire.Heartbeat{HighestCommit: 101})
	if err := m.StaleCatalog(); !errors.Is(err, raid.ErrCatalogBehind) {
		t.Errorf("the only one: %v", err)
	}
	m = New(claimsConfig())
	for i := range 5 {
		m.hear(raid.NodeID(fmt.Sprint("n", i)), wire.Heartbeat{HighestCommit: 9_000_000_000_000_000_000})
	}
	if err := m.StaleCatalog(); err != nil {
		t.Errorf("five of a number that can't be: %v", err)
	}
}

// What an old catalog says about the chunks of a node that may know better is not acted
// upon; what a made-up number can't make anybody believe keeps nothing from its node.
func TestNothingIsRemovedFromANodeThatMayKnowBetter(t *testing.T) {
	m := New(claimsConfig())
	m.hear("n1", wire.Heartbeat{HighestCommit: 101})
	m.hear("n2", wire.Heartbeat{HighestCommit: 9_000_000_000_000_000_000})
	for id, want := range map[raid.NodeID]bool{"n1": true, "n2": false, "n3": false} {
		p := &Peer{members: m, id: id}
		if got := p.ClaimsNewer(); got != want {
			t.Errorf("%s: %v", id, got)
		}
	}
}

// Whoever comes under ever new names leaves no more claims than are bounded.
func TestClaimsOfStrangersAreBounded(t *testing.T) {
	m := New(claimsConfig())
	for i := range 10 * maxClaims {
		id := raid.NodeID(fmt.Sprint("stranger", i))
		m.mu.Lock()
		m.claim(Claim{id, 101, Proven})
		m.mu.Unlock()
	}
	if n := len(m.Claims()); n != maxClaims {
		t.Errorf("%d claims", n)
	}
	m.hear("n1", wire.Heartbeat{HighestCommit: 101}) // a member's own is noted all the same
	if n := len(m.Claims()); n != maxClaims+1 {
		t.Errorf("%d claims with a member's", n)
	}
}
