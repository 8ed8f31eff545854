package e2e

import (
	"context"
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

// Of two copies one is always with the member that answers every read with a wrong
// byte, and says that each of its chunks is fine.
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
