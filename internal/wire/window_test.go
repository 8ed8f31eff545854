package wire

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

func TestWindowAdmitsOneHoweverLarge(t *testing.T) {
	w := newWindow(100)
	if !w.tryAcquire(1000) || w.tryAcquire(1) {
		t.Fatal("a window that holds too much admits something, or an empty one does not")
	}
	w.release(1000)
	if !w.tryAcquire(60) || !w.tryAcquire(40) || w.tryAcquire(1) || w.outstanding() != 100 {
		t.Fatalf("%d bytes are out", w.outstanding())
	}
}

func TestWindowBoundsSmallMessagesByNumber(t *testing.T) {
	w := newWindow(1 << 30)
	for i := range windowMessages {
		if !w.tryAcquire(0) {
			t.Fatalf("message %d is refused", i)
		}
	}
	if w.tryAcquire(0) {
		t.Fatal("there is no bound")
	}
}

func TestWindowLetsInInOrderOfArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(100)
		ctx := context.Background()
		for _, n := range []int64{40, 60} {
			if err := w.acquire(ctx, nil, n); err != nil {
				t.Fatal(err)
			}
		}
		order := make(chan int64, 10)
		wait := func(ctx context.Context, n int64) <-chan error {
			done := make(chan error, 1)
			go func() {
				err := w.acquire(ctx, nil, n)
				if err == nil {
					order <- n
				}
				done <- err
			}()
			synctest.Wait()
			return done
		}
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		first := wait(short, 90) // the small ones behind it do not overtake
		second, third := wait(ctx, 30), wait(ctx, 31)
		w.release(40)
		synctest.Wait()
		if len(order) != 0 || w.tryAcquire(1) {
			t.Fatal("somebody overtook")
		}
		time.Sleep(2 * time.Second)
		wantError(t, <-first, raid.ErrExpired)
		if err := <-second; err != nil { // what held it up has left
			t.Fatal(err)
		}
		w.release(60)
		if err := <-third; err != nil {
			t.Fatal(err)
		}
		if a, b := <-order, <-order; a != 30 || b != 31 {
			t.Fatalf("let in %d, then %d", a, b)
		}
		gone := make(chan struct{})
		close(gone)
		wantError(t, w.acquire(ctx, gone, 100), raid.ErrPeerGone)
	})
}

func TestStuckForCountsFromTheLastAcknowledgement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(100)
		time.Sleep(time.Hour)
		if w.stuckFor() != 0 {
			t.Fatal("nothing is out, yet it is stuck")
		}
		w.tryAcquire(10)
		time.Sleep(time.Second)
		w.tryAcquire(10)
		time.Sleep(time.Second)
		if d := w.stuckFor(); d != 2*time.Second {
			t.Fatalf("stuck for %v", d)
		}
		w.release(10)
		time.Sleep(time.Second)
		w.tryAcquire(5)
		w.cancel(5) // nothing was acknowledged
		if d := w.stuckFor(); d != time.Second {
			t.Fatalf("stuck for %v", d)
		}
		w.release(10)
		if w.stuckFor() != 0 || w.outstanding() != 0 {
			t.Fatal("nothing is out")
		}
	})
}
