package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/raidpi/raidpi/test/bench/inside"
	"github.com/raidpi/raidpi/test/cluster"
)

const (
	scrubShare  = 0.8 // of what cat reads
	scrubSlower = 1.1 // times as long as without may small requests take
)

// scrubs measures how fast a node reads its chunks while nothing is asked of it, beside cat(1) of
// the same files. It also measures how much slower requests are meanwhile.
func (s *suite) scrubs(ctx context.Context) (err error) {
	a, err := cluster.Start(ctx, cluster.Config{Dir: filepath.Join(s.dir, "scrub"), Bin: s.bin, Nodes: nodes})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	c := newClient(a.API.URL)
	if _, _, err := c.putAll(ctx, s.scale.heal[1]); err != nil {
		return err
	}
	if err := s.scrubBeside(ctx, a, c); err != nil {
		return err
	}
	if err := a.Terminate(time.Minute); err != nil {
		return err
	}
	return s.scrubAgainstCat(ctx, a.ChunkDir(0))
}

// scrubAgainstCat measures how fast the chunks of a node that is stopped are read.
func (s *suite) scrubAgainstCat(ctx context.Context, dir string) error {
	var rates, shares []float64
	err := inside.ScrubAgainstCat(ctx, dir, s.scale.rounds, func(bytes int64, scrubbed, catted time.Duration) {
		rates = append(rates, float64(bytes)/mib/scrubbed.Seconds())
		shares = append(shares, catted.Seconds()/scrubbed.Seconds())
		s.say("scrub: %s MiB/s, %s of cat", number(rates[len(rates)-1]), number(shares[len(shares)-1]))
	})
	if err != nil {
		return err
	}
	s.table.add(row{figure: "scrub of an idle node", value: median(rates), unit: "MiB/s", note: "parts of 512 KiB"})
	s.table.add(row{figure: "scrub / cat of the same files", value: median(shares), target: scrubShare})
	return nil
}

// scrubBeside measures small requests while all nodes scrub and while they are paused,
// by turns.
func (s *suite) scrubBeside(ctx context.Context, a *cluster.Cluster, c *client) error {
	small := load{name: "4KiB", size: 4 * kib, clients: 4, count: 200}
	stored, _, err := c.putAll(ctx, small)
	if err != nil {
		return err
	}
	var reads, writes [2][]time.Duration // paused, and not
	for range 2 * s.scale.rounds {
		for beside, action := range []string{"pause", "start"} {
			if err := orderScrub(ctx, a, action); err != nil {
				return err
			}
			r, w, err := c.sample(ctx, stored, 2*time.Second, nil)
			if err != nil {
				return err
			}
			reads[beside], writes[beside] = append(reads[beside], r...), append(writes[beside], w...)
		}
	}
	if err := orderScrub(ctx, a, "pause"); err != nil {
		return err
	}
	for _, f := range []struct {
		what string
		took [2][]time.Duration
	}{{"reads", reads}, {"writes", writes}} {
		before, beside := p50(f.took[0]), p50(f.took[1])
		s.table.add(row{figure: "median of 4KiB " + f.what + " beside a scrub / without", value: beside.Seconds() / before.Seconds(), target: scrubSlower, cost: true,
			note: fmt.Sprintf("%.2f ms without, p99 %.1f and %.1f ms", 1000*before.Seconds(), 1000*p99(f.took[0]).Seconds(), 1000*p99(f.took[1]).Seconds())})
	}
	return nil
}

// orderScrub has all nodes scrub, or pause.
func orderScrub(ctx context.Context, a *cluster.Cluster, action string) error {
	return a.Root(ctx, http.MethodPost, "/scrub", `{"action":"`+action+`"}`, nil)
}
