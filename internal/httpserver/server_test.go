package httpserver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/raidpi/raidpi/test/kit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site keeps files, as an API does with what is here: POST /files stores a body, GET
// /files/N serves it, DELETE removes it; anybody may ask for /livez.
type site struct {
	stall time.Duration
	hold  chan struct{} // an upload waits for it after its body

	mu      sync.Mutex
	files   map[string][]byte
	stored  int
	deleted int
}

func newSite() *site { return &site{stall: 30 * time.Second, files: map[string][]byte{}} }

// ServeHTTP implements http.Handler.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := NewExchange(w, r, s.stall, 0)
	err := s.answer(&x)
	var e *Error
	switch {
	case err == nil:
	case x.Status() != 0:
		panic(http.ErrAbortHandler)
	case errors.As(err, &e):
		clear(x.Header())
		_ = x.SendJSON(e.Status, map[string]string{"message": e.Message})
	default:
		clear(x.Header())
		_ = x.SendJSON(http.StatusInternalServerError, map[string]string{"message": err.Error()})
	}
}

func (s *site) answer(x *Exchange) error {
	if x.Request.URL.Path == "/livez" {
		x.LimitBody()
		return x.SendJSON(http.StatusOK, "live")
	}
	MarkAuthorized(x.Request)
	switch x.Request.Method {
	case http.MethodPost:
		return s.upload(x)
	case http.MethodDelete:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.deleted++
		return x.SendNothing()
	}
	s.mu.Lock()
	data, found := s.files[x.Request.URL.Path]
	s.mu.Unlock()
	if !found {
		return Errorf(http.StatusNotFound, "there is no such file")
	}
	return x.ServeContent(contentOf(data, wholeReader{bytes.NewReader(data)}))
}

func (s *site) upload(x *Exchange) error {
	body, err := x.Body()
	if err != nil {
		return err
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	if s.hold != nil {
		<-s.hold
	}
	s.mu.Lock()
	s.stored++
	path := fmt.Sprintf("/files/%d", s.stored)
	s.files[path] = data
	s.mu.Unlock()
	x.Header().Set("Location", path)
	return x.SendJSON(http.StatusCreated, path)
}

// count is how many files there are.
func (s *site) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.files)
}

// contentOf is a file whose contents are read from r.
func contentOf(data []byte, r io.ReadSeekCloser) Content {
	return Content{
		Name: "f", Type: "a/b", Size: int64(len(data)), SHA256: sha256.Sum256(data),
		Enter: func(context.Context) (func(), error) { return func() {}, nil },
		Open:  func(context.Context) (io.ReadSeekCloser, error) { return r, nil },
	}
}

// wholeReader has WriteN, as readers of the array have.
type wholeReader struct{ *bytes.Reader }

func (w wholeReader) WriteN(to io.Writer, n int64) (int64, error) { return io.CopyN(to, w.Reader, n) }
func (wholeReader) Close() error                                  { return nil }

// server is a site behind a Listener that speaks HTTP and HTTPS.
type server struct {
	*testing.T
	site        *site
	addr        string
	url, secure string
	client      *http.Client
	https       *http.Client
	trust       *x509.CertPool
	logged      *kit.Log
	stop        func() error // ends Serve and returns what it returned
}

// setup says how a server differs from the usual.
type setup struct {
	site     *site
	wrap     func(net.Listener) net.Listener
	listener func(*ListenerConfig)
	config   func(*Config)
}

func serve(t *testing.T, set setup) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if set.wrap != nil {
		ln = set.wrap(ln)
	}
	own, trust := kit.Certificate()
	s := &server{T: t, site: set.site, trust: trust, logged: &kit.Log{}}
	log := slog.New(slog.NewTextHandler(s.logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg := ListenerConfig{TLS: portTLS(own), Log: log}
	if set.listener != nil {
		set.listener(&cfg)
	}
	if s.site == nil {
		s.site = newSite()
	}
	s.serveOn(NewListener(ln, cfg), Config{Handler: s.site, Log: log}, set.config)
	return s
}

func (s *server) serveOn(ln net.Listener, cfg Config, set func(*Config)) {
	if set != nil {
		set(&cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, cfg, ln) }()
	s.stop = sync.OnceValue(func() error { cancel(); return <-done })
	s.addr = ln.Addr().String()
	s.url, s.secure = "http://"+s.addr, "https://"+s.addr
	plain := &http.Transport{}
	secure := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.trust}}
	s.client, s.https = &http.Client{Transport: plain, Timeout: time.Minute}, &http.Client{Transport: secure, Timeout: time.Minute}
	s.Cleanup(func() {
		plain.CloseIdleConnections()
		secure.CloseIdleConnections()
		if err := s.stop(); err != nil {
			s.Errorf("Serve: %v", err)
		}
	})
}

// portTLS is what is spoken with TLS.
func portTLS(own tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own}, NextProtos: []string{"http/1.1"},
		SessionTicketsDisabled: true, DynamicRecordSizingDisabled: true,
	}
}

// reply is an answer, read whole.
type reply struct {
	*http.Response
	body []byte
}

func (s *server) ask(client *http.Client, url, method, path string, body io.Reader) reply {
	s.Helper()
	req, err := http.NewRequest(method, url+path, body)
	if err != nil {
		s.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		s.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return reply{res, b}
}

// dial connects without TLS.
func (s *server) dial() net.Conn {
	s.Helper()
	return s.dialFrom("127.0.0.1")
}

// dialFrom connects from an address of this machine, 127.0.0.2 and so on.
func (s *server) dialFrom(from string) net.Conn {
	s.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	c, err := d.Dial("tcp", s.addr)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// handshake makes TLS on a connection.
func (s *server) handshake(c net.Conn) *tls.Conn {
	s.Helper()
	t := tls.Client(c, &tls.Config{RootCAs: s.trust, ServerName: "127.0.0.1"})
	if err := t.Handshake(); err != nil {
		s.Fatal(err)
	}
	return t
}

// answer reads an answer off a connection.
func (s *server) answer(c net.Conn) reply {
	s.Helper()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		s.Fatalf("no answer: %v", err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return reply{res, b}
}

// message is the text of an error.
func message(r reply) string {
	var p struct{ Message string }
	if err := json.Unmarshal(r.body, &p); err != nil || r.Header.Get("Content-Type") != "application/json" {
		return "no error: " + string(r.body)
	}
	return p.Message
}

const live = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
