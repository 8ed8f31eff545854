package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

func TestUnknownPathsAndMethodsAreJSON(t *testing.T) {
	s := serve(t, newStore())
	for _, path := range []string{"/", "/file", "/files/", "/files//", "/files/1/", "/files/1/info/", "/files/1/x", "//files", "/files/../status", "/Files", "/index.html", "/%00"} {
		s.wantError(s.do("GET", path, nil), http.StatusNotFound)
	}
	for _, c := range [][3]string{
		{"PUT", "/files", "GET, HEAD, POST"}, {"DELETE", "/files", "GET, HEAD, POST"}, {"POST", "/files/1", "DELETE, GET, HEAD"},
		{"PATCH", "/files/1", "DELETE, GET, HEAD"}, {"DELETE", "/files/1/info", "GET, HEAD"}, {"OPTIONS", "/status", "GET, HEAD"},
		{"TRACE", "/nodes", "GET, HEAD"}, {"POST", "/metrics", "GET, HEAD"}, {"BREW", "/livez", "GET, HEAD"},
	} {
		r := s.do(c[0], c[1], nil)
		s.wantError(r, http.StatusMethodNotAllowed)
		if r.Header.Get("Allow") != c[2] {
			t.Errorf("%v: Allow %q", c, r.Header.Get("Allow"))
		}
	}
	if r := s.do("HEAD", "/nowhere", nil); r.StatusCode != 404 || len(r.body) != 0 || r.ContentLength <= 0 {
		t.Errorf("HEAD: %d, %q", r.StatusCode, r.body)
	}
	c := s.dial()
	io.WriteString(c, "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n")
	s.wantError(s.answer(c), http.StatusNotFound)
}

func TestSmallCallsAnswer(t *testing.T) {
	ready := errors.New("waiting for nodes")
	s := serve(t, newStore(), func(c *Config) { c.Ready = func() error { return ready } })
	s.wantError(s.do("GET", "/readyz", nil), http.StatusServiceUnavailable)
	if r := s.do("GET", "/status", nil); !strings.Contains(string(r.body), `"ready":false,"message":"waiting for nodes"`) {
		t.Errorf("%s", r.body)
	}
	ready = nil
	for path, want := range map[string]string{
		"/livez": `{"status":"live"}`, "/readyz": `{"status":"ready"}`, "/openapi.yaml": "openapi: 3.0.3",
		"/status":  `"ready":true,"message":"","health":"healthy","health_text":"","uptime_seconds":0,"nodes":{"up":1,"suspect":1,"down":0,"draining":0,"lab":1}`,
		"/nodes":   `"last_seen":"2001-09-09 01:46:40","recalled":false},{"id":"lab-1","name":"","kind":"lab","state":"suspect","address":"","zone":"","proposed_zone":"","total_bytes":0,"free_bytes":0,"claimed_bytes":0,"chunks":0,"version":"","read_only":false,"trash_chunks":0,"trash_bytes":0,"bad_chunks":0,"last_scrub":null,"wear":null,"temperature":null,"power":null,"draining":false,"drain":"","replaced":false,"successor":"","problem":"","last_seen":null,"recalled":false}`,
		"/metrics": `raid_http_requests_total{call="readyz",status="503"} 1`,
	} {
		if r := s.do("GET", path, nil); r.StatusCode != 200 || !strings.Contains(string(r.body), want) {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.body)
		}
		if r := s.do("HEAD", path, nil); r.StatusCode != 200 || len(r.body) != 0 {
			t.Errorf("HEAD %s: %d", path, r.StatusCode)
		}
	}
}

func TestMetricsCountBytesAndBrokenAnswers(t *testing.T) {
	st := newStore()
	s := serve(t, st)
	id := s.put("f", kit.Data(1_000_000))
	s.do("GET", "/files/"+id, nil)
	st.readErr, st.readFrom = raid.ErrCorrupt, 600_000
	s.do("GET", "/files/"+id, nil)
	r := s.do("GET", "/metrics", nil)
	for _, want := range []string{
		`raid_http_requests_total{call="upload",status="201"} 1`, `raid_http_requests_total{call="download",status="200"} 1`,
		`raid_http_requests_total{call="download",status="aborted"} 1`, `raid_http_received_bytes_total{call="upload"} 1e+06`,
		`raid_http_sent_bytes_total{call="download"} 1.6e+06`, `raid_http_request_seconds_count{call="download"} 2`, `raid_http_transfers_in_flight 0`,
	} {
		if !strings.Contains(string(r.body), want) {
			t.Errorf("no %s in\n%s", want, r.body)
		}
	}
}

// A request with a body where none belongs must not confuse the connection.
func TestBodiesOfOtherCallsAreReadOver(t *testing.T) {
	s := serve(t, newStore(), func(c *Config) { c.Stall = 400 * time.Millisecond })
	id := s.put("f", kit.Data(1000))
	c := s.dial()
	in := bufio.NewReader(c)
	for range 2 {
		fmt.Fprintf(c, "GET /files/%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", id)
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, _ := io.ReadAll(res.Body); !bytes.Equal(b, kit.Data(1000)) || res.Close {
			t.Errorf("%d bytes, close %v", len(b), res.Close)
		}
	}
	// One that never comes costs the connection, and nothing else.
	c = s.dial()
	fmt.Fprintf(c, "GET /files/%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhe", id)
	if r := s.answer(c); !bytes.Equal(r.body, kit.Data(1000)) || !r.Close {
		t.Errorf("%d bytes, close %v", len(r.body), r.Close)
	}
}

func TestPanicIs500AndTheServerGoesOn(t *testing.T) {
	st := newStore()
	st.onRead = func(context.Context, int64) { panic("boom") }
	s := serve(t, st)
	id := s.put("f", kit.Data(100))
	for _, ranges := range []string{"bytes=0-", "bytes=1-2,5-6"} {
		msg := s.wantError(s.do("GET", "/files/"+id, nil, "Range: "+ranges), http.StatusInternalServerError)
		if strings.Contains(msg, "boom") || !strings.Contains(s.logged.String(), "boom") {
			t.Errorf("message %q, log %s", msg, s.logged)
		}
	}
	if r := s.do("GET", "/livez", nil); r.StatusCode != 200 {
		t.Errorf("afterwards: %d", r.StatusCode)
	}
}

func TestPanicWhileAFileIsOpenedKeepsNoPlace(t *testing.T) {
	st := newStore()
	st.wrap = func(*memReader) io.ReadSeekCloser {
		st.open-- // under its lock
		panic("boom")
	}
	s := serve(t, st)
	id := s.put("f", kit.Data(100))
	for _, ranges := range []string{"bytes=0-", "bytes=1-2,5-6"} {
		s.wantError(s.do("GET", "/files/"+id, nil, "Range: "+ranges), http.StatusInternalServerError)
		if n := s.api.transfers.InUse(); n != 0 {
			t.Errorf("%s: %d places are taken", ranges, n)
		}
	}
}

func TestServeFinishesRequestsBeforeItEnds(t *testing.T) {
	st := newStore()
	st.hold = make(chan struct{})
	s := serve(t, st)
	done := make(chan reply)
	go func() { done <- s.do("POST", "/files?filename=f", strings.NewReader("x")) }()
	for deadline := time.Now().Add(10 * time.Second); s.api.transfers.InUse() == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	ended := make(chan error)
	go func() { ended <- s.stop() }()
	time.Sleep(50 * time.Millisecond)
	close(st.hold)
	if r := <-done; r.StatusCode != 201 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestServeCutsOffWhatDoesNotFinish(t *testing.T) {
	st := newStore()
	st.hold = make(chan struct{}) // never closed
	s := serve(t, st, func(c *Config) { c.Drain = 100 * time.Millisecond })
	done := make(chan struct{})
	go func() {
		defer close(done)
		if res, err := s.client.Post(s.url+"/files?filename=f", "", strings.NewReader("x")); err == nil {
			res.Body.Close()
		}
	}()
	idle := s.dial()
	for deadline := time.Now().Add(10 * time.Second); s.api.transfers.InUse() == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	start := time.Now()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	st.mu.Lock()
	if st.aborted != 1 {
		t.Error("Serve returned while an upload was still ending")
	}
	st.mu.Unlock()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	<-done
	if _, err := idle.Read(make([]byte, 1)); err == nil {
		t.Error("an idle connection outlived the server")
	}
	if st.count() != 0 {
		t.Error("a file was stored for nobody")
	}
}

func TestServeReportsAListenerThatFails(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	st := newStore()
	api := New(Config{Files: st, Index: st, Log: slog.New(slog.DiscardHandler)})
	if err := api.Serve(context.Background(), ln); err == nil {
		t.Error("no error")
	}
}
