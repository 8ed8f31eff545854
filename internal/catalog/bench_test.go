package catalog

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkFinish is a small upload's commit: a file, two parts, four copies,
// with so many callers at once.
func BenchmarkFinish(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			c := openTest(b, "")
			before := c.Commit()
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ResetTimer()
			for range callers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if _, err := c.Finish(context.Background(), newFile(b, c, 1)); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "files/s")
			b.ReportMetric(float64(b.N)/float64(c.Commit()-before), "files/commit")
		})
	}
}

// BenchmarkAppend is a long upload's batch: 64 stripes, 128 parts, 256 copies.
func BenchmarkAppend(b *testing.B) {
	c := openTest(b, "")
	fin := begin(b, c, 1)
	from := int64(0)
	for b.Loop() {
		must(b, c.Append(bg, fin.File.ID, newParts(from, from+64)))
		from += 64
	}
	b.ReportMetric(float64(from)*4/b.Elapsed().Seconds(), "chunks/s")
}
