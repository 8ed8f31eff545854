package e2e

import (
	"fmt"
	"regexp"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

const (
	mib = 1 << 20

	// longestStall is three times what a hung node may hold a request up by on a quiet machine.
	// These tests share two cores with others.
	longestStall = 9 * time.Second
	// settled bounds the time that an array takes to repair and clean up.
	settled = 30 * time.Second
)

// array is a running array and the test that it belongs to.
type array struct {
	*cluster.Cluster
	t *testing.T
}

// seeds gives every content of a test run a seed of its own.
var seeds atomic.Uint64

func content(size int64) cluster.Content { return cluster.Content{Seed: seeds.Add(1), Size: size} }

// start runs an array of four nodes unless the config says otherwise. It ends
// with the test.
func start(t *testing.T, cfg cluster.Config) *array {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.Bin == "" {
		cfg.Bin = programs.plain
	}
	c, err := cluster.Start(t.Context(), cfg)
	if err != nil {
		t.Fatalf("start array: %v", err)
	}
	a := &array{Cluster: c, t: t}
	t.Cleanup(a.end)
	return a
}

// crashes matches what a Go program prints when it dies or races.
var crashes = regexp.MustCompile(`(?m)^(panic: .*|fatal error: .*|WARNING: DATA RACE)$`)

func (a *array) end() {
	if err := a.Close(); err != nil {
		a.t.Errorf("end array: %v", err)
	}
	for _, d := range a.Daemons() {
		if found := crashes.FindString(d.LogText()); found != "" {
			a.t.Errorf("%s: %s\n%s", d.Name(), found, d.LogTail(80))
		} else if a.t.Failed() {
			a.t.Logf("the end of %s's log:\n%s", d.Name(), d.LogTail(40))
		}
	}
}

func (a *array) upload(c cluster.Content) cluster.Created {
	a.t.Helper()
	created, err := a.API.Upload(a.t.Context(), fmt.Sprintf("file-%d", c.Seed), c.Reader(), c.Size)
	if err != nil {
		a.t.Fatalf("upload %d bytes: %v", c.Size, err)
	}
	return created
}

// check fails unless the file reads back as what was uploaded.
func (a *array) check(id int64, c cluster.Content) {
	a.t.Helper()
	if err := a.compare(id, c); err != nil {
		a.t.Fatal(err)
	}
}

func (a *array) compare(id int64, c cluster.Content) error {
	sum, size, err := a.API.Digest(a.t.Context(), id)
	if err != nil {
		return err
	}
	if want := c.SHA256(); sum != want || size != c.Size {
		return fmt.Errorf("file %d reads as %d bytes with SHA-256 %x, want %d with %x", id, size, sum, c.Size, want)
	}
	return nil
}

// must stops the test at an error of the test's own tools.
func (a *array) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// eventually waits until there is no error any more.
func (a *array) eventually(what string, limit time.Duration, try func() error) {
	a.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// files are all files that the array lists.
func (a *array) files() []cluster.File {
	a.t.Helper()
	files, err := a.API.Files(a.t.Context())
	a.must(err)
	return files
}

// becomesWhole waits until no file is degraded, each part lies on two nodes,
// and no disk holds a chunk that belongs to no file.
func (a *array) becomesWhole() {
	a.t.Helper()
	a.eventually("array becomes whole", settled, a.whole)
}

func (a *array) whole() error {
	files, err := a.API.Files(a.t.Context())
	if err != nil {
		return err
	}
	holders, err := a.Holders()
	if err != nil {
		return err
	}
	for _, f := range files {
		info, err := a.API.Info(a.t.Context(), f.ID)
		if err != nil {
			return err
		}
		if f.Degraded || info.Degraded {
			return fmt.Errorf("file %d is degraded", f.ID)
		}
		for _, names := range []cluster.Names{info.Part1, info.Part2} {
			if err := onTwoNodes(names, holders); err != nil {
				return fmt.Errorf("file %d: %w", f.ID, err)
			}
		}
	}
	if len(holders) > 0 {
		return fmt.Errorf("%d chunks on disk belong to no file, such as %v", len(holders), anyKey(holders))
	}
	return nil
}

// onTwoNodes checks the copies of one part of each stripe and takes them out
// of holders. The names of a stripe's copies follow one another.
func onTwoNodes(names cluster.Names, holders map[string][]int) error {
	if len(names) == 0 || len(names)%2 != 0 {
		return fmt.Errorf("%d chunk names for one part, want two for each stripe", len(names))
	}
	for i := 0; i < len(names); i += 2 {
		first, second := holders[names[i]], holders[names[i+1]]
		if len(first) != 1 || len(second) != 1 || first[0] == second[0] {
			return fmt.Errorf("the copies %s and %s are on nodes %v and %v, want one each on two nodes", names[i], names[i+1], first, second)
		}
		delete(holders, names[i])
		delete(holders, names[i+1])
	}
	return nil
}

func anyKey(m map[string][]int) string {
	for k := range m {
		return k
	}
	return ""
}
