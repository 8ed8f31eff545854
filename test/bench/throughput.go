package main

import (
	"context"
	"fmt"
	"path/filepath"
)

// rounds are the figures of one load, one of each per round.
type rounds struct {
	floor, smallFloor          []float64 // MB/s, ops/s for the small load
	put, get                   []float64
	putCPU, getCPU, floorCPU   []float64 // seconds per GB
	putOverFloor, putOverSmall []float64
	longestPut, longestGet     []float64 // seconds
}

func (s *suite) loads(ctx context.Context) error {
	for _, l := range s.scale.loads {
		if !s.pick.MatchString(l.name) {
			continue
		}
		r := &rounds{}
		for i := range s.scale.rounds {
			if err := s.round(ctx, l, r); err != nil {
				return fmt.Errorf("%s, round %d: %w", l.name, i+1, err)
			}
			last := len(r.put) - 1
			s.say("%s, round %d of %d: floor %s, PUT %s, GET %s", l.name, i+1, s.scale.rounds,
				number(r.floor[last]), number(r.put[last]), number(r.get[last]))
		}
		s.report(l, r)
	}
	return nil
}

// small tells the load that is counted in operations instead of bytes.
func (l load) small() bool { return l.size < 64*kib }

// rate is the figure that fits the load.
func (l load) rate(o outcome) float64 {
	if l.small() {
		return o.opsPerSec()
	}
	return o.megabytes()
}

// round runs the floor, then the same load on the array, in turn.
func (s *suite) round(ctx context.Context, l load, r *rounds) error {
	if err := s.quiet(ctx); err != nil {
		return err
	}
	// Before either part the memory that its files take is made equally ready.
	files := 2 * l.size * int64(l.count)
	if err := warm(filepath.Join(s.dir, "warm"), files); err != nil {
		return err
	}
	dir := filepath.Join(s.dir, "floor")
	plain, err := floor{dir: dir, copies: 2, size: l.size}.run(l)
	if err != nil {
		return err
	}
	r.floor, r.floorCPU = append(r.floor, l.rate(plain)), append(r.floorCPU, plain.cpuPerGB())
	if l.small() { // an upload is four half-files, each durable with its name
		small, err := floor{dir: dir, copies: 4, size: l.size / 2, dirSync: true}.run(l)
		if err != nil {
			return err
		}
		r.smallFloor = append(r.smallFloor, l.rate(small))
	}
	if err := s.quiet(ctx); err != nil {
		return err
	}
	if err := warm(filepath.Join(s.dir, "warm"), files); err != nil {
		return err
	}
	return s.putAndGet(ctx, l, r)
}

func (s *suite) putAndGet(ctx context.Context, l load, r *rounds) error {
	before, err := s.cpu()
	if err != nil {
		return err
	}
	stored, put, err := s.client.putAll(ctx, l)
	if err != nil {
		return err
	}
	between, err := s.cpu()
	if err != nil {
		return err
	}
	get, err := s.client.getAll(ctx, l, stored)
	if err != nil {
		return err
	}
	after, err := s.cpu()
	if err != nil {
		return err
	}
	put.cpu, get.cpu = between-before, after-between
	r.put, r.get = append(r.put, l.rate(put)), append(r.get, l.rate(get))
	r.putCPU, r.getCPU = append(r.putCPU, put.cpuPerGB()), append(r.getCPU, get.cpuPerGB())
	r.longestPut = append(r.longestPut, put.longest.Seconds())
	r.longestGet = append(r.longestGet, get.longest.Seconds())
	r.putOverFloor = append(r.putOverFloor, l.rate(put)/r.floor[len(r.floor)-1])
	if l.small() {
		r.putOverSmall = append(r.putOverSmall, l.rate(put)/r.smallFloor[len(r.smallFloor)-1])
	}
	return s.client.removeAll(ctx, l, stored)
}

// The peers were measured on a machine whose plain floor for 4 KiB was 1,025 objects a second. 600
// uploads a second are asked for there, and in proportion elsewhere.
const smallTarget = 600.0 / 1025

func (s *suite) report(l load, r *rounds) {
	name := fmt.Sprintf("%s ×%d", l.name, l.clients)
	unit := "MB/s"
	if l.small() {
		unit = "ops/s"
	}
	s.table.add(row{figure: "floor " + name, value: median(r.floor), unit: unit, note: "two copies, fsync"})
	if l.small() {
		s.table.add(row{figure: "floor of four halves " + name, value: median(r.smallFloor), unit: unit, note: "four files of 2 KiB, fsync of file and directory"})
	}
	s.table.add(row{figure: "PUT " + name, value: median(r.put), unit: unit, target: putTarget(l) * median(r.floor),
		note: fmt.Sprintf("longest %s s", number(median(r.longestPut)))})
	s.table.add(row{figure: "PUT " + name + " / floor", value: median(r.putOverFloor), target: putTarget(l)})
	if l.small() {
		s.table.add(row{figure: "PUT " + name + " / floor of four halves", value: median(r.putOverSmall), target: 0.6})
	}
	s.table.add(row{figure: "GET " + name, value: median(r.get), unit: unit, target: getTarget(l),
		note: fmt.Sprintf("longest %s s", number(median(r.longestGet)))})
	if l.name == "64MiB" {
		s.table.add(row{figure: "CPU of the floor " + name, value: median(r.floorCPU), unit: "s/GB", cost: true, note: "two copies into the page cache and to the disk"})
		s.table.add(row{figure: "CPU of all processes, PUT " + name, value: median(r.putCPU), unit: "s/GB", target: 4, cost: true})
		s.table.add(row{figure: "CPU of all processes, GET " + name, value: median(r.getCPU), unit: "s/GB", target: 2, cost: true})
	}
}

// putTarget is the share of the plain floor that uploads should reach.
func putTarget(l load) float64 {
	switch l.name {
	case "64MiB":
		return 0.5
	case "1MiB":
		return 0.4
	default:
		return smallTarget
	}
}

// getTarget holds for the machine that the peers were measured on.
func getTarget(l load) float64 {
	switch l.name {
	case "64MiB":
		return 700
	case "4KiB":
		return 4000
	default:
		return 0
	}
}
