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

// healGrace is the time that a node is away here before it is lost.
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
		var all healings
		for i := range s.scale.rounds {
			if err := s.healOnce(ctx, l, &all); err != nil {
				return fmt.Errorf("heal %s, round %d: %w", l.name, i+1, err)
			}
			s.say("heal %s, round %d of %d: %s, %s of the floor, %s of a relay", l.name, i+1, s.scale.rounds,
				number(all.rate[i]), number(all.share[i]), number(all.relayed[i]))
		}
		s.reportHealing(l, &all)
		return nil
	}
}

// healings are the figures of one load, one of each per round.
type healings struct {
	rate         []float64 // MiB/s, copies/s of small files
	cpu          []float64 // s/GB, ms a copy of small files
	share        []float64 // of the bytes that the floor writes in the same time
	relay        []float64 // as rate
	relayCPU     []float64 // as cpu
	relayed      []float64 // rate as a part of relay
	memory, peak []float64 // of the controller before and while it heals, in MiB
}

func (s *suite) reportHealing(l load, all *healings) {
	rate, cost := row{unit: "MiB/s", target: healBytes}, row{unit: "s/GB", cost: true}
	if l.small() {
		rate, cost = row{unit: "copies/s", target: healFiles}, row{unit: "ms/copy", cost: true}
	}
	add := func(r row, figure string, values []float64, note string) {
		r.figure, r.value, r.note = figure, median(values), note
		s.table.add(r)
	}
	add(rate, "heal "+l.name, all.rate, "copies of a lost node, 4 nodes")
	if !l.small() {
		add(row{target: healShare}, "heal "+l.name+" / floor", all.share, "bytes written; the floor neither reads nor sends")
	}
	rate.target = 0
	add(rate, "relay "+l.name, all.relay, "a plain program reads, sends twice, writes")
	add(row{}, "heal "+l.name+" / relay", all.relayed, "")
	add(cost, "CPU of all processes, heal "+l.name, all.cpu, "")
	add(cost, "CPU of the relay "+l.name, all.relayCPU, "")
	add(row{unit: "MiB", cost: true}, "memory of the controller, heal "+l.name, all.peak, fmt.Sprintf("at its peak; %s before", number(median(all.memory))))
}

// healOnce loses a node of a fresh array.
func (s *suite) healOnce(ctx context.Context, l load, all *healings) (err error) {
	a, err := s.mortal(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	if _, _, err := newClient(a.API.URL).putAll(ctx, l); err != nil {
		return err
	}
	plain, err := floor{dir: filepath.Join(s.dir, "floor"), copies: 2, size: l.size}.run(l)
	if err != nil {
		return err
	}
	part := min(l.size, stripeSize) / 2
	relayed, err := relay{dir: filepath.Join(s.dir, "relay"), size: part}.run(int(l.size / part * int64(l.count) * 2 / nodes))
	if err != nil {
		return err
	}
	if err := errors.Join(a.Nodes[0].Kill(), a.Controller.ResetPeak()); err != nil {
		return err
	}
	before, err := cpuOf(a, 1)
	if err != nil {
		return err
	}
	idle, err := a.Controller.Usage()
	if err != nil {
		return err
	}
	h, err := healed(ctx, a)
	if err != nil {
		return err
	}
	after, err := cpuOf(a, 1)
	if err != nil {
		return err
	}
	busy, err := a.Controller.Usage()
	if err != nil {
		return err
	}
	rate, cpu := h.figures(l, after-before)
	relay, relayCPU := healing{copies: int64(relayed.ops), bytes: relayed.bytes, took: relayed.elapsed}.figures(l, relayed.cpu)
	all.rate, all.cpu = append(all.rate, rate), append(all.cpu, cpu)
	all.relay, all.relayCPU = append(all.relay, relay), append(all.relayCPU, relayCPU)
	all.relayed = append(all.relayed, rate/relay)
	all.share = append(all.share, float64(h.bytes)/h.took.Seconds()/(2*float64(plain.bytes)/plain.elapsed.Seconds()))
	all.memory, all.peak = append(all.memory, float64(idle.RSS)/mib), append(all.peak, float64(busy.PeakRSS)/mib)
	return nil
}

// stripeSize is that of an array whose configuration does not say another.
const stripeSize = 4 * mib

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

// healing holds what the controller's log says of it.
type healing struct {
	copies, bytes int64
	took          time.Duration
}

// figures returns the rate in MiB/s and the processor's time in s/GB. For small files they are in
// copies a second and ms a copy.
func (h healing) figures(l load, used time.Duration) (rate, cpu float64) {
	if l.small() {
		return float64(h.copies) / h.took.Seconds(), 1000 * used.Seconds() / float64(h.copies)
	}
	return float64(h.bytes) / mib / h.took.Seconds(), used.Seconds() / (float64(h.bytes) / 1e9)
}

var healedLine = regexp.MustCompile(`what lost nodes held was made again.* copies=(\d+) bytes=(\d+) took=([0-9.a-zµ]+)`)

// rarely is the time between two looks at the log. Without a pause the looks would take a twentieth
// of the machine.
const rarely = 100 * time.Millisecond

// healed waits until the log says that all is made again.
func healed(ctx context.Context, a *cluster.Cluster) (h healing, err error) {
	err = a.Wait(ctx, "what a lost node held to be made again", func(context.Context) bool {
		time.Sleep(rarely)
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

// besideClients is the number of clients that read and write small objects while a node's copies
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
	time.Sleep(time.Second) // clients that ask a dead node notice that
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
