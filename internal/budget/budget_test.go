package budget

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSizesAreRounded(t *testing.T) {
	for _, c := range []struct{ n, want int }{
		{0, 512}, {1, 512}, {512, 512}, {513, 1024}, {4097, 8192}, {64 << 10, 64 << 10},
		{64<<10 + 1, 128 << 10}, {128 << 10, 128 << 10}, {2 << 20, 2 << 20}, {2<<20 + 1, 2<<20 + 64<<10},
	} {
		p := New(1 << 30)
		b := p.Get(c.n)
		if len(b.Bytes()) != c.n || cap(b.Bytes()) != c.n || p.InUse() != int64(c.want) {
			t.Errorf("Get(%d): len %d cap %d, %d counted, want %d", c.n, len(b.Bytes()), cap(b.Bytes()), p.InUse(), c.want)
		}
		b.Release()
		if p.InUse() != 0 {
			t.Errorf("%d bytes in use after the release of %d", p.InUse(), c.n)
		}
	}
}

func TestOnlyGetExceedsTheLimit(t *testing.T) {
	p := New(1024)
	a, b := p.Get(1024), p.Get(1024)
	if p.InUse() != 2048 || p.Limit() != 1024 {
		t.Fatalf("in use %d of %d", p.InUse(), p.Limit())
	}
	if _, ok := p.TryGet(1); ok {
		t.Fatal("TryGet went over the limit")
	}
	a.Release()
	if _, ok := p.TryGet(1); ok {
		t.Fatal("TryGet went over the limit")
	}
	b.Release()
	c, ok := p.TryGet(1024)
	if !ok {
		t.Fatal("TryGet refuses what fits")
	}
	c.Release()
}

func TestAnOversizedBufferIsHadAlone(t *testing.T) {
	p := New(1 << 20)
	small := p.Get(1000)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Acquire(ctx, 8<<20); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("beside another one: %v", err)
	}
	small.Release()
	big, err := p.Acquire(context.Background(), 8<<20)
	if err != nil || len(big.Bytes()) != 8<<20 {
		t.Fatalf("alone: %v", err)
	}
	if _, ok := p.TryGet(1); ok {
		t.Fatal("something else was had beside it")
	}
	big.Release()
	if n := p.InUse(); n != 0 {
		t.Fatalf("%d bytes in use at the end", n)
	}
}

func TestAcquireServesInOrderOfArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(4096)
		hold := p.Get(2048)
		order := make(chan int, 3)
		var wg sync.WaitGroup
		for i, n := range []int{4096, 512, 512} {
			wg.Go(func() {
				b, err := p.Acquire(context.Background(), n)
				if err != nil {
					t.Error(err)
					return
				}
				order <- i
				time.Sleep(time.Second)
				b.Release()
			})
			synctest.Wait()
		}
		if _, ok := p.TryGet(512); ok {
			t.Error("TryGet overtook those who wait")
		}
		hold.Release()
		wg.Wait()
		if got := <-order; got != 0 {
			t.Errorf("number %d overtook the first", got)
		}
		if p.InUse() != 0 {
			t.Errorf("%d in use at the end", p.InUse())
		}
	})
}

func TestWaiterThatLeavesHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(2048)
		hold := p.Get(1024)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		left := make(chan error, 1)
		go func() {
			_, err := p.Acquire(ctx, 2048)
			left <- err
		}()
		synctest.Wait()
		got := make(chan *Buffer, 1)
		go func() {
			b, _ := p.Acquire(context.Background(), 1024)
			got <- b
		}()
		if err := <-left; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		(<-got).Release() // without any release by others
		hold.Release()
		if p.InUse() != 0 {
			t.Errorf("%d in use at the end", p.InUse())
		}
	})
}

func TestLastOwnerEndsTheBuffer(t *testing.T) {
	p := New(1 << 20)
	b := p.Get(100)
	b.Retain().Release()
	if p.InUse() == 0 {
		t.Fatal("gone with an owner left")
	}
	b.Release()
	if p.InUse() != 0 {
		t.Fatal("still counted without owners")
	}
	for name, f := range map[string]func(){"Release": b.Release, "Retain": func() { b.Retain() }} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s after the last release did not panic", name)
				}
			}()
			f()
		}()
	}
	if p.InUse() != 0 {
		t.Fatalf("%d counted after a release too many", p.InUse())
	}
}

// The bytes are given back when nobody uses the whole or a part any more.
func TestAPartOwnsTheWhole(t *testing.T) {
	p := New(1 << 20)
	whole, err := p.Acquire(t.Context(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	part := whole.Part(10, 20)
	part.Bytes()[0] = 7
	if whole.Bytes()[10] != 7 || len(part.Bytes()) != 10 || cap(part.Bytes()) != 10 {
		t.Error("it shows other bytes")
	}
	part.Retain().Release()
	whole.Release()
	if _, ok := p.TryGet(1); ok {
		t.Fatal("the bytes are given away while a part of them has an owner")
	}
	part.Release()
	if p.InUse() != 0 {
		t.Errorf("%d bytes in use without any owner", p.InUse())
	}
	for name, late := range map[string]func(){"Release": part.Release, "Part": func() { whole.Part(0, 1) }} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s after the last release did not panic", name)
				}
			}()
			late()
		}()
	}
}

func TestLimitHoldsUnderContention(t *testing.T) {
	const limit = 1 << 20
	p := New(limit)
	var held, most atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 200 {
				n := rand.IntN(300<<10) + 2
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(2000))*time.Microsecond)
				b, err := p.Acquire(ctx, n)
				cancel()
				if err != nil {
					continue
				}
				now := held.Add(int64(n))
				for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
				}
				mark := byte(rand.IntN(256))
				b.Bytes()[0], b.Bytes()[n-1] = mark, mark
				runtime.Gosched()
				if b.Bytes()[0] != mark || b.Bytes()[n-1] != mark {
					t.Error("two owners of one buffer")
				}
				held.Add(-int64(n))
				b.Release()
			}
		})
	}
	wg.Wait()
	if most.Load() > limit || p.InUse() != 0 {
		t.Fatalf("held %d of %d at most, %d at the end", most.Load(), int64(limit), p.InUse())
	}
}

func BenchmarkAcquire(b *testing.B) {
	p := New(64 << 20)
	b.ReportAllocs()
	for b.Loop() {
		buf, _ := p.Acquire(context.Background(), 2<<20)
		buf.Release()
	}
}
