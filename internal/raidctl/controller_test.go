package raidctl

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/service"
)

// controller is a fake of the part of raid-controller that knows its callers. It has a CA of its
// own and is reached over TLS, a Unix socket, and plain HTTP on loopback.
type controller struct {
	ca                    *identity.CA
	token                 string // the one access token that it knows
	https, plain, socket  string
	issued                time.Time // when its certificate was made
	mu                    sync.Mutex
	seen                  []string // "POST /join-tokens {…}"
	shown                 []string // Authorization headers
	before                http.HandlerFunc
	joinToken, accessText string // what it makes
	hosts                 string // of join tokens, JSON
}

func newController(t *testing.T) *controller { return newControllerOf(t, time.Now()) }

func newControllerOf(t *testing.T, issued time.Time) *controller {
	t.Helper()
	ca, err := identity.OpenCA(t.TempDir(), "TIzPgsHtLSx9sOLUYazQs6", rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &controller{ca: ca, issued: issued, token: newAccessToken(t), accessText: newAccessToken(t), hosts: `["controller.local", "192.168.1.10"], "port": 9000`}
	join, err := identity.NewToken(ca.Pin(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.joinToken = join.String()
	dir, err := os.MkdirTemp("", "ctl") // a socket's path is at most 108 bytes long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c.socket = filepath.Join(dir, "s")
	c.https = "https://" + c.serve(t, "tcp", "127.0.0.1:0", c.tls(t), false)
	c.plain = "http://" + c.serve(t, "tcp", "127.0.0.1:0", nil, false)
	c.serve(t, "unix", c.socket, nil, true)
	t.Setenv("RAID_TOKEN", "")
	config := t.TempDir()
	for _, name := range []string{"XDG_CONFIG_HOME", "HOME", "AppData"} {
		t.Setenv(name, config)
	}
	return c
}

func newAccessToken(t *testing.T) string {
	t.Helper()
	_, text, _, err := raid.NewAccessToken(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// pinnedToken is a token that knows its controller.
func (c *controller) pinnedToken(t *testing.T) string {
	t.Helper()
	_, text, _, err := raid.NewPinnedToken(c.ca.Pin().Short(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// tls is as browsers get it, with a certificate that no name fits.
func (c *controller) tls(t *testing.T) *tls.Config {
	t.Helper()
	cert, err := c.ca.IssueHTTPS(identity.Hosts{DNS: []string{"elsewhere.example"}}, c.issued, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
}

// serve returns the address that is served; trusted callers need no token.
func (c *controller) serve(t *testing.T, network, address string, cfg *tls.Config, trusted bool) string {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(c.handler(trusted))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	s.Listener.Close()
	s.Listener = ln
	if cfg != nil {
		s.Listener = tls.NewListener(ln, cfg)
	}
	s.Start()
	t.Cleanup(s.Close)
	return ln.Addr().String()
}

func (c *controller) handler(trusted bool) http.Handler {
	mux := http.NewServeMux()
	answer := func(pattern, text string) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(pattern, "POST") && !strings.Contains(pattern, "rotate") {
				w.WriteHeader(http.StatusCreated)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			io.WriteString(w, strings.NewReplacer("JOIN", c.joinToken, "ACCESS", c.accessText, "HOSTS", c.hosts, "JID", strings.Split(c.joinToken, "-")[2]).Replace(text))
		})
	}
	answer("GET /status", fmt.Sprintf(fakeStatus, true))
	answer("GET /nodes", fakeNodes)
	mux.HandleFunc("GET /nodes/{id}", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, strings.Replace(fakeNodes[strings.Index(fakeNodes, "{\"id"):strings.Index(fakeNodes, "},")], `"zone": "attic"`, `"zone": "attic", "files": 7, "unplug": `+fakeUnplug, 1)+"}")
	})
	mux.HandleFunc("GET /nodes/{id}/unplug", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, fakeUnplug) })
	answer("DELETE /nodes/{id}", "")
	answer("POST /nodes/{id}/rotate", "{}")
	answer("PATCH /nodes/{id}", "{}")
	answer("POST /join-tokens", `{"id": "JID", "token": "JOIN", "uses": 3, "left": 3, "node": "", "expires_in_seconds": 1800, "used_by": [], "hosts": HOSTS}`)
	answer("GET /join-tokens", `{"tokens": [{"id": "k7m2p9qa", "uses": 3, "left": 1, "node": "", "expires_in_seconds": 1799, "used_by": ["pi-2", "pi-3"]},
	 {"id": "abcd2345", "uses": 1, "left": 1, "node": "AbCdEfGhIjKlMnOpQrStUv", "expires_in_seconds": -5, "used_by": []}]}`)
	answer("DELETE /join-tokens/{id}", "")
	answer("POST /access-tokens", `{"id": "x7Kq1234", "name": "laptop", "scope": "write", "state": "active", "created": "2026-01-02 03:04:05", "expires": "2026-02-01 03:04:05", "token": "ACCESS"}`)
	answer("GET /access-tokens", `{"tokens": [{"id": "x7Kq1234", "name": "lap\u001btop", "scope": "write", "state": "active", "created": "2026-01-02 03:04:05", "expires": null}]}`)
	answer("DELETE /access-tokens/{id}", "")
	mux.HandleFunc("GET /ca.pem", func(w http.ResponseWriter, _ *http.Request) { w.Write(c.ca.PEM()) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		c.mu.Lock()
		c.seen = append(c.seen, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(body)))
		c.shown = append(c.shown, r.Header["Authorization"]...)
		token, before := c.token, c.before
		c.mu.Unlock()
		switch {
		case before != nil:
			before(w, r)
		case !trusted && r.URL.Path != "/ca.pem" && r.Header.Get("Authorization") == "":
			refuse(w, http.StatusUnauthorized, "a token is needed here")
		case !trusted && r.URL.Path != "/ca.pem" && r.Header.Get("Authorization") != "Bearer "+token:
			refuse(w, http.StatusUnauthorized, "this token is not valid here")
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// requests are those that came since the last call.
func (c *controller) requests() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.seen
	c.seen = nil
	return s
}

// secrets are the Authorization headers that came so far.
func (c *controller) secrets() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.shown)
}

// invocation is a run of raidctl.
type invocation struct {
	args    []string
	env     []string
	stdin   string
	watched bool
	socket  string    // that of this machine's controller
	clock   time.Time // of this machine; zero: the real one
	built   time.Time // of raidctl
}

func (i invocation) run(t *testing.T) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	a := &app{stdin: strings.NewReader(i.stdin), stdout: &stdout, stderr: &stderr, watched: i.watched,
		getenv: service.Getenv(i.env), defaultSocket: i.socket, defaultURL: "http://127.0.0.1:1", built: i.built}
	if !i.clock.IsZero() {
		a.clock = func() time.Time { return i.clock }
	}
	status := a.run(t.Context(), i.args)
	return result{status, stdout.String(), stderr.String()}
}

func raidctl(t *testing.T, args ...string) result {
	t.Helper()
	return invocation{args: args}.run(t)
}

// local runs raidctl as root on the controller.
func (c *controller) local(t *testing.T, args ...string) result {
	t.Helper()
	return raidctl(t, append(args, "--socket", c.socket)...)
}

// login logs in without a person.
func (c *controller) login(t *testing.T) {
	t.Helper()
	r := invocation{args: []string{"login", c.https, "--fingerprint", c.ca.Pin().Fingerprint(), "--token-file", "-"}, stdin: c.token + "\n"}.run(t)
	r.want(t, 0, "Logged in to array TIzPgsHtLSx9sOLUYazQs6 at "+c.https+".\n")
}

// hides checks that a run told no secret.
func (r result) hides(t *testing.T, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		if strings.Contains(r.stdout, s) || strings.Contains(r.stderr, s) {
			t.Errorf("a secret is shown: %q, %q", r.stdout, r.stderr)
		}
	}
}

// storedLogin is the login file, nil when there is none.
func storedLogin(t *testing.T) map[string]string {
	t.Helper()
	path, err := loginPath()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return nil
	}
	var m map[string]string
	if err != nil || json.Unmarshal(text, &m) != nil {
		t.Fatalf("%v: %q", err, text)
	}
	return m
}

// echoToken answers with what was shown, as a success or as a refusal.
func echoToken(success bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if success {
			fmt.Fprintf(w, `{"array": 7, %q: %q`, token, token)
			return
		}
		w.Header().Set("Location", "https://x/"+token)
		refuse(w, http.StatusTeapot, "you said "+token)
	}
}
