package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

const (
	nodes = 4

	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// scale says how much is done.
type scale struct {
	rounds int
	loads  []load
	heal   []load
	held   int           // chunks of a node that is compared
	many   []int         // chunks of a generated catalog
	idle   time.Duration // for which nothing is asked
	big    int64         // bytes of the one big upload
	hung   time.Duration // for how long a node hangs
}

var thorough = scale{
	rounds: 3,
	loads: []load{
		{name: "64MiB", size: 64 * mib, clients: 4, count: 8},
		{name: "1MiB", size: mib, clients: 8, count: 400},
		{name: "4KiB", size: 4 * kib, clients: 16, count: 3000},
	},
	heal: []load{
		{name: "64MiB", size: 64 * mib, clients: 4, count: 16},
		{name: "1MiB", size: mib, clients: 8, count: 800},
		{name: "4KiB", size: 4 * kib, clients: 16, count: 4000},
	},
	held: reconcileChunks, many: []int{1_000_000, 10_000_000}, idle: time.Minute,
	big: gib, hung: 20 * time.Second,
}

var short = scale{
	rounds: 1,
	loads: []load{
		{name: "64MiB", size: 64 * mib, clients: 4, count: 6},
		{name: "1MiB", size: mib, clients: 8, count: 100},
		{name: "4KiB", size: 4 * kib, clients: 16, count: 800},
	},
	heal: []load{
		{name: "64MiB", size: 64 * mib, clients: 4, count: 8},
		{name: "1MiB", size: mib, clients: 8, count: 400},
		{name: "4KiB", size: 4 * kib, clients: 16, count: 1200},
	},
	held: 50_000, many: []int{50_000, 200_000}, idle: 10 * time.Second,
	big: 256 * mib, hung: 6 * time.Second,
}

// suite is one run of the benchmark.
type suite struct {
	bin, dir string
	pick     *regexp.Regexp
	progress io.Writer
	scale    scale

	table  table
	array  *cluster.Cluster
	client *client

	mortals int // arrays that were made to lose a node
}

func (s *suite) run(ctx context.Context) (err error) {
	if err := s.claimDir(); err != nil {
		return err
	}
	s.array, err = cluster.Start(ctx, cluster.Config{Dir: filepath.Join(s.dir, "array"), Bin: s.bin, Nodes: nodes})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.array.Close(), os.RemoveAll(s.dir)) }()
	s.client = newClient(s.array.API.URL)

	for _, part := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"memory", s.idleMemory},
		{"64MiB|1MiB|4KiB", s.loads},
		{"memory", s.peakMemory},
		{"tls", s.tls},
		{"stall", s.stall},
		{"heal-large", s.heal(0)},
		{"heal-medium", s.heal(1)},
		{"heal-small", s.heal(2)},
		{"heal-beside", s.healBeside},
		{"scrub", s.scrubs},
		{"reconcile", s.reconcile},
		{"many", s.manyChunks},
		{"idle", s.idle},
		{"start", s.startToReady},
		{"size", s.programSizes},
	} {
		if part.name != "64MiB|1MiB|4KiB" && !s.pick.MatchString(part.name) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := part.do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// markerFile tells a folder of ours from one that must not be emptied.
const markerFile = "made-by-raidpi-bench"

// claimDir empties the folder, unless it holds what no benchmark made.
func (s *suite) claimDir() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("look into %s: %w", s.dir, err)
	}
	if len(entries) > 0 {
		if _, err := os.Stat(filepath.Join(s.dir, markerFile)); err != nil {
			return fmt.Errorf("%s holds files that no benchmark made: move them away or choose another folder with -dir", s.dir)
		}
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("empty %s: %w", s.dir, err)
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", s.dir, err)
	}
	return os.WriteFile(filepath.Join(s.dir, markerFile), nil, 0o644)
}

func (s *suite) say(format string, args ...any) { fmt.Fprintf(s.progress, format+"\n", args...) }

// quiet waits until the array has removed everything and the disk has caught up. So one measurement
// does not pay for another.
func (s *suite) quiet(ctx context.Context) error {
	err := s.array.Wait(ctx, "deleted chunks to go", func(context.Context) bool {
		holders, err := s.array.Holders()
		return err == nil && len(holders) == 0
	})
	syscall.Sync()
	time.Sleep(200 * time.Millisecond)
	return err
}

// cpu is the time that all daemons have used so far.
func (s *suite) cpu() (time.Duration, error) {
	var sum time.Duration
	for _, d := range s.array.Daemons() {
		u, err := d.Usage()
		if err != nil {
			return 0, err
		}
		sum += u.CPU
	}
	return sum, nil
}
