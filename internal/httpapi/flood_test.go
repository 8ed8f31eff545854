package httpapi

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/kit"
)

// slowJoin begins what needs no token and is as long as may be.
const slowJoin = "POST /v1/nodes/join HTTP/1.1\r\nHost: localhost\r\nContent-Length: 15000\r\n\r\n{ "

// A few addresses that send slowly what anybody may send close the port to nobody.
func TestSlowStrangersOnlyPushEachOtherOut(t *testing.T) {
	for _, overTLS := range []bool{false, true} {
		p := servePort(t, portSetup{config: func(c *Config) { c.MaxConns = 20 }})
		open := func(from string) (c net.Conn) {
			if c = p.dialFrom(from); overTLS {
				c = p.handshake(c)
			}
			return c
		}
		upload := open("127.0.0.9")
		io.WriteString(upload, "POST /files?filename=f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhe")
		kit.Eventually(t, "an upload under way", func() bool { return p.api.transfers.InUse() == 1 })
		slow := open("127.0.0.9")
		io.WriteString(slow, slowJoin)
		for range 10 {
			for i := range 5 {
				io.WriteString(open(fmt.Sprintf("127.0.0.%d", 2+i)), slowJoin)
			}
		}
		for i := range 20 {
			start := time.Now()
			c := open([]string{"127.0.0.1", "127.0.0.8"}[i%2])
			io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
			if r := p.answer(c); r.StatusCode != 200 || time.Since(start) > 5*time.Second {
				t.Errorf("TLS %v: %d after %v", overTLS, r.StatusCode, time.Since(start))
			}
			c.Close()
		}
		io.WriteString(upload, "llo")
		if r := p.answer(upload); r.StatusCode != 201 {
			t.Errorf("TLS %v: an upload through the flood: %d %s", overTLS, r.StatusCode, r.body)
		}
		if _, err := io.WriteString(slow, strings.Repeat(" ", 15000-2)); err != nil {
			t.Errorf("TLS %v: %v", overTLS, err)
		}
		if r, want := p.answer(slow), map[bool]int{false: 403, true: 400}[overTLS]; r.StatusCode != want {
			t.Errorf("TLS %v: one slow call of another address: %d, want %d", overTLS, r.StatusCode, want)
		}
	}
}
