package e2e

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
	"github.com/raidpi/raidpi/test/liar"
)

// A member that lists chunks without end, all of uploads that never were, costs the
// catalog nothing and the array's users nothing.
func TestAMemberThatMakesUpChunksWithoutEndFillsNoCatalog(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 2, Joined: true})
	l := a.liar()
	a.must(a.Controller.Terminate(settled)) // names of its first run are leftovers from now on
	a.must(a.Controller.Start())
	a.must(a.WaitUp(t.Context(), 2))
	var pages atomic.Int64
	l.OnHeartbeat(func(b *liar.Heartbeat) { b.Chunks, b.TotalBytes, b.Scanned = 1<<60, 1<<60, true })
	l.Answer(func(_ context.Context, req *liar.Asked, honest *liar.Answer) *liar.Answer {
		switch req.Op {
		case liar.List:
			pages.Add(1)
			honest.SetNames(liar.MadeUp(1, req.Request.GetList().GetAfter(), 400), true)
		case liar.Delete: // whatever it is told to delete, it lists more
		}
		return honest
	})
	a.must(l.Connect(t.Context()))
	a.must(a.WaitUp(t.Context(), 3))
	a.eventually("the controller asks for a listing", settled, func() error {
		if pages.Load() == 0 {
			return os.ErrNotExist
		}
		return nil
	})
	time.Sleep(longEnough)
	if n := pages.Load(); n > 100 {
		t.Errorf("%d pages were asked for in %v", n, longEnough)
	}
	for _, name := range []string{"catalog.db", "catalog.db-wal"} {
		if st, err := os.Stat(filepath.Join(a.Dir(), "controller", name)); err == nil && st.Size() > 4*mib {
			t.Errorf("%s has grown to %d bytes", name, st.Size())
		}
	}
	c := content(100_000)
	f := a.upload(c)
	a.check(f.ID, c)
	a.must(a.API.Delete(t.Context(), f.ID))
}
