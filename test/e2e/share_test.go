package e2e

import (
	"testing"

	"github.com/raidpi/raidpi/test/cluster"
	"github.com/raidpi/raidpi/test/liar"
)

// A member that says that it stands alone in a zone, and has room for everything, is
// given no more than others.
func TestAMemberThatPraisesItselfGetsNoMoreThanItsShare(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 4, Joined: true})
	l := a.liar()
	l.OnHeartbeat(func(b *liar.Heartbeat) { b.TotalBytes, b.FreeBytes, b.Zone = 1e18, 1e18, "its own" })
	a.must(l.Connect(t.Context()))
	a.must(a.WaitUp(t.Context(), 5))
	const files = 50
	for range files {
		a.upload(content(10_000))
	}
	if n := len(l.Chunks()); n == 0 || n > files*5/4 {
		t.Errorf("the liar has %d of %d chunks; one of five has no more than a quarter", n, 4*files)
	}
}
