package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

func asks(token string, last byte) caller {
	from := netip.AddrFrom4([4]byte{192, 168, 1, last})
	return caller{token, from, from}
}

// asks6 is somebody without a token in an IPv6 network.
func asks6(host string) caller {
	from := netip.MustParseAddr(host)
	return caller{"", from, network(from)}
}

// takeAll takes places for a caller until there is none at once.
func takeAll(t *testing.T, p *places, c caller) (release []func()) {
	t.Helper()
	for {
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // who would have to wait does not
		r, err := p.enter(ctx, c)
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
		callers []caller
		want    []int
	}{
		"one alone has what is configured":       {64, []caller{asks("a", 1)}, []int{64}},
		"others find some":                       {64, []caller{asks("a", 1), asks("b", 2), asks("c", 3), asks("", 4), asks("d", 5)}, []int{64, 4, 2, 1, 1}},
		"one token from many addresses":          {64, []caller{asks("a", 1), asks("a", 2), asks("a", 3), asks("b", 4)}, []int{64, 0, 0, 4}},
		"many tokens from one address":           {64, []caller{asks("a", 1), asks("b", 1), asks("c", 1), asks("d", 1), asks("e", 2)}, []int{64, 4, 0, 0, 2}},
		"without a token the address counts":     {64, []caller{asks("", 1), asks("", 1), asks("", 2)}, []int{64, 0, 4}},
		"machines of one IPv6 network":           {64, []caller{asks6("fe80::1"), asks6("fe80::2"), asks6("fe80::3"), asks6("fd00::3")}, []int{64, 4, 0, 2}},
		"through a proxy tokens are told apart":  {64, []caller{asks("a", 1), asks("b", 1)}, []int{64, 4}},
		"few places":                             {2, []caller{asks("a", 1), asks("a", 1), asks("b", 2), asks("c", 3)}, []int{2, 0, 1, 0}},
		"one place":                              {1, []caller{asks("a", 1), asks("b", 2)}, []int{1, 1}},
		"a token and none from the same address": {8, []caller{asks("a", 1), asks("", 1)}, []int{8, 1}},
	} {
		p := newPlaces("transfers", c.most, time.Minute)
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
		if p.inUse() != 0 || len(p.held) != 0 || len(p.from) != 0 || len(p.waiting) != 0 {
			t.Errorf("%s: %d are still taken, by %v and %v", name, p.inUse(), p.held, p.from)
		}
	}
}

func TestWhoHoldsTheFewestComesNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces("transfers", 8, time.Minute)
		busy, other := asks("a", 1), asks("b", 2)
		held := takeAll(t, p, busy)
		held = append(held, takeAll(t, p, other)...)
		var order []string
		var mu sync.Mutex
		var all sync.WaitGroup
		wait := func(c caller) {
			all.Go(func() {
				release, err := p.enter(t.Context(), c)
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
		for _, c := range []caller{busy, busy, asks("c", 3), other, asks("c", 3)} {
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
		if p.inUse() != 0 || len(p.waiting) != 0 {
			t.Error("a place is lost")
		}
	})
}

func TestWaitingHasAnEndAndALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces("transfers", 4, 10*time.Second)
		held := takeAll(t, p, asks("a", 1))
		ask := func(ctx context.Context, c caller) error {
			release, err := p.enter(ctx, c)
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
		var f *failure
		if err := ask(t.Context(), asks("a", 1)); !errors.As(err, &f) || f.status != http.StatusServiceUnavailable || time.Since(start) != 0 {
			t.Errorf("the third that would wait: %v after %v", err, time.Since(start))
		}
		cancel()
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("one whose client has left: %v", err)
		}
		if err := <-results; !errors.As(err, &f) || f.header.Get("Retry-After") != "1" || time.Since(start) != 10*time.Second {
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
		if p.inUse() != 0 || len(p.waiting) != 0 {
			t.Errorf("%d taken, %d wait", p.inUse(), len(p.waiting))
		}
	})
}

// Slow clients of one token hold all that it can get; whoever else comes is served
// meanwhile, and at once.
func TestSlowDownloadsOfOneTokenStarveNobodyElse(t *testing.T) {
	ts := &tokens{}
	st := newStore()
	st.files[99] = stored{File: raid.File{ID: 99, Filename: "f", ContentType: "a/b", Size: 64 << 20, Stripes: 1}, data: make([]byte, 64<<20)}
	st.files[98] = stored{File: raid.File{ID: 98, Filename: "g", ContentType: "a/b", Size: 1, Stripes: 1}, data: []byte("x")}
	s := serve(t, st, withAuth(ts), func(c *Config) { c.MaxRequests, c.Wait = 16, 100*time.Millisecond })
	greedy, other := ts.add(raid.ScopeRead), ts.add(raid.ScopeWrite)
	for range 30 {
		c := s.dial()
		c.(*net.TCPConn).SetReadBuffer(4 << 10)
		fmt.Fprintf(c, "GET /files/99 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", greedy)
	}
	s.eventually("its share is taken", func() bool { return s.api.transfers.inUse() == 16 })
	s.wantError(s.do("GET", "/files/98", nil, "Authorization: Bearer "+greedy), http.StatusServiceUnavailable)
	for range 3 {
		for name, header := range map[string][]string{"another token": {"Authorization: Bearer " + other}, "a program here": nil} {
			began := time.Now()
			for _, r := range []reply{
				s.do("GET", "/files/98", nil, header...), s.do("POST", "/files?filename=f", strings.NewReader("x"), header...),
				s.do("GET", "/files?limit=1", nil, header...), s.do("GET", "/status", nil, header...),
			} {
				if r.StatusCode >= 300 {
					t.Errorf("%s: %d %s", name, r.StatusCode, r.body)
				}
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("%s: after %v", name, took)
			}
		}
	}
	if r := s.do("DELETE", "/files/98", nil); r.StatusCode != 200 {
		t.Errorf("a delete: %d", r.StatusCode)
	}
}
