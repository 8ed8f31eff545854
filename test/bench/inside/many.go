package inside

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/raidpi/raidpi/internal/catalog"
	"github.com/raidpi/raidpi/internal/raid"
)

const (
	manyStripes = 10   // of each file
	lookRows    = 5000 // of the catalog in one step, as healing takes
	asked       = 20   // nodes of which it is asked whether they may be unplugged
)

// Many holds what is measured of a catalog with many nodes and chunks.
type Many struct {
	Chunks  int
	Held    int64         // copies on the node that is lost
	Found   time.Duration // to find them
	Steps   int
	Longest time.Duration // step
	Unplug  time.Duration // to say whether one may be unplugged
	Memory  int64         // of the open catalog, bytes
	Search  int64         // more than that after the search, bytes
	Size    int64         // of the database and its log, bytes
	Made    time.Duration // what the chunks took to be made
}

// MeasureMany fills a new catalog at path with chunks on so many nodes, first fewer, then more. It
// tells each time what was measured.
func MeasureMany(ctx context.Context, path string, nodes int, chunks []int, tell func(Many)) (err error) {
	c, err := catalog.Open(ctx, catalog.Config{Path: path})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	m := &made{catalog: c, stripes: manyStripes}
	for i := range nodes {
		m.nodes = append(m.nodes, raid.NodeID(fmt.Sprintf("%022d", i+1)))
		if err := c.SaveNode(ctx, raid.NodeRecord{ID: m.nodes[i]}); err != nil {
			return err
		}
	}
	have := 0
	for _, n := range chunks {
		m.files = (n - have) / (4 * manyStripes)
		began := time.Now()
		if err := m.run(ctx); err != nil {
			return err
		}
		have += m.files * 4 * manyStripes
		r := Many{Chunks: have, Made: time.Since(began)}
		if err := r.measure(ctx, c, path, m.nodes); err != nil {
			return err
		}
		tell(r)
	}
	return nil
}

func (r *Many) measure(ctx context.Context, c *catalog.Catalog, path string, nodes []raid.NodeID) (err error) {
	r.Memory = heap()
	var at raid.PartCursor
	began := time.Now()
	for more := true; more; r.Steps++ {
		var n int64
		step := time.Now()
		if n, _, at, more, err = c.CountOn(ctx, nodes[:1], at, lookRows); err != nil {
			return err
		}
		r.Longest = max(r.Longest, time.Since(step))
		r.Held += n
	}
	r.Found = time.Since(began)
	r.Search = heap() - r.Memory
	if r.Held == 0 {
		return errors.New("the node holds nothing")
	}
	there := func(id raid.NodeID) bool { return id != nodes[len(nodes)-1] }
	began = time.Now()
	for i := range asked {
		if w := c.Without(nodes[i%len(nodes)], there, false); w.Partial {
			return errors.New("what is kept of pairs of nodes is not whole")
		}
	}
	r.Unplug = time.Since(began) / asked
	for _, p := range []string{path, path + "-wal"} {
		info, err := os.Stat(p)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if err == nil {
			r.Size += info.Size()
		}
	}
	return nil
}

// heap returns the bytes that this process holds in memory of Go.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
