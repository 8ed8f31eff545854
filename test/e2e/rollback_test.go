package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

// rolledBack is an array whose catalog was put back to an older copy: old is in
// the copy, lost are files that were uploaded after it was made.
type rolledBack struct {
	*array
	old     int64
	oldData cluster.Content
	lost    []int64
	chunks  map[string][]int // all chunks on disk when the catalog was put back
}

// rollBack makes one that lost so many uploads, and leaves the controller stopped.
func rollBack(t *testing.T, uploads int) *rolledBack {
	t.Helper()
	a := start(t, cluster.Config{Nodes: 4, Bin: programs.race})
	r := &rolledBack{array: a, oldData: content(300_000)}
	r.old = a.upload(r.oldData).ID

	state, backup := filepath.Join(a.Dir(), "controller"), filepath.Join(a.Dir(), "backup")
	a.must(a.Controller.Terminate(settled))
	a.must(os.CopyFS(backup, os.DirFS(state)))
	a.must(a.Controller.Start())
	a.must(a.WaitReady(t.Context(), 4))
	for range uploads {
		r.lost = append(r.lost, a.upload(content(200_000)).ID)
	}
	a.must(a.Controller.Terminate(settled))
	a.must(os.RemoveAll(state))
	a.must(os.CopyFS(state, os.DirFS(backup)))
	keys, err := filepath.Glob(filepath.Join(state, "identity", "*"))
	a.must(err)
	for _, key := range keys {
		a.must(os.Chmod(key, 0o600)) // CopyFS keeps no modes
	}
	r.chunks, err = a.Holders()
	a.must(err)
	return r
}

// isNoticed checks that the running controller knows that it is behind.
func (r *rolledBack) isNoticed() {
	t := r.t
	t.Helper()
	r.must(r.WaitUp(t.Context(), 4))
	_, err := r.API.Upload(t.Context(), "new", content(1000).Reader(), 1000)
	if cluster.Status(err) != 503 {
		t.Errorf("upload to an array whose catalog is behind: %v, want status 503", err)
	} else if len(err.Error()) < 60 {
		t.Errorf("the 503 does not say what happened and what to do: %v", err)
	}
	if err := r.API.Ready(t.Context()); err == nil {
		t.Error("a controller whose catalog is behind says that it is ready")
	}
	for _, id := range r.lost {
		if _, err := r.API.Download(t.Context(), id); cluster.Status(err) != 503 {
			t.Errorf("a file that the catalog may have forgotten: %v, want status 503", err)
		}
	}
	r.check(r.old, r.oldData)
}

// lostNothing checks that no chunk went away.
func (r *rolledBack) lostNothing() {
	r.t.Helper()
	now, err := r.Holders()
	r.must(err)
	for name, on := range r.chunks {
		if len(now[name]) != len(on) {
			r.t.Errorf("chunk %s was removed on the word of an old catalog", name)
		}
	}
}

// longEnough is for removals that must not happen to happen.
const longEnough = 3 * time.Second

func TestOlderCatalogIsNoticed(t *testing.T) {
	t.Parallel()
	r := rollBack(t, 5)
	r.must(r.Controller.Start())
	r.isNoticed()
	time.Sleep(longEnough)
	r.lostNothing()
}

func TestOlderCatalogIsNoticedByRestartedNodes(t *testing.T) {
	t.Parallel()
	r := rollBack(t, 5)
	for i, node := range r.Nodes {
		if i%2 == 0 { // with and without a last word
			r.must(node.Kill())
		} else {
			r.must(node.Terminate(settled))
		}
	}
	for _, d := range r.Daemons() {
		r.must(d.Start())
	}
	r.isNoticed()
	time.Sleep(longEnough)
	r.lostNothing()
}

// The smallest step back: one upload, and nothing but the chunks on the disks
// remembers it.
func TestOlderCatalogIsNoticedByASingleUpload(t *testing.T) {
	t.Parallel()
	r := rollBack(t, 1)
	for _, node := range r.Nodes {
		r.must(node.Kill())
	}
	for _, d := range r.Daemons() {
		r.must(d.Start())
	}
	r.isNoticed()
	r.must(r.Controller.Kill())
	r.must(r.Controller.Start())
	r.isNoticed()
	time.Sleep(longEnough)
	r.lostNothing()
}

// Each start of a controller makes a new run and a transaction of its own;
// neither may carry an old catalog past what the nodes have seen.
func TestOlderCatalogIsNoticedAfterManyRestarts(t *testing.T) {
	t.Parallel()
	r := rollBack(t, 5)
	for range 6 {
		r.must(r.Controller.Start())
		r.must(r.WaitUp(t.Context(), 4))
		r.must(r.Controller.Kill())
	}
	r.must(r.Controller.Start())
	r.isNoticed()
	time.Sleep(longEnough)
	r.lostNothing()
}
