package e2e

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

// diskState holds what changes when an array writes.
type diskState struct {
	written map[string]int64  // bytes, by daemon
	files   map[string]string // size and modification time, by path
}

func (a *array) diskState() diskState {
	a.t.Helper()
	s := diskState{written: map[string]int64{}, files: map[string]string{}}
	for _, d := range a.Daemons() {
		u, err := d.Usage()
		a.must(err)
		s.written[d.Name()] = u.Written
	}
	a.must(filepath.WalkDir(a.Dir(), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		s.files[path] = fmt.Sprintf("%d bytes of %v", info.Size(), info.ModTime())
		return nil
	}))
	return s
}

func TestIdleArrayWritesNothing(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 4, Joined: true})
	for _, size := range []int64{0, 1000, 6 * mib} {
		c := content(size)
		a.check(a.upload(c).ID, c)
	}
	a.must(a.API.Delete(t.Context(), a.upload(content(1000)).ID))
	a.becomesWhole()
	time.Sleep(8 * time.Second) // what was done may be written down a little later

	before := a.diskState()
	time.Sleep(12 * time.Second)
	after := a.diskState()
	for daemon, n := range after.written {
		if n != before.written[daemon] {
			t.Errorf("%s wrote %d bytes while idle", daemon, n-before.written[daemon])
		}
	}
	for path, state := range after.files {
		if was, ok := before.files[path]; !ok || was != state {
			t.Errorf("%s changed while idle: from %q to %q", path, was, state)
		}
	}
	for path := range before.files {
		if _, ok := after.files[path]; !ok {
			t.Errorf("%s went away while idle", path)
		}
	}
}
