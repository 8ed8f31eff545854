package controller

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
)

// The benchmarks run client, controller and four nodes in one process, on real
// files: what they are for is a profile (-cpuprofile), not a figure.

func benchArray(b *testing.B) *array {
	return newArray(b, 4, func(c *Config) { c.StripeSize = 4 << 20 })
}

func BenchmarkUpload(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20, 64 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			a := benchArray(b)
			body := randomBytes(size)
			b.SetBytes(int64(size))
			b.SetParallelism(4)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					a.upload(body)
				}
			})
		})
	}
}

func BenchmarkDownload(b *testing.B) {
	for _, size := range []int{4 << 10, 1 << 20, 64 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			a := benchArray(b)
			var ids []int64
			for range 16 {
				ids = append(ids, a.upload(randomBytes(size)).ID)
			}
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
			defer client.CloseIdleConnections()
			var next atomic.Int64
			b.SetBytes(int64(size))
			b.SetParallelism(4)
			b.ResetTimer()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					resp, err := client.Get(fmt.Sprintf("%s/files/%d", a.url, ids[next.Add(1)%int64(len(ids))]))
					if err != nil {
						b.Error(err)
						return
					}
					n, err := io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if err != nil || n != int64(size) {
						b.Errorf("%d bytes, %v", n, err)
						return
					}
				}
			})
		})
	}
}
