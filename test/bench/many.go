package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/raidpi/raidpi/test/bench/inside"
)

const (
	manyNodes  = 500
	unplugMost = 50 // ms
)

// manyChunks measures a generated catalog of 500 nodes. It measures the time to find what a lost
// node held and to say whether one may be unplugged. It also measures the memory that this takes,
// and the size of the database. It is done for several numbers of chunks, to see how each grows.
func (s *suite) manyChunks(ctx context.Context) error {
	path := filepath.Join(s.dir, "many", "catalog.db")
	return inside.MeasureMany(ctx, path, manyNodes, s.scale.many, func(m inside.Many) {
		what := fmt.Sprintf("%d nodes, %s chunks: ", manyNodes, thousands(m.Chunks))
		s.say("%slast ones made in %v", what, m.Made.Round(time.Second))
		s.table.add(row{figure: what + "find what a node held", value: m.Found.Seconds(), unit: "s", cost: true, note: fmt.Sprintf("%d copies in %d steps, the longest %v", m.Held, m.Steps, m.Longest.Round(time.Millisecond))})
		s.table.add(row{figure: what + "unplug", value: 1000 * m.Unplug.Seconds(), unit: "ms", target: unplugMost, cost: true})
		s.table.add(row{figure: what + "memory of the catalog", value: float64(m.Memory) / mib, unit: "MiB", cost: true, note: fmt.Sprintf("%.1f MiB more after the search", float64(m.Search)/mib)})
		s.table.add(row{figure: what + "database", value: float64(m.Size) / mib, unit: "MiB", cost: true, note: fmt.Sprintf("%d bytes a chunk", m.Size/int64(m.Chunks))})
	})
}

// thousands writes a round number in a short way.
func thousands(n int) string {
	if n >= 1_000_000 {
		return fmt.Sprintf("%.3g M", float64(n)/1e6)
	}
	return fmt.Sprintf("%d k", n/1000)
}
