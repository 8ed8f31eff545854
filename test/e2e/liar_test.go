package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/raidpi/raidpi/test/cluster"
	"github.com/raidpi/raidpi/test/liar"
)

// liar has a member join that says what it likes. It is not connected yet, and ends
// with the test.
func (a *array) liar() *liar.Liar {
	a.t.Helper()
	token, err := a.Token(a.t.Context(), 1)
	a.must(err)
	l, err := liar.Join(a.t.Context(), liar.Config{Dir: a.t.TempDir(), HTTPPort: a.Ports.HTTP, Token: token})
	a.must(err)
	a.t.Cleanup(l.Close)
	return l
}

// One of two copies is always with the member that answers every read with a wrong byte. It says
// that each of its chunks is fine.
func TestAMemberThatAnswersWithWrongBytesIsNotBelieved(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 1, Joined: true})
	l := a.liar()
	var lies atomic.Int64
	l.Answer(func(_ context.Context, req *liar.Asked, honest *liar.Answer) *liar.Answer {
		if req.Op == liar.Get && len(honest.Payload) > 0 {
			honest.Payload[0] ^= 1
			lies.Add(1)
		}
		return honest
	})
	a.must(l.Connect(t.Context()))
	a.must(a.WaitUp(t.Context(), 2))
	c := content(300_000)
	f := a.upload(c)
	if f.Degraded || len(l.Chunks()) != 2 {
		t.Fatalf("degraded: %v; the liar has the chunks %q, want a copy of both halves", f.Degraded, l.Chunks())
	}
	for n := 0; lies.Load() == 0; n++ {
		if n == 100 {
			t.Fatal("no read asked the liar")
		}
		a.check(f.ID, c)
	}
}

// impossible is a commit number that no controller can have come to.
const impossible = 9_000_000_000_000_000_000

// One member's heartbeats tell of a newer catalog: the array goes on, the member is
// shown with what it says, and its removal ends it.
func TestOneMemberThatTellsOfANewerCatalogStopsNobody(t *testing.T) {
	for name, lie := range map[string]func(*liar.Heartbeat){
		"a number that can't be": func(b *liar.Heartbeat) { b.HighestCommit, b.FoundCommit = impossible, impossible },
		"the next number":        func(b *liar.Heartbeat) { b.HighestCommit += 1000 },
		"a made-up proof": func(b *liar.Heartbeat) {
			b.ProvenCommit, b.ProvenMac = b.HighestCommit+1000, []byte("0123456789abcdef")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := start(t, cluster.Config{Nodes: 3, Joined: true})
			first := a.upload(content(200_000))
			l := a.liar()
			l.OnHeartbeat(lie)
			a.must(l.Connect(t.Context()))
			a.must(a.WaitUp(t.Context(), 4))
			a.eventually("the member is shown with what it says", settled, func() error { return a.shownWithClaim(l.ID()) })
			a.must(a.API.Ready(t.Context()))
			c := content(200_000)
			a.check(a.upload(c).ID, c)
			a.must(a.API.Delete(t.Context(), first.ID))

			a.removeNode(l.ID())
			a.eventually("its word is gone with it", settled, func() error {
				if a.shownWithClaim(l.ID()) == nil {
					return errors.New("it is still shown")
				}
				return a.API.Ready(t.Context())
			})
			a.upload(content(200_000))
		})
	}
}

// removeNode takes a node out of the array, whatever is on it.
func (a *array) removeNode(id string) {
	a.t.Helper()
	a.must(a.Root(a.t.Context(), http.MethodDelete, "/nodes/"+id+"?force=1", "", nil))
}

// shownWithClaim fails unless /nodes and /status both tell of a node's claim.
func (a *array) shownWithClaim(id string) error {
	var nodes struct {
		Nodes []struct{ ID, Problem string }
	}
	var status struct {
		HealthText string `json:"health_text"`
	}
	if err := errors.Join(a.Root(a.t.Context(), http.MethodGet, "/nodes", "", &nodes), a.Root(a.t.Context(), http.MethodGet, "/status", "", &status)); err != nil {
		return err
	}
	const says = "has seen a newer catalog (number "
	for _, n := range nodes.Nodes {
		if n.ID == id && strings.Contains(n.Problem, says) && strings.Contains(status.HealthText, "liar "+says) {
			return nil
		}
	}
	return fmt.Errorf("nodes: %+v; status: %q", nodes.Nodes, status.HealthText)
}

// What one member does all the time costs the controller a few commits and a few lines of its log a
// minute. Its last word is the one that counts.
func TestAMemberThatFloodsWearsNoCardAndFillsNoLog(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 2, Joined: true})
	l := a.liar()
	a.must(l.Connect(t.Context()))
	a.must(a.WaitUp(t.Context(), 3))
	a.upload(content(200_000))
	before, lines := a.commit(), strings.Count(a.Controller.LogText(), "\n")
	var count atomic.Uint64
	l.OnHeartbeat(func(b *liar.Heartbeat) {
		flips := count.Add(1)
		b.Zone, b.Version = fmt.Sprint("zone-", flips%7), fmt.Sprint("v", flips)
		b.ReadOnly, b.Draining, b.HighestCommit = flips%2 == 0, flips%3 == 0, impossible+flips
	})
	for range 300 {
		a.must(l.SendHeartbeat(t.Context()))
	}
	l.OnHeartbeat(nil)
	again := func() {
		a.eventually("it connects again", settled, func() error { return l.Connect(t.Context()) })
	}
	for range 40 {
		again()
	}
	renewed := 0
	for range 40 {
		if l.RenewKey(t.Context()) == nil {
			renewed++
		}
		again() // so that the new key is seen
	}
	if renewed == 0 || renewed > 10 {
		t.Errorf("%d of 40 new keys were certified, want a few", renewed)
	}
	a.must(a.WaitUp(t.Context(), 3))
	commits, logged := a.commit()-before, strings.Count(a.Controller.LogText(), "\n")-lines
	t.Logf("%d commits, %d lines, %d keys", commits, logged, renewed)
	if commits > 25 {
		t.Errorf("%d commits", commits)
	}
	if logged > 250 {
		t.Errorf("%d lines in the log", logged)
	}
	c := content(200_000)
	a.check(a.upload(c).ID, c)
}
