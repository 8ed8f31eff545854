package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/raidpi/raidpi/internal/peercred"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Limits of internal/httpserver that are seen from outside.
const (
	maxAttempts  = 10              // with a wrong token, which are answered with why
	attemptEvery = 6 * time.Second // one more is
	quietTime    = time.Minute     // in which one line is logged of an address
	writePiece   = 256 << 10       // bytes of a file that are there before its header is sent
	restTime     = 2 * time.Second // for the short rest of a body
	openTime     = 10 * time.Second
	drainTime    = 10 * time.Second
)

// server is an API on a real socket.
type server struct {
	*testing.T
	api    *API
	store  *store
	addr   string
	url    string
	client *http.Client
	local  *http.Client // through the Unix socket
	socket string       // its path
	remote bool         // documented asks through client
	desk   *testRegistrar
	stop   func() error // ends Serve and returns what it returned
	logged *kit.Log
}

// serve starts an API over s; set may change its configuration.
func serve(t *testing.T, s *store, set ...func(*Config)) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, ln, s, set...)
}

func serveOn(t *testing.T, ln net.Listener, s *store, set ...func(*Config)) *server {
	t.Helper()
	logged, d := &kit.Log{}, &testRegistrar{}
	cfg := Config{
		Registrar: d, Change: d.change, Relocations: &moves{}, Scrubs: &testScrubs{}, JoinTokens: &joinTokens{}, CAPEM: []byte("-----BEGIN CERTIFICATE-----\n"),
		Hosts: func() []string { return []string{"controller.local", "192.168.1.10"} }, Port: func() int { return 9000 },
		Files: s, Index: s, Trash: bin{s},
		Nodes: func() []raid.NodeInfo {
			return []raid.NodeInfo{
				{ID: "n1", Kind: raid.Native, State: raid.Up, Seen: true, LastSeen: time.Unix(1e9, 0)},
				{ID: "lab-1", Kind: raid.Lab, State: raid.Suspect},
			}
		},
		Status: func(context.Context) (Status, error) { return Status{Array: "array"}, nil },
		Node: func(_ context.Context, id raid.NodeID) (NodeDetail, error) {
			if id != "n1" {
				return NodeDetail{}, fmt.Errorf("%w: there is no such node", raid.ErrNotFound)
			}
			return NodeDetail{Info: raid.NodeInfo{ID: id, Kind: raid.Native, State: raid.Up}, Files: 3, Unplug: Unplug{Node: id, Safe: true, Text: "go on"}}, nil
		},
		Ready:   func() error { return nil },
		Tokens:  &tokens{},
		Version: "test",
		Peer: func(c net.Conn) (uint32, error) {
			if c == nil { // asked without a network
				return uint32(os.Getuid()), nil
			}
			return peercred.Of(c)
		},
		Log: testLogger(logged),
	}
	for _, f := range set {
		f(&cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	api := New(cfg)
	done := make(chan error, 1)
	socket := listenUnix(t)
	go func() { done <- api.Serve(ctx, ln, socket) }()
	toSocket := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket.Addr().String())
	}}
	tr := &http.Transport{ExpectContinueTimeout: 5 * time.Second}
	srv := &server{T: t, api: api, store: s, addr: ln.Addr().String(), url: "http://" + ln.Addr().String(), logged: logged,
		desk: d, socket: socket.Addr().String(), local: &http.Client{Transport: toSocket, Timeout: time.Minute},
		client: &http.Client{Transport: tr, Timeout: time.Minute}}
	var ended bool
	srv.stop = func() error {
		if ended {
			return nil
		}
		ended = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		toSocket.CloseIdleConnections()
		if err := srv.stop(); err != nil {
			t.Errorf("Serve: %v", err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.open != 0 {
			t.Errorf("%d readers were left open", s.open)
		}
		if n := api.transfers.InUse(); n != 0 {
			t.Errorf("%d transfers were never released", n)
		}
		if n := api.listings.InUse(); n != 0 {
			t.Errorf("%d listings were never released", n)
		}
	})
	return srv
}

func testLogger(to *kit.Log) *slog.Logger {
	return slog.New(slog.NewTextHandler(to, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// listenUnix listens on a Unix socket, whose path has to be short.
func listenUnix(t *testing.T) net.Listener {
	t.Helper()
	dir, err := os.MkdirTemp("", "http")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	ln, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// reply is an answer, read whole.
type reply struct {
	*http.Response
	body []byte
	err  error // of reading the body
}

// do sends a request; header is "Name: value" lines.
func (s *server) do(method, path string, body io.Reader, header ...string) reply {
	s.Helper()
	return s.through(s.client, s.url, method, path, body, header...)
}

// root sends one through the Unix socket.
func (s *server) root(method, path string, body io.Reader, header ...string) reply {
	s.Helper()
	return s.through(s.local, "http://localhost", method, path, body, header...)
}

func (s *server) through(client *http.Client, url, method, path string, body io.Reader, header ...string) reply {
	s.Helper()
	req, err := http.NewRequest(method, url+path, body)
	if err != nil {
		s.Fatal(err)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Content-Length" {
			continue
		}
		req.Header.Add(name, value)
		if name == "Host" {
			req.Host = value
		}
	}
	return s.sendThrough(client, req)
}

func (s *server) send(req *http.Request) reply {
	s.Helper()
	return s.sendThrough(s.client, req)
}

func (s *server) sendThrough(client *http.Client, req *http.Request) reply {
	s.Helper()
	res, err := client.Do(req)
	if err != nil {
		s.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return reply{Response: res, body: b, err: err}
}

// put stores a file and returns its id.
func (s *server) put(name string, data []byte) string {
	s.Helper()
	r := s.do("POST", "/files?filename="+escape(name), bytes.NewReader(data))
	if r.StatusCode != http.StatusCreated {
		s.Fatalf("upload: %d %s", r.StatusCode, r.body)
	}
	return strings.TrimPrefix(r.Header.Get("Location"), "/files/")
}

// wantError checks that an answer is an error as the API promises it, and
// returns its message.
func (s *server) wantError(r reply, status int) string {
	s.Helper()
	if r.StatusCode != status {
		s.Fatalf("status %d, want %d: %s", r.StatusCode, status, r.body)
	}
	if ct := r.Header.Get("Content-Type"); ct != "application/json" {
		s.Errorf("an error of type %q", ct)
	}
	var p map[string]string
	if err := json.Unmarshal(r.body, &p); err != nil || len(p) != 1 || p["message"] == "" {
		s.Errorf("not {\"message\": …}: %s (%v)", r.body, err)
	}
	return p["message"]
}

// raw sends bytes over a connection of its own and returns what came back until
// the server closed it or answered whole.
func (s *server) dial() net.Conn {
	s.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

func escape(s string) string {
	var b strings.Builder
	const hex = "0123456789abcdef"
	for i := range len(s) {
		b.WriteByte('%')
		b.WriteByte(hex[s[i]>>4])
		b.WriteByte(hex[s[i]&15])
	}
	return b.String()
}
