package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

// rolledBack is an array whose catalog was put back to an older copy. old is in the copy. lost are
// files that were uploaded after it was made.
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
	r.putBack(backup)
	return r
}

// putBack replaces the stopped controller's state directory by a copy of it.
func (r *rolledBack) putBack(backup string) {
	r.t.Helper()
	state := filepath.Join(r.Dir(), "controller")
	r.must(os.RemoveAll(state))
	r.must(os.CopyFS(state, os.DirFS(backup)))
	keys, err := filepath.Glob(filepath.Join(state, "identity", "*"))
	r.must(err)
	for _, key := range keys {
		r.must(os.Chmod(key, 0o600)) // CopyFS keeps no modes
	}
	r.chunks, err = r.Holders()
	r.must(err)
}

// rollBackTo makes an array whose catalog is copied while it runs and is idle. It has change done
// to the array, cuts all processes off, puts the copy back and starts all again.
func rollBackTo(t *testing.T, change func(r *rolledBack)) *rolledBack {
	t.Helper()
	a := start(t, cluster.Config{Nodes: 4, Bin: programs.race})
	r := &rolledBack{array: a, oldData: content(300_000)}
	r.old = a.upload(r.oldData).ID
	for range 4 {
		r.lost = append(r.lost, a.upload(content(200_000)).ID)
	}
	backup := filepath.Join(a.Dir(), "backup")
	a.must(os.CopyFS(backup, os.DirFS(filepath.Join(a.Dir(), "controller"))))
	change(r)
	for _, d := range a.Daemons() {
		a.must(d.Kill())
	}
	r.putBack(backup)
	for _, d := range a.Daemons() {
		a.must(d.Start())
	}
	return r
}

// deleteLost deletes the files, and waits until their chunks are gone from so many nodes.
func (r *rolledBack) deleteLost(nodes int) {
	for _, id := range r.lost {
		r.must(r.API.Delete(r.t.Context(), id))
	}
	r.eventually("the chunks of the deleted files are gone", settled, func() error {
		for i := range nodes {
			chunks, err := r.Chunks(i)
			if err != nil {
				return err
			}
			for name := range chunks {
				if !r.isOld(name) {
					return fmt.Errorf("node%d has %s", i+1, name)
				}
			}
		}
		return nil
	})
}

// isOld reports whether a chunk is one of the file that is in the copy and stays.
func (r *rolledBack) isOld(name string) bool {
	r.t.Helper()
	f, err := r.API.Info(r.t.Context(), r.old)
	r.must(err)
	return slices.Contains(f.Part1, name) || slices.Contains(f.Part2, name)
}

// commit is the catalog's last commit number.
func (a *array) commit() uint64 {
	a.t.Helper()
	var status struct{ Commit uint64 }
	a.must(a.Root(a.t.Context(), http.MethodGet, "/status", "", &status))
	return status.Commit
}

// isOnDisk waits until a node's disk has the catalog's last commit number.
func (r *rolledBack) isOnDisk(node int) {
	r.t.Helper()
	want := r.commit()
	r.eventually("the commit number reaches a disk", settled, func() error {
		text, err := os.ReadFile(filepath.Join(r.ChunkDir(node), "raid-node.commit"))
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(string(text), " ")
		if got, err := strconv.ParseUint(first, 10, 64); err != nil || got < want {
			return fmt.Errorf("node%d has %q, the catalog %d: %v", node+1, text, want, err)
		}
		return nil
	})
}

// Only deletes followed the copy, and no chunk remembers them. All power is gone in the
// instant in which the last chunk is.
func TestOlderCatalogIsNoticedWhenOnlyDeletesFollowed(t *testing.T) {
	t.Parallel()
	r := rollBackTo(t, func(r *rolledBack) { r.deleteLost(4) })
	r.isNoticed()
	time.Sleep(longEnough)
	r.lostNothing()
}

// What a node was not there for, the others have heard.
func TestOlderCatalogIsNoticedWhenANodeWasAwayForTheDeletes(t *testing.T) {
	t.Parallel()
	r := rollBackTo(t, func(r *rolledBack) {
		r.must(r.Nodes[3].Kill())
		r.deleteLost(3)
	})
	r.lost = nil // the beginning of some may be had from that node
	r.isNoticed()
	time.Sleep(longEnough)
	r.lostNothing()
}

// Nothing reached a node but the controller's heartbeats.
func TestOlderCatalogIsNoticedWhenOnlyATokenWasMade(t *testing.T) {
	t.Parallel()
	r := rollBackTo(t, func(r *rolledBack) {
		r.must(r.Root(r.t.Context(), http.MethodPost, "/access-tokens", `{"name": "laptop", "scope": "read"}`, nil))
		r.isOnDisk(2)
	})
	r.lost = nil // no file is missing from the copy
	r.isNoticed()
	time.Sleep(longEnough)
	r.lostNothing()
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

// Each start of a controller makes a new run and a transaction of its own. Neither may carry an old
// catalog past what the nodes have seen.
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
