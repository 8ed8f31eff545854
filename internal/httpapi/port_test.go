package httpapi

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

func TestOnePortSpeaksHTTPAndHTTPS(t *testing.T) {
	p := servePort(t, portSetup{})
	data := kit.Data(3_000_000)
	for name, c := range map[string]*http.Client{"http": p.client, "https": p.https, "node": p.node} {
		url := p.secure
		if name == "http" {
			url = p.url
		}
		for range 2 { // the second on the same connection
			r := p.through(c, url, "POST", "/files?filename=f", bytes.NewReader(data))
			if r.StatusCode != 201 || r.Proto != "HTTP/1.1" || (r.TLS != nil) != (name != "http") {
				t.Fatalf("%s: %d %s %s", name, r.StatusCode, r.Proto, r.body)
			}
			if r = p.through(c, url, "GET", r.Header.Get("Location"), nil); !bytes.Equal(r.body, data) {
				t.Errorf("%s: %d, %d bytes", name, r.StatusCode, len(r.body))
			}
		}
	}
}

// Most clients read only when all is written, over TLS too.
func TestRefusedClientReadsItsAnswerOverTLS(t *testing.T) {
	st := newStore()
	st.uploadErr = fmt.Errorf("%w: no node has room", raid.ErrArrayFull)
	p := servePort(t, portSetup{store: st})
	c := p.handshake(p.dial())
	io.WriteString(c, "POST /files?filename=f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 52428800\r\n\r\n")
	if _, err := c.Write(make([]byte, 50<<20)); err != nil {
		t.Fatal(err)
	}
	p.wantError(p.answer(c), http.StatusInsufficientStorage)
}

func TestReaderThatStandsStillIsCutOverTLS(t *testing.T) {
	const size = 24 << 20 // more than sockets buffer
	st := newStore()
	st.files[1] = stored{File: raid.File{ID: 1, Filename: "f", ContentType: "a/b", Size: size}, data: make([]byte, size)}
	p := servePort(t, portSetup{store: st, config: func(c *Config) { c.Stall = 300 * time.Millisecond }})
	c := p.handshake(p.dial())
	io.WriteString(c, "GET /files/1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
	kit.Eventually(t, "the answer is given up", func() bool {
		st.mu.Lock()
		defer st.mu.Unlock()
		return st.opened == 1 && st.open == 0
	})
	if b, _ := io.ReadAll(c); len(b) >= size {
		t.Error("all was sent")
	}
}

// Serve ends with all goroutines, whatever its connections are doing.
func TestServeEndsInTheMiddleOfEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	p := servePort(t, portSetup{config: func(c *Config) { c.Drain = 100 * time.Millisecond }})
	for _, said := range []string{"", "\x16", "\x16\x03\x01\x00\xf0", "GET / HTTP", "POST /files?filename=f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"} {
		for range 10 {
			io.WriteString(p.dial(), said)
		}
	}
	for range 10 {
		io.WriteString(p.handshake(p.dial()), "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
	}
	kit.Eventually(t, "uploads under way", func() bool { return p.api.transfers.InUse() == 10 })
	start := time.Now()
	if err := p.stop(); err != nil || time.Since(start) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	kit.Eventually(t, "its goroutines to end", func() bool { return runtime.NumGoroutine() <= before+2 })
}
