//go:build system

package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/raidpi/raidpi/test/cluster"
)

// labController starts our nodes alone and the lab's controller in front of
// them. Both speak the assignment's REST calls, so the array's checks work.
func labController(t *testing.T, l *lab, nodes int, args ...string) (*array, *cluster.Daemon) {
	t.Helper()
	a := start(t, cluster.Config{Nodes: nodes, NoController: true, Bin: programs.race})
	rest := l.script(a, "rest_server", "rest_server.py",
		append([]string{filepath.Join(a.Dir(), "files.db"), "--http", strconv.Itoa(a.Ports.HTTP)}, args...)...)
	a.must(rest.Start())
	return a, rest
}

// comesBack uploads and reads back. A lab controller hands out its four chunks
// to whoever is connected, and it takes a moment until all nodes are.
func (a *array) comesBack(size int64) int64 {
	a.t.Helper()
	c := content(size)
	created, err := a.API.UploadJSON(a.t.Context(), "lab", "text/plain", c.Bytes())
	a.must(err)
	for range 4 {
		a.check(created.ID, c)
	}
	return created.ID
}

// labChunks counts the files below lab/ in a node's chunk directory.
func (a *array) labChunks(i int) map[string]bool {
	a.t.Helper()
	names := map[string]bool{}
	a.must(filepath.Walk(filepath.Join(a.ChunkDir(i), "lab"), func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			names[info.Name()] = true
		}
		if os.IsNotExist(err) {
			return nil
		}
		return err
	}))
	return names
}

// becomesBalanced waits until the lab controller has all our nodes: its PUSH
// then gives each of them one chunk of every file.
func (a *array) becomesBalanced(rest *cluster.Daemon) {
	a.t.Helper()
	a.eventually("the lab controller has all four nodes", settled, func() error {
		_, err := a.API.Files(a.t.Context())
		if err == nil {
			_, err = a.API.UploadJSON(a.t.Context(), "probe", "text/plain", []byte("probe"))
		}
		if err == nil {
			for i := range a.Nodes {
				if len(a.labChunks(i)) == 0 {
					return errNotAll
				}
			}
		}
		return err
	})
}

func TestOurNodesServeLabController(t *testing.T) {
	t.Parallel()
	a, rest := labController(t, newLab(t), 4, "--heartbeat", "20")
	a.becomesBalanced(rest)
	for _, size := range []int64{0, 1, 100_001, 5 * mib} {
		id := a.comesBack(size)
		info, err := a.API.Info(t.Context(), id)
		a.must(err)
		on := map[int]bool{}
		for _, name := range append(info.Part1, info.Part2...) {
			for i := range a.Nodes {
				if a.labChunks(i)[name] {
					on[i] = true
				}
			}
		}
		if len(on) != 4 {
			t.Errorf("the four chunks of a file of %d bytes are on %d of our nodes, want 4", size, len(on))
		}
	}

	// Both sides may restart at any time.
	a.must(rest.Kill())
	a.must(rest.Start())
	a.becomesBalanced(rest)
	for _, n := range a.Nodes {
		a.must(n.Kill())
		a.must(n.Start())
	}
	a.eventually("a file comes back after the nodes restarted", settled, func() error {
		c := content(70_000)
		created, err := a.API.UploadJSON(t.Context(), "after", "text/plain", c.Bytes())
		if err != nil {
			return err
		}
		return a.compare(created.ID, c)
	})
}

func TestOurNodesAndLabNodesServeLabController(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a, rest := labController(t, l, 2)
	l.nodes(a, 2)
	a.becomesBalanced(rest)
	for range 10 {
		a.comesBack(30_000)
	}
}
