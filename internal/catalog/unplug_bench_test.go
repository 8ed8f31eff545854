package catalog

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// spreadOut fills spread and spread_set as so many files would that have one stripe on so
// many nodes, drawn as placement does. No row of chunk is made: whether a node may go is
// told without a look at any, so it takes as long with any number of them.
func spreadOut(tb testing.TB, c *Catalog, nodes, files int) {
	tb.Helper()
	for i := range nodes {
		must(tb, c.SaveNode(bg, raid.NodeRecord{ID: raid.NodeID(fmt.Sprintf("n%d", i+1))}))
	}
	rng := rand.New(rand.NewPCG(1, uint64(nodes)))
	must(tb, c.write(bg, &op{name: "test", rows: 1, run: func(t *tx) error {
		rows := &spreadOf{base: t.base.spread, added: map[string]rowCount{}, addedSets: map[string]rowCount{}}
		for range files {
			var at [4]int64
			for i, p := range rng.Perm(max(nodes, 4))[:4] {
				at[i] = int64(p%nodes) + 1
			}
			rows.move(writePlaces(map[string]int64{writeSet([]int64{at[0], at[1]}): 1, writeSet([]int64{at[2], at[3]}): 1}), rowCount{1})
		}
		t.changed = true
		t.meta.counts.Files, t.meta.spreadTo = int64(files), allCounted
		for table, added := range map[string]map[string]rowCount{"spread": rows.added, "spread_set": rows.addedSets} {
			for row, n := range added {
				if _, err := t.exec("INSERT INTO "+table+" (places, files) VALUES (?, ?)", row, n[asFile]); err != nil {
					return err
				}
			}
		}
		return nil
	}}))
}

// BenchmarkUnplug is the question whether a node may be unplugged, on arrays of 5, 20 and
// 500 nodes. It tells the size of the catalog, which is that of what is kept for it, and
// how much memory that takes.
func BenchmarkUnplug(b *testing.B) {
	for _, nodes := range []int{5, 20, 500} {
		b.Run(fmt.Sprint("nodes=", nodes), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "catalog.db")
			c := openTest(b, path)
			spreadOut(b, c, nodes, 500_000)
			must(b, c.Close())
			before := heap()
			c = openTest(b, path)
			kept := heap() - before
			there := func(id raid.NodeID) bool { return id != "n2" }
			for b.Loop() {
				if w := c.Without("n1", there, true); w.Partial || w.Files == 0 || nodes < 100 && w.AtMost {
					b.Fatalf("%+v", w)
				}
			}
			info, err := os.Stat(path)
			must(b, err)
			b.ReportMetric(float64(kept)/(1<<20), "MiB-kept")
			b.ReportMetric(float64(info.Size())/(1<<20), "MiB-on-disk")
			b.ReportMetric(float64(len(c.state.spread.files)), "ways")
			b.ReportMetric(float64(len(c.state.spread.sets)), "sets")
		})
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
