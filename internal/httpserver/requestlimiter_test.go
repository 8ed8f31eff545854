package httpserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func asks(token string, last byte) Caller {
	from := netip.AddrFrom4([4]byte{192, 168, 1, last})
	return Caller{token, from, from}
}

// asks6 is somebody without a token in an IPv6 network.
func asks6(host string) Caller {
	from := netip.MustParseAddr(host)
	return Caller{"", from, network(from)}
}

// takeAll takes places for a caller until there is none at once.
func takeAll(t *testing.T, p *RequestLimiter, c Caller) (release []func()) {
	t.Helper()
	for {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // who would have to wait does not
		r, err := p.Enter(ctx, c)
		if err != nil {
			return release
		}
		release = append(release, r)
		if len(release) > 1000 {
			t.Fatal("there is no limit")
		}
	}
}

func TestEachCallerHasAShareOfThePlaces(t *testing.T) {
	for name, c := range map[string]struct {
		most    int
		callers []Caller
		want    []int
	}{
		"one alone has what is configured":       {64, []Caller{asks("a", 1)}, []int{64}},
		"others find some":                       {64, []Caller{asks("a", 1), asks("b", 2), asks("c", 3), asks("", 4), asks("d", 5)}, []int{64, 4, 2, 1, 1}},
		"one token from many addresses":          {64, []Caller{asks("a", 1), asks("a", 2), asks("a", 3), asks("b", 4)}, []int{64, 0, 0, 4}},
		"many tokens from one address":           {64, []Caller{asks("a", 1), asks("b", 1), asks("c", 1), asks("d", 1), asks("e", 2)}, []int{64, 4, 0, 0, 2}},
		"without a token the address counts":     {64, []Caller{asks("", 1), asks("", 1), asks("", 2)}, []int{64, 0, 4}},
		"machines of one IPv6 network":           {64, []Caller{asks6("fe80::1"), asks6("fe80::2"), asks6("fe80::3"), asks6("fd00::3")}, []int{64, 4, 0, 2}},
		"through a proxy tokens are told apart":  {64, []Caller{asks("a", 1), asks("b", 1)}, []int{64, 4}},
		"few places":                             {2, []Caller{asks("a", 1), asks("a", 1), asks("b", 2), asks("c", 3)}, []int{2, 0, 1, 0}},
		"one place":                              {1, []Caller{asks("a", 1), asks("b", 2)}, []int{1, 1}},
		"a token and none from the same address": {8, []Caller{asks("a", 1), asks("", 1)}, []int{8, 1}},
	} {
		p := NewRequestLimiter("transfers", c.most, time.Minute)
		var got []int
		var release []func()
		for _, who := range c.callers {
			mine := takeAll(t, p, who)
			got = append(got, len(mine))
			release = append(release, mine...)
		}
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		for _, r := range release {
			r()
			r() // once is enough
		}
		if p.InUse() != 0 || len(p.held) != 0 || len(p.from) != 0 || len(p.waiting) != 0 {
			t.Errorf("%s: %d are still taken, by %v and %v", name, p.InUse(), p.held, p.from)
		}
	}
}

func TestWhoHoldsTheFewestComesNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewRequestLimiter("transfers", 8, time.Minute)
		busy, other := asks("a", 1), asks("b", 2)
		held := takeAll(t, p, busy)
		held = append(held, takeAll(t, p, other)...)
		var order []string
		var mu sync.Mutex
		var all sync.WaitGroup
		wait := func(c Caller) {
			all.Go(func() {
				release, err := p.Enter(t.Context(), c)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				order = append(order, c.token)
				mu.Unlock()
				time.Sleep(time.Second)
				release()
			})
			synctest.Wait()
		}
		for _, c := range []Caller{busy, busy, asks("c", 3), other, asks("c", 3)} {
			wait(c)
		}
		for _, release := range held {
			release()
			synctest.Wait()
		}
		all.Wait()
		if got := strings.Join(order, ""); !strings.HasPrefix(got, "c") || strings.Index(got, "b") > strings.Index(got, "a") {
			t.Errorf("they came in the order %s", got)
		}
		if p.InUse() != 0 || len(p.waiting) != 0 {
			t.Error("a place is lost")
		}
	})
}

func TestWaitingHasAnEndAndALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewRequestLimiter("transfers", 4, 10*time.Second)
		held := takeAll(t, p, asks("a", 1))
		ask := func(ctx context.Context, c Caller) error {
			release, err := p.Enter(ctx, c)
			if err == nil {
				release()
			}
			return err
		}
		ctx, cancel := context.WithCancel(t.Context())
		results := make(chan error, 3)
		go func() { results <- ask(ctx, asks("a", 1)) }()
		go func() { results <- ask(t.Context(), asks("a", 1)) }()
		synctest.Wait()
		start := time.Now()
		var f *Error
		if err := ask(t.Context(), asks("a", 1)); !errors.As(err, &f) || f.Status != http.StatusServiceUnavailable || time.Since(start) != 0 {
			t.Errorf("the third that would wait: %v after %v", err, time.Since(start))
		}
		cancel()
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("one whose client has left: %v", err)
		}
		if err := <-results; !errors.As(err, &f) || f.Header.Get("Retry-After") != "1" || time.Since(start) != 10*time.Second {
			t.Errorf("at the end: %v after %v", err, time.Since(start))
		}
		go func() { results <- ask(t.Context(), asks("a", 1)) }()
		synctest.Wait()
		held[0]()
		if err := <-results; err != nil {
			t.Errorf("its turn has come: %v", err)
		}
		for _, r := range held {
			r()
		}
		if p.InUse() != 0 || len(p.waiting) != 0 {
			t.Errorf("%d taken, %d wait", p.InUse(), len(p.waiting))
		}
	})
}
