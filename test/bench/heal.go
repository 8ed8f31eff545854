package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

// healGrace is how long a node is away here before it is lost.
const healGrace = 5 * time.Second

// What healing a lost node should reach.
const (
	healBytes = 300  // MiB/s of copies
	healShare = 0.6  // of the bytes that the floor writes, two copies of each object
	healFiles = 1000 // copies a second, of small files
	healP99   = 2    // times as long as before
)

// heal measures how fast what a lost node held is made again, of files of one size.
func (s *suite) heal(size int) func(context.Context) error {
	return func(ctx context.Context) error {
		l := s.scale.heal[size]
		var rates, shares, costs []float64
		for i := range s.scale.rounds {
			rate, share, cost, err := s.healOnce(ctx, l)
			if err != nil {
				return fmt.Errorf("heal %s, round %d: %w", l.name, i+1, err)
			}
			rates, shares, costs = append(rates, rate), append(shares, share), append(costs, cost)
			s.say("heal %s, round %d of %d: %s, %s of the floor", l.name, i+1, s.scale.rounds, number(rate), number(share))
		}
		r := row{figure: "heal " + l.name, value: median(rates), unit: "MiB/s", target: healBytes, note: "copies of a lost node, 4 nodes"}
		if l.small() {
			r.unit, r.target = "copies/s", healFiles
		}
		s.table.add(r)
		if !l.small() {
			s.table.add(row{figure: "heal " + l.name + " / floor", value: median(shares), target: healShare, note: "bytes written"})
			s.table.add(row{figure: "CPU of all processes, heal " + l.name, value: median(costs), unit: "s/GB", cost: true})
		} else {
			s.table.add(row{figure: "CPU of all processes, heal " + l.name, value: median(costs), unit: "ms/copy", cost: true})
		}
		return nil
	}
}

// healOnce loses a node of a fresh array. The share is of the bytes that the floor
// writes in the same time; the cost in CPU is per GB, of small files in ms per copy.
func (s *suite) healOnce(ctx context.Context, l load) (rate, share, cost float64, err error) {
	a, err := s.mortal(ctx)
	if err != nil {
		return 0, 0, 0, err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	if _, _, err := newClient(a.API.URL).putAll(ctx, l); err != nil {
		return 0, 0, 0, err
	}
	plain, err := floor{dir: filepath.Join(s.dir, "floor"), copies: 2, size: l.size}.run(l)
	if err != nil {
		return 0, 0, 0, err
	}
	if err := a.Nodes[0].Kill(); err != nil {
		return 0, 0, 0, err
	}
	before, err := cpuOf(a, 1)
	if err != nil {
		return 0, 0, 0, err
	}
	h, err := healed(ctx, a)
	if err != nil {
		return 0, 0, 0, err
	}
	after, err := cpuOf(a, 1)
	if err != nil {
		return 0, 0, 0, err
	}
	cost = 1000 * (after - before).Seconds() / float64(h.copies)
	if !l.small() {
		cost = (after - before).Seconds() / (float64(h.bytes) / 1e9)
	}
	if rate = float64(h.copies) / h.took.Seconds(); !l.small() {
		rate = float64(h.bytes) / mib / h.took.Seconds()
	}
	share = float64(h.bytes) / h.took.Seconds() / (2 * float64(plain.bytes) / plain.elapsed.Seconds())
	return rate, share, cost, nil
}

// cpuOf is the time that the controller and all nodes but one, which is dead, have used.
func cpuOf(a *cluster.Cluster, dead int) (sum time.Duration, err error) {
	for i, d := range a.Daemons() {
		if i == dead {
			continue
		}
		u, err := d.Usage()
		if err != nil {
			return 0, err
		}
		sum += u.CPU
	}
	return sum, nil
}

func (s *suite) mortal(ctx context.Context) (*cluster.Cluster, error) {
	s.mortals++
	return cluster.Start(ctx, cluster.Config{
		Dir: filepath.Join(s.dir, fmt.Sprint("heal", s.mortals)), Bin: s.bin, Nodes: nodes, ControllerEnv: []string{"RAID_CONTROLLER_REPAIR_GRACE=" + healGrace.String()},
	})
}

// healing is what the controller's log says of it.
type healing struct {
	copies, bytes int64
	took          time.Duration
}

var healedLine = regexp.MustCompile(`what lost nodes held was made again.* copies=(\d+) bytes=(\d+) took=([0-9.a-zµ]+)`)

// healed waits until the log says that all is made again.
func healed(ctx context.Context, a *cluster.Cluster) (h healing, err error) {
	err = a.Wait(ctx, "what a lost node held to be made again", func(context.Context) bool {
		m := healedLine.FindStringSubmatch(a.Controller.LogText())
		if m == nil {
			return false
		}
		h.copies, _ = strconv.ParseInt(m[1], 10, 64) // digits
		h.bytes, _ = strconv.ParseInt(m[2], 10, 64)
		h.took, _ = time.ParseDuration(m[3])
		return true
	})
	if err == nil && h.took <= 0 {
		err = fmt.Errorf("the log says that it took %v", h.took)
	}
	return h, err
}

// besideClients is how many clients read and write small objects while a node's copies
// are made again.
const besideClients = 2

// healBeside measures small requests before and while what a node held is made again.
func (s *suite) healBeside(ctx context.Context) (err error) {
	a, err := s.mortal(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	c := newClient(a.API.URL)
	l := s.scale.heal[1]
	if _, _, err := c.putAll(ctx, l); err != nil {
		return err
	}
	small := load{name: "4KiB", size: 4 * kib, clients: 4, count: 200}
	stored, _, err := c.putAll(ctx, small)
	if err != nil {
		return err
	}
	if err := a.Nodes[0].Kill(); err != nil {
		return err
	}
	time.Sleep(time.Second) // those who ask a dead node notice that
	reads, writes, err := c.sample(ctx, stored, healGrace-2*time.Second, nil)
	if err != nil {
		return err
	}
	time.Sleep(time.Second)
	over, stop := context.WithCancel(ctx)
	var h healing
	var failed error
	var wg sync.WaitGroup
	wg.Go(func() {
		defer stop()
		h, failed = healed(ctx, a)
	})
	readsBeside, writesBeside, err := c.sample(ctx, stored, time.Minute, over.Done())
	wg.Wait()
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	for _, f := range []struct {
		what           string
		before, beside []time.Duration
	}{{"reads", reads, readsBeside}, {"writes", writes, writesBeside}} {
		before, beside := p99(f.before), p99(f.beside)
		s.table.add(row{figure: "p99 of 4KiB " + f.what + ", before", value: 1000 * before.Seconds(), unit: "ms", cost: true, note: fmt.Sprintf("%d requests", len(f.before))})
		s.table.add(row{figure: "p99 of 4KiB " + f.what + ", while healing", value: 1000 * beside.Seconds(), unit: "ms", cost: true, note: fmt.Sprintf("%d requests", len(f.beside))})
		s.table.add(row{figure: "p99 of 4KiB " + f.what + ", while healing / before", value: beside.Seconds() / before.Seconds(), target: healP99, cost: true})
	}
	s.table.add(row{figure: "heal 1MiB beside small requests", value: float64(h.bytes) / mib / h.took.Seconds(), unit: "MiB/s"})
	return nil
}

// sample reads and writes small objects for so long, or until over is closed.
func (c *client) sample(ctx context.Context, stored []*object, d time.Duration, over <-chan struct{}) (reads, writes []time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for worker := range besideClients {
		wg.Go(func() {
			buf := make([]byte, readBuffer)
			for i := worker; ctx.Err() == nil; i++ {
				select {
				case <-over:
					return
				default:
				}
				began := time.Now()
				var failed error
				if i%4 == 0 {
					_, failed = c.put(context.WithoutCancel(ctx), 4*kib)
				} else {
					failed = c.get(context.WithoutCancel(ctx), stored[(i*7)%len(stored)], buf)
				}
				took := time.Since(began)
				mu.Lock()
				if i%4 == 0 {
					writes = append(writes, took)
				} else {
					reads = append(reads, took)
				}
				err = errors.Join(err, failed)
				mu.Unlock()
				time.Sleep(2 * time.Millisecond) // people and programs think, too
			}
		})
	}
	wg.Wait()
	return reads, writes, err
}

func p50(all []time.Duration) time.Duration { return percentile(all, 50) }
func p99(all []time.Duration) time.Duration { return percentile(all, 99) }

func percentile(all []time.Duration, percent int) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[(len(sorted)-1)*percent/100]
}
