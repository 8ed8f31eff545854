package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

// memory reads a figure of the controller and the largest one of the nodes, in MiB.
func (s *suite) memory(pick func(cluster.Usage) int64) (controller, node float64, err error) {
	for i, d := range s.array.Daemons() {
		u, err := d.Usage()
		if err != nil {
			return 0, 0, err
		}
		value := float64(pick(u)) / mib
		if i == 0 {
			controller = value
		} else {
			node = max(node, value)
		}
	}
	return controller, node, nil
}

func (s *suite) idleMemory(context.Context) error {
	time.Sleep(2 * time.Second) // let the start be over
	c, n, err := s.memory(func(u cluster.Usage) int64 { return u.RSS })
	if err != nil {
		return err
	}
	s.table.add(row{figure: "resident memory, controller, idle", value: c, unit: "MiB", target: 30, cost: true})
	s.table.add(row{figure: "resident memory, node, idle", value: n, unit: "MiB", target: 20, cost: true})
	return nil
}

// peakMemory runs the heaviest load and one big upload and download, and reads
// the highest resident memory meanwhile.
func (s *suite) peakMemory(ctx context.Context) error {
	for _, d := range s.array.Daemons() {
		if err := d.ResetPeak(); err != nil {
			return err
		}
	}
	heavy := s.scale.loads[0]
	stored, _, err := s.client.putAll(ctx, heavy)
	if err != nil {
		return err
	}
	if _, err := s.client.getAll(ctx, heavy, stored); err != nil {
		return err
	}
	if err := s.client.removeAll(ctx, heavy, stored); err != nil {
		return err
	}
	big := load{name: "big", size: s.scale.big, clients: 1, count: 1}
	stored, _, err = s.client.putAll(ctx, big)
	if err != nil {
		return err
	}
	if _, err := s.client.getAll(ctx, big, stored); err != nil {
		return err
	}
	c, n, err := s.memory(func(u cluster.Usage) int64 { return u.PeakRSS })
	if err != nil {
		return err
	}
	s.table.add(row{figure: "resident memory, controller, peak", value: c, unit: "MiB", target: 96, cost: true,
		note: fmt.Sprintf("PUT and GET 64 MiB ×4 and one of %d MiB", s.scale.big/mib)})
	s.table.add(row{figure: "resident memory, node, peak", value: n, unit: "MiB", target: 48, cost: true})
	return s.client.removeAll(ctx, big, stored)
}

// stall runs clients while one of four nodes hangs, and reads the longest
// request.
func (s *suite) stall(ctx context.Context) error {
	if err := s.quiet(ctx); err != nil {
		return err
	}
	l := load{name: "stall", size: mib, clients: 4, count: 40}
	stored, _, err := s.client.putAll(ctx, l)
	if err != nil {
		return err
	}
	more, stop := context.WithCancel(ctx)
	defer stop()
	puts, gets := &watch{}, &watch{}
	var added []*object
	var wg sync.WaitGroup
	wg.Go(func() {
		puts.loop(more, func(int) error {
			o, err := s.client.put(ctx, l.size)
			if err == nil {
				added = append(added, o)
			}
			return err
		})
	})
	buf := make([]byte, readBuffer)
	wg.Go(func() { gets.loop(more, func(i int) error { return s.client.get(ctx, stored[i%len(stored)], buf) }) })

	time.Sleep(2 * time.Second)
	if err := s.array.Nodes[1].Freeze(); err != nil {
		return err
	}
	time.Sleep(s.scale.hung)
	if err := s.array.Nodes[1].Thaw(); err != nil {
		return err
	}
	time.Sleep(2 * time.Second)
	stop()
	wg.Wait()
	for _, w := range []struct {
		what string
		*watch
	}{{"upload", puts}, {"download", gets}} {
		if w.failed != nil {
			return fmt.Errorf("%s while a node hangs: %w", w.what, w.failed)
		}
		s.table.add(row{figure: "longest " + w.what + " while a node hangs", value: w.longest.Seconds(), unit: "s", target: 3, cost: true,
			note: fmt.Sprintf("SIGSTOP for %v, %d requests of 1 MiB", s.scale.hung, w.count)})
	}
	if err := s.array.WaitReady(ctx, nodes); err != nil {
		return err
	}
	stored = append(stored, added...)
	return s.client.removeAll(ctx, load{clients: 4, count: len(stored)}, stored)
}

// watch repeats a request and keeps the longest time.
type watch struct {
	count   int
	longest time.Duration
	failed  error
}

// loop goes on until more is over or a request fails.
func (w *watch) loop(more context.Context, do func(i int) error) {
	for more.Err() == nil {
		began := time.Now()
		if w.failed = do(w.count); w.failed != nil {
			return
		}
		w.count++
		w.longest = max(w.longest, time.Since(began))
	}
}

// startToReady starts all processes of the array anew and waits for all of it.
func (s *suite) startToReady(ctx context.Context) error {
	var times []float64
	for range max(3, s.scale.rounds) {
		if err := s.array.Terminate(30 * time.Second); err != nil {
			return err
		}
		began := time.Now()
		for _, d := range s.array.Daemons() {
			if err := d.Start(); err != nil {
				return err
			}
		}
		if err := s.array.WaitReady(ctx, nodes); err != nil {
			return err
		}
		times = append(times, time.Since(began).Seconds())
	}
	s.table.add(row{figure: "start to ready, five processes", value: median(times), unit: "s", target: 0.3, cost: true})
	return nil
}

func (s *suite) programSizes(context.Context) error {
	for _, p := range cluster.Programs {
		info, err := os.Stat(filepath.Join(s.bin, p))
		if err != nil {
			return err
		}
		s.table.add(row{figure: "size of " + p, value: float64(info.Size()) / 1e6, unit: "MB", target: 20, cost: true})
	}
	return nil
}

// idleCPU is the share of a core that each process may take, in percent.
const idleCPU = 0.5

// idle measures what an array of which nothing is asked takes of the processor, and
// what it writes to the disk.
func (s *suite) idle(ctx context.Context) error {
	if err := s.quiet(ctx); err != nil {
		return err
	}
	time.Sleep(5 * time.Second) // let what went before be over
	usage := func() (all []cluster.Usage, err error) {
		for _, d := range s.array.Daemons() {
			u, err := d.Usage()
			if err != nil {
				return nil, err
			}
			all = append(all, u)
		}
		return all, nil
	}
	before, err := usage()
	if err != nil {
		return err
	}
	time.Sleep(s.scale.idle)
	after, err := usage()
	if err != nil {
		return err
	}
	var most float64
	var written int64
	for i := range before {
		most = max(most, 100*(after[i].CPU-before[i].CPU).Seconds()/s.scale.idle.Seconds())
		written += after[i].Written - before[i].Written
	}
	note := fmt.Sprintf("in %v", s.scale.idle)
	s.table.add(row{figure: "CPU of a process, idle, the most", value: most, unit: "%", target: idleCPU, cost: true, note: note})
	s.table.add(row{figure: "written to the disk, idle", value: float64(written), unit: "bytes", cost: true, note: note + ", should be 0"})
	return nil
}
