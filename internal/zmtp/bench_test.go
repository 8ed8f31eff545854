package zmtp

import (
	"fmt"
	"sync"
	"testing"
)

func BenchmarkMessages(b *testing.B) {
	for _, size := range []int{64, 2 << 10, 64 << 10, 1 << 20, 2 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			push, pull := pushPull(b, large())
			stream(b, push, pull, size)
		})
	}
}

// BenchmarkTLS compares, in the same run, what a connection carries outside and
// inside TLS.
func BenchmarkTLS(b *testing.B) {
	for _, size := range []int{64 << 10, 1 << 20} {
		for _, below := range []string{"plain", "tls"} {
			b.Run(fmt.Sprintf("%s/%d", below, size), func(b *testing.B) {
				near, far := tcpPair(b)
				a, z := Config{Type: Push}, large()
				z.Type = Pull
				if below == "tls" {
					a, z = inTLS(b, a, z)
				}
				push, pull := shake(b, near, far, a, z)
				stream(b, push, pull, size)
			})
		}
	}
}

// stream sends b.N messages of size bytes, one after the other.
func stream(b *testing.B, push, pull *Conn, size int) {
	body := pattern(size, 1)
	dst := make([]byte, size)
	var wg sync.WaitGroup
	defer wg.Wait()
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	wg.Go(func() {
		for range b.N {
			if err := push.Send(b.Context(), []byte("head"), body); err != nil {
				b.Error(err)
				return
			}
		}
	})
	for range b.N {
		if _, err := pull.Receive(func([][]byte, int64) ([]byte, error) { return dst, nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkManySenders is small messages of many goroutines, as acknowledgements are.
func BenchmarkManySenders(b *testing.B) {
	push, pull := pushPull(b, Config{})
	body := pattern(64, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range 16 {
		wg.Go(func() {
			for range (b.N + i) / 16 {
				if err := push.Send(b.Context(), body); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	for range b.N {
		if _, err := pull.Receive(nil); err != nil {
			b.Fatal(err)
		}
	}
}
