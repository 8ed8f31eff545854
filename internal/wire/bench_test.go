package wire

import (
	"context"
	"fmt"
	"testing"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/raid"
)

// idleNode stores nothing and answers with zeros: what is left is the wire.
type idleNode struct {
	*memNode
	pool   *budget.Pool
	blocks map[int64][]uint32
}

func (n *idleNode) Store(context.Context, StoreRequest) error { return nil }

func (n *idleNode) Get(_ context.Context, req NodeGet) (NodeChunk, error) {
	return NodeChunk{Length: req.Length, Blocks: n.blocks[req.Length], Payload: n.pool.Get(int(req.Length))}, nil
}

// benchSessions are four sessions over loopback.
func benchSessions(b *testing.B, inTLS bool) []*Session {
	b.Helper()
	club := newClub(b, testArray)
	th := startHub(b, &loopback{}, func(c *HubConfig) { realTimes(c); club.serve(c) })
	n := &idleNode{memNode: newMemNode(), pool: budget.New(1 << 30), blocks: map[int64][]uint32{}}
	for _, size := range []int{2 << 10, 1 << 20} {
		n.blocks[int64(size)] = raid.BlockChecksums(make([]byte, size))
	}
	var sessions []*Session
	for range 4 {
		startLink(b, th, n.memNode, func(c *LinkConfig) {
			if realLinkTimes(c); inTLS {
				club.join(c)
			}
			c.Handler = n
		})
		sessions = append(sessions, th.events.next(b, "up").sess)
	}
	return sessions
}

func BenchmarkStore(b *testing.B) { benchStore(b, false) }

// BenchmarkStoreInsideTLS is to be compared with BenchmarkStore of the same run.
func BenchmarkStoreInsideTLS(b *testing.B) { benchStore(b, true) }

func benchStore(b *testing.B, inTLS bool) {
	for _, size := range []int{2 << 10, 2 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			sessions := benchSessions(b, inTLS)
			payload := make([]byte, size)
			req := newUpload(b, 1).store(payload)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if err := sessions[i%4].Store(context.Background(), req); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func BenchmarkGet(b *testing.B) { benchGet(b, false) }

// BenchmarkGetInsideTLS is to be compared with BenchmarkGet of the same run.
func BenchmarkGetInsideTLS(b *testing.B) { benchGet(b, true) }

func benchGet(b *testing.B, inTLS bool) {
	for _, size := range []int{2 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			sessions := benchSessions(b, inTLS)
			req := wholeGet(newUpload(b, 1).store(make([]byte, size)))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				mine := req
				mine.Dst = make([]byte, size)
				for i := 0; pb.Next(); i++ {
					if _, err := sessions[i%4].Get(context.Background(), mine); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}
