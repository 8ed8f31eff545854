//go:build system

package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/test/cluster"
)

// lab holds what the peers written from the assignment need. That is a Python that has pyzmq and
// Protobuf, and the code that protoc makes of the assignment's messages.
type lab struct {
	python  string
	scripts string // test/lab
	modules string // messages_pb2.py
}

func newLab(t *testing.T) *lab {
	t.Helper()
	root, err := cluster.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{scripts: filepath.Join(root, "test", "lab"), modules: t.TempDir()}
	for _, python := range []string{"/usr/bin/python3", "python3"} {
		if exec.CommandContext(t.Context(), python, "-c", "import zmq, google.protobuf").Run() == nil {
			l.python = python
			break
		}
	}
	if l.python == "" {
		t.Fatal("no python3 with pyzmq and Protobuf: test/setup installs python3-zmq and python3-protobuf on Debian")
	}
	protoc := exec.CommandContext(t.Context(), "protoc", "-I", l.scripts, "--python_out="+l.modules, "messages.proto")
	if out, err := protoc.CombinedOutput(); err != nil {
		t.Fatalf("make Python code of the assignment's messages: %v\n%s", err, out)
	}
	return l
}

// script prepares one of the lab's programs on the array's ports.
func (l *lab) script(a *array, name, script string, args ...string) *cluster.Daemon {
	args = append([]string{filepath.Join(l.scripts, script)}, args...)
	args = append(args, "--store", strconv.Itoa(a.Ports.Store),
		"--response", strconv.Itoa(a.Ports.Response), "--request", strconv.Itoa(a.Ports.Request))
	d := cluster.NewDaemon(cluster.DaemonConfig{
		Name: name, Path: l.python, Args: args, Log: filepath.Join(a.Dir(), "logs", name+".log"),
		Env: []string{"PYTHONPATH=" + l.modules, "PYTHONDONTWRITEBYTECODE=1"},
	})
	a.t.Cleanup(func() {
		if err := d.Kill(); err != nil {
			a.t.Error(err)
		}
		if a.t.Failed() {
			a.t.Logf("the end of %s's log:\n%s", name, d.LogTail(20))
		}
	})
	return d
}

// nodes starts n storage nodes of the lab and waits until the array has them.
func (l *lab) nodes(a *array, n int, args ...string) []*labNode {
	a.t.Helper()
	var nodes []*labNode
	for i := range n {
		node := &labNode{folder: filepath.Join(a.Dir(), fmt.Sprintf("lab%d", i+1))}
		node.Daemon = l.script(a, fmt.Sprintf("lab%d", i+1), "storage_node.py",
			append([]string{node.folder, "--host", "127.0.0.1"}, args...)...)
		a.must(node.Start())
		nodes = append(nodes, node)
	}
	return nodes
}

// labNode is a running storage_node.py.
type labNode struct {
	*cluster.Daemon
	folder string
}

// chunks are the names in the node's folder.
func (n *labNode) chunks() map[string]bool {
	names := map[string]bool{}
	entries, err := os.ReadDir(n.folder)
	if err != nil {
		return names // it has not made its folder yet
	}
	for _, e := range entries {
		names[e.Name()] = true
	}
	return names
}

// waitForLab waits until so many lab nodes are up.
func (a *array) waitForLab(n int) {
	a.t.Helper()
	a.eventually(fmt.Sprintf("%d lab nodes are up", n), settled, func() error {
		nodes, err := a.API.Nodes(a.t.Context())
		up := 0
		for _, node := range nodes {
			if node.Kind == "lab" && node.State == "up" {
				up++
			}
		}
		if err == nil && up != n {
			err = fmt.Errorf("%d are", up)
		}
		return err
	})
}

// spread maps each chunk of a file to the lab nodes that have it.
func (a *array) spread(id int64, nodes []*labNode) map[string][]string {
	a.t.Helper()
	info, err := a.API.Info(a.t.Context(), id)
	a.must(err)
	where := map[string][]string{}
	for _, name := range append(info.Part1, info.Part2...) {
		where[name] = nil
		for _, n := range nodes {
			if n.chunks()[name] {
				where[name] = append(where[name], n.Name())
			}
		}
	}
	return where
}

// fourOnFour checks that four chunks are on four different lab nodes.
func fourOnFour(t *testing.T, where map[string][]string) {
	t.Helper()
	nodes := map[string]bool{}
	for _, on := range where {
		if len(on) == 1 {
			nodes[on[0]] = true
		}
	}
	if len(where) != 4 || len(nodes) != 4 {
		var lines []string
		for name, on := range where {
			lines = append(lines, fmt.Sprintf("%s: %v", name, on))
		}
		t.Errorf("want four chunks on four lab nodes, have:\n%s", strings.Join(lines, "\n"))
	}
}

// errNotAll says that some node has not got a chunk yet.
var errNotAll = errors.New("not every node has got a chunk")
