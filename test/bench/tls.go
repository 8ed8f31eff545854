package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

// The most that TLS between controller and nodes may cost. tlsShare is the least share of the
// throughput without it. tlsMemory is in MiB for each daemon.
const (
	tlsShare  = 0.65
	tlsMemory = 10
	joinTime  = 2 // seconds for one node
)

// tls compares the array with one whose nodes have joined, in turn.
func (s *suite) tls(ctx context.Context) (err error) {
	began := time.Now()
	joined, err := cluster.Start(ctx, cluster.Config{Dir: filepath.Join(s.dir, "joined"), Bin: s.bin, Nodes: nodes, Joined: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, joined.Close()) }()
	s.table.add(row{figure: "start, and one node's join", value: time.Since(began).Seconds() / nodes, unit: "s", target: joinTime, cost: true})
	// As fresh as the other, or their memory could not be compared.
	without, err := cluster.Start(ctx, cluster.Config{Dir: filepath.Join(s.dir, "plain"), Bin: s.bin, Nodes: nodes})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, without.Close()) }()
	time.Sleep(2 * time.Second) // what the start took is given back
	plain := suite{array: without, client: newClient(without.API.URL)}
	inside := suite{array: joined, client: newClient(joined.API.URL)}
	idlePlain, idleInside, err := bothMemories(plain.array, inside.array)
	if err != nil {
		return err
	}
	for _, l := range s.scale.loads {
		without, within := &rounds{}, &rounds{}
		var put, get []float64 // of each round, which has both right after each other
		for i := range s.scale.rounds {
			for _, side := range []struct {
				of *suite
				r  *rounds
			}{{&plain, without}, {&inside, within}} {
				syscall.Sync()
				if err := warm(filepath.Join(s.dir, "warm"), 2*l.size*int64(l.count)); err != nil {
					return err
				}
				side.r.floor, side.r.smallFloor = append(side.r.floor, 1), append(side.r.smallFloor, 1) // not measured here
				if err := side.of.putAndGet(ctx, l, side.r); err != nil {
					return fmt.Errorf("%s, round %d: %w", l.name, i+1, err)
				}
				if err := side.of.quiet(ctx); err != nil {
					return err
				}
			}
			last := len(within.put) - 1
			put, get = append(put, within.put[last]/without.put[last]), append(get, within.get[last]/without.get[last])
			s.say("TLS, %s, round %d of %d: PUT %s without, %s inside, GET %s and %s", l.name, i+1, s.scale.rounds,
				number(without.put[last]), number(within.put[last]), number(without.get[last]), number(within.get[last]))
		}
		name := fmt.Sprintf("%s ×%d", l.name, l.clients)
		s.table.add(row{figure: "PUT " + name + " inside TLS / without", value: median(put), target: tlsShare})
		s.table.add(row{figure: "GET " + name + " inside TLS / without", value: median(get), target: tlsShare})
	}
	peakPlain, peakInside, err := bothMemories(plain.array, inside.array)
	if err != nil {
		return err
	}
	for i, who := range []string{"controller", "node"} {
		s.table.add(row{figure: who + ", memory of TLS, idle", value: idleInside[i].now - idlePlain[i].now, unit: "MiB", target: tlsMemory, cost: true})
		s.table.add(row{figure: who + ", memory of TLS, peak", value: peakInside[i].peak - peakPlain[i].peak, unit: "MiB", target: tlsMemory, cost: true})
	}
	return nil
}

// held is the memory of a daemon, in MiB.
type held struct{ now, peak float64 }

// bothMemories looks at the controllers and the largest nodes of two arrays.
func bothMemories(a, b *cluster.Cluster) (ofA, ofB [2]held, err error) {
	for i, c := range []*cluster.Cluster{a, b} {
		var of [2]held
		for j, d := range c.Daemons() {
			u, err := d.Usage()
			if err != nil {
				return ofA, ofB, err
			}
			who := &of[min(j, 1)]
			who.now, who.peak = max(who.now, float64(u.RSS)/mib), max(who.peak, float64(u.PeakRSS)/mib)
		}
		if i == 0 {
			ofA = of
		} else {
			ofB = of
		}
	}
	return ofA, ofB, nil
}
