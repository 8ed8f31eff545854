package httpserver

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestAttemptsOfManyAddressesTakeBoundedMemoryAndLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a RateLimiter
		lines := 0
		for i := range 50_000 {
			addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			if wait, n := a.Fail(addr); wait != 0 {
				t.Fatalf("address %v has to wait %v", addr, wait)
			} else if n > 0 {
				lines++
			}
			a.Fail(netip.MustParseAddr("192.0.2.1")) // who goes on is not forgotten
		}
		if len(a.byAddr) != maxFailingClients || a.recent.Len() != maxFailingClients || lines > maxLines {
			t.Errorf("%d addresses, %d in order, %d lines", len(a.byAddr), a.recent.Len(), lines)
		}
		if wait, _ := a.Fail(netip.MustParseAddr("192.0.2.1")); wait == 0 {
			t.Error("forgotten")
		}
	})
}

func TestWhatIsLoggedOfAnAddressIsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a RateLimiter
		addr := netip.MustParseAddr("192.0.2.1")
		if n := a.LogOncePerMinute(addr); n != 1 {
			t.Errorf("the first is %d", n)
		}
		for range 10 * maxAttempts {
			if n := a.LogOncePerMinute(addr); n != 0 {
				t.Fatalf("%d within a minute", n)
			}
		}
		if wait, n := a.Fail(addr); wait != 0 || n != 0 {
			t.Errorf("a failed attempt then: %v, %d", wait, n)
		}
		time.Sleep(quietTime)
		if n := a.LogOncePerMinute(addr); n != 10*maxAttempts+2 {
			t.Errorf("a minute later: %d", n)
		}
	})
}
