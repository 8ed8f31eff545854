package httpapi

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

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
	kit.Eventually(s, "its share is taken", func() bool { return s.api.transfers.InUse() == 16 })
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
