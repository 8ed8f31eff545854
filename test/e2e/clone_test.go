package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/raidpi/raidpi/test/cluster"
)

var cloneWords = regexp.MustCompile(`(?i)clone`)

// cloneOf starts a second daemon from a copy of a node's folder, as someone
// does who copies an SD card.
func (a *array) cloneOf(i int) *cluster.Daemon {
	a.t.Helper()
	dir := a.t.TempDir()
	a.must(os.CopyFS(filepath.Join(dir, "state"), os.DirFS(a.StateDir(i))))
	original, err := os.ReadFile(filepath.Join(a.Dir(), "conf", a.Nodes[i].Name()+".toml"))
	a.must(err)
	conf := filepath.Join(dir, "clone.toml")
	text := strings.ReplaceAll(string(original), a.StateDir(i), filepath.Join(dir, "state"))
	a.must(os.WriteFile(conf, []byte(text), 0o644))
	clone := cluster.NewDaemon(cluster.DaemonConfig{
		Name: "clone", Path: filepath.Join(programs.plain, "raid-node"), Args: []string{"--config", conf},
		Log: filepath.Join(dir, "clone.log"),
	})
	a.must(clone.Start())
	a.t.Cleanup(func() { a.must(clone.Kill()) })
	return clone
}
