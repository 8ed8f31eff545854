package client

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/identity"
)

const secret = "raidpi_AAAAAAAA_secret"

// secure is a controller of a CA over TLS. It counts what comes.
type secure struct {
	*httptest.Server
	ca       *identity.CA
	requests atomic.Int64
	last     atomic.Pointer[http.Request]
}

func newSecure(t *testing.T, answer http.HandlerFunc) *secure {
	t.Helper()
	ca, err := identity.OpenCA(t.TempDir(), "0123456789abcdefghijkl", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// For a name that nobody uses.
	cert, err := ca.IssueHTTPS(identity.Hosts{DNS: []string{"elsewhere.example"}}, time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &secure{ca: ca}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		s.last.Store(r)
		answer(w, r)
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	s.StartTLS()
	t.Cleanup(s.Server.Close)
	return s
}

func ready(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"array": "A", "ready": true}`) }

func connected(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestPinnedControllerIsTakenUnderAnyNameAndClock(t *testing.T) {
	s := newSecure(t, ready)
	pin := s.ca.Pin()
	for _, url := range []string{s.URL, strings.Replace(s.URL, "127.0.0.1", "localhost", 1)} {
		c := connected(t, Config{URL: url, Pin: &pin, Token: secret})
		if st, err := c.Status(t.Context()); err != nil || st.Array != "A" {
			t.Errorf("%s: %v", url, err)
		}
		if got := s.last.Load().Header.Get("Authorization"); got != "Bearer "+secret {
			t.Errorf("shown was %q", got)
		}
	}
}

func TestOtherControllersGetNoRequest(t *testing.T) {
	s := newSecure(t, ready)
	other := newSecure(t, ready)
	want := other.ca.Pin()
	c := connected(t, Config{URL: s.URL, Pin: &want, Token: secret})
	for range 2 {
		_, err := c.Status(t.Context())
		var wrong *WrongControllerError
		if !errors.As(err, &wrong) || wrong.Want != want || wrong.Got != s.ca.Pin() || wrong.URL != s.URL || !errors.Is(err, identity.ErrWrongPin) {
			t.Errorf("%v", err)
		}
		if strings.Contains(fmt.Sprint(err), secret) {
			t.Error("the token is in the error")
		}
	}
	if _, err := c.Upload(t.Context(), Upload{Filename: "f", Body: strings.NewReader("x"), Size: 1}); !errors.Is(err, identity.ErrWrongPin) {
		t.Error(err)
	}
	// Without a pin the machine's certificate authorities decide.
	c = connected(t, Config{URL: s.URL, Token: secret})
	_, err := c.Status(t.Context())
	var untrusted *UntrustedError
	if !errors.As(err, &untrusted) || untrusted.URL != s.URL {
		t.Error(err)
	}
	if n := s.requests.Load(); n != 0 {
		t.Errorf("%d requests came", n)
	}
}

func TestTokenNeverLeavesThisMachineInPlain(t *testing.T) {
	for _, url := range []string{"http://192.0.2.1:9000", "http://pi:9000", "http://localhost.example.org", "http://127.0.0.1.example.org", "http://0.0.0.0:9000", "http://[::]:9000", "http://[fe80::1%25eth0]"} {
		if c, err := New(Config{URL: url, Token: secret}); !errors.Is(err, ErrPlainToken) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v, %v", url, c, err)
		}
	}
	// Whatever a name resolves to, the connection decides.
	for address, ok := range map[string]bool{"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "192.0.2.1:1": false, "[fe80::1%lo]:1": false, "x": false} {
		if err := onlyLoopback("tcp", address, nil); (err == nil) != ok || !ok && !errors.Is(err, ErrPlainToken) {
			t.Errorf("%s: %v", address, err)
		}
	}
	var shown string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = r.Header.Get("Authorization")
		ready(w, r)
	}))
	defer s.Close()
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:1")
	for _, url := range []string{s.URL, strings.Replace(s.URL, "127.0.0.1", "LOCALHOST", 1)} {
		c := connected(t, Config{URL: url, Token: secret})
		if _, err := c.Status(t.Context()); err != nil || shown != "Bearer "+secret {
			t.Errorf("%s: %v, %q", url, err, shown)
		}
	}
}

func TestTokenIsNotPassedOnAndNotTold(t *testing.T) {
	s := newSecure(t, nil)
	other := newSecure(t, ready)
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", other.URL+"/"+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	pin := s.ca.Pin()
	c := connected(t, Config{URL: s.URL, Pin: &pin, Token: secret})
	_, err := c.Status(t.Context())
	if StatusOf(err) != http.StatusTemporaryRedirect || strings.Contains(err.Error(), secret) || other.requests.Load() != 0 {
		t.Error(err)
	}
	for _, bad := range []string{"a b", "a\nb", "ü", "a\x00"} {
		if _, err := New(Config{URL: s.URL, Token: bad}); err == nil || strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, bad := range []string{"https://me:" + secret + "@pi", "http://:" + secret + "@pi:9000", secret + "@pi", "https://me:" + secret + "@pi:port"} {
		if _, err := New(Config{URL: bad}); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%v", err)
		}
	}
}

func TestSocketNeedsNoTokenAndNoName(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var host, shown string
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, shown = r.Host, r.Header.Get("Authorization")
		ready(w, r)
	})}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	c := connected(t, Config{Socket: path, Token: secret})
	if _, err := c.Status(t.Context()); err != nil || host != "localhost" || shown != "" {
		t.Errorf("%v, host %q, shown %q", err, host, shown)
	}
	c.Close()
	s.Close()
	<-done
	_, err = c.Status(t.Context())
	var u *UnreachableError
	if !errors.As(err, &u) || u.URL != path || !errors.Is(err, syscall.ENOENT) {
		t.Errorf("%v", err)
	}
	pin := identity.Pin{1}
	for _, cfg := range []Config{{Socket: path, URL: "http://x"}, {Socket: path, Pin: &pin}, {URL: "http://127.0.0.1", Pin: &pin}} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v is accepted", cfg)
		}
	}
}

func TestProbeSeesTheCAAndSendsNothing(t *testing.T) {
	s := newSecure(t, ready)
	seen, err := Probe(t.Context(), s.URL, time.Now)
	if err != nil || seen.Pin != s.ca.Pin() || seen.Array != "0123456789abcdefghijkl" || s.requests.Load() != 0 {
		t.Errorf("%+v, %v", seen, err)
	}
	stranger := httptest.NewUnstartedServer(http.HandlerFunc(ready))
	stranger.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	stranger.StartTLS()
	defer stranger.Close()
	if _, err := Probe(t.Context(), stranger.URL, time.Now); !errors.Is(err, identity.ErrStranger) {
		t.Errorf("a stranger: %v", err)
	}
	plain := httptest.NewServer(http.HandlerFunc(ready))
	if _, err := Probe(t.Context(), "https"+strings.TrimPrefix(plain.URL, "http"), time.Now); !errors.Is(err, errNotOurs) {
		t.Errorf("plain HTTP: %v", err)
	}
	plain.Close()
	var u *UnreachableError
	if _, err := Probe(t.Context(), plain.URL, time.Now); !errors.As(err, &u) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody: %v", err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Probe(ctx, "https://"+silent.Addr().String(), time.Now); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silent: %v", err)
	}
}

func TestCAIsTheConnectionsOwn(t *testing.T) {
	var text []byte
	s := newSecure(t, func(w http.ResponseWriter, _ *http.Request) { w.Write(text) })
	other := newSecure(t, ready)
	text = s.ca.PEM()
	pin := s.ca.Pin()
	c := connected(t, Config{URL: s.URL, Pin: &pin})
	if got, p, err := c.CA(t.Context()); err != nil || p != pin || string(got) != string(text) {
		t.Errorf("%s, %v", got, err)
	}
	for _, bad := range []string{"", "x", string(other.ca.PEM()), string(s.ca.PEM()) + string(other.ca.PEM()), strings.Replace(string(s.ca.PEM()), "M", "N", 1)} {
		text = []byte(bad)
		if got, _, err := c.CA(t.Context()); !errors.Is(err, errNotOurs) || got != nil {
			t.Errorf("%q: %q, %v", bad, got, err)
		}
	}
	c = connected(t, Config{URL: "http://192.0.2.1:9000"})
	if _, _, err := c.CA(t.Context()); !errors.Is(err, ErrUnproved) {
		t.Error(err)
	}
}

func TestWhatMakesATokenIsSentOnce(t *testing.T) {
	var n atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		n.Add(1)
		panic(http.ErrAbortHandler)
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	defer s.Close()
	c := connected(t, Config{URL: s.URL})
	if _, err := c.CreateJoinToken(t.Context(), 1, time.Minute, "", ""); err == nil || n.Load() != 1 {
		t.Errorf("%d requests, %v", n.Load(), err)
	}
}
