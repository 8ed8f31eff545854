package httpapi

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

// way is one way to the API.
type way struct {
	client *http.Client
	url    string
	from   origin
}

// ways are all ways to two ports: one whose clients are on this machine, and one
// whose clients seem to be elsewhere.
func ways(t *testing.T, config func(*Config)) map[string]way {
	near := servePort(t, portSetup{config: config})
	far := servePort(t, portSetup{config: config, wrap: kit.SeemsFrom("192.0.2.7")})
	return map[string]way{
		"HTTP on this machine":  {near.client, near.url, thisMachine},
		"HTTPS on this machine": {near.https, near.secure, thisMachine},
		"HTTP from elsewhere":   {far.client, far.url, elsewhere},
		"HTTPS from elsewhere":  {far.https, far.secure, elsewhere},
		"HTTPS by a node":       {far.node, far.secure, elsewhere},
		"the Unix socket":       {near.local, "http://localhost", controlSocket},
	}
}

// Each call, with each kind of token and with none, over each kind of connection.
func TestEveryCallAsksForItsScopeAtEveryDoor(t *testing.T) {
	for _, auth := range []bool{true, false} {
		ts := &tokens{}
		good := ts.add(raid.ScopeAdmin)
		shown := map[string]string{
			"none": "", "unknown": (&tokens{}).add(raid.ScopeAdmin), "wrong": good[:59] + string('0'+(good[59]+1)%10),
			"expired": ts.add(raid.ScopeAdmin, func(k *raid.AccessToken) { k.Expired, k.Expires = true, "2026-01-02 03:04:06" }),
			"revoked": ts.add(raid.ScopeAdmin, func(k *raid.AccessToken) { k.Revoked = true }),
			"read":    ts.add(raid.ScopeRead), "write": ts.add(raid.ScopeWrite), "admin": good,
		}
		all := ways(t, func(c *Config) { c.Auth, c.Tokens = auth, ts })
		s := &server{T: t}
		for _, r := range New(Config{}).table() {
			for kind, token := range shown {
				for name, w := range all {
					var header []string
					if token != "" {
						header = []string{"Authorization: Bearer " + token}
					}
					res := s.through(w.client, w.url, r.method, strings.Replace(r.path, "{id}", "999", 1), strings.NewReader("x"), header...)
					status, in := res.StatusCode, fmt.Sprintf("auth %v: %s %s with a token that is %s through %s: %d %s", auth, r.method, r.path, kind, name, res.StatusCode, res.body)
					if status == http.StatusForbidden && refusesByItself(string(res.body)) {
						status = http.StatusOK // the call's own refusal
					}
					want := wanted(needed[r.call], kind, w.from, auth)
					if !refused(status) {
						status = http.StatusOK
					}
					if status == http.StatusTooManyRequests { // many wrong ones of one address
						status = http.StatusUnauthorized
					}
					if status != want {
						t.Errorf("%s; want %d", in, want)
					}
					if res.Header.Get("X-Content-Type-Options") != "nosniff" || res.Header.Get("Content-Security-Policy") == "" {
						t.Errorf("%s: not hardened: %v", in, res.Header)
					}
				}
			}
		}
	}
}

// wanted is the status of a call's refusal, 200 when it is none.
func wanted(need raid.Scope, kind string, from origin, auth bool) int {
	has, isScope := raid.ParseScope(kind)
	switch {
	case need == raid.ScopeNone || !auth && need != raid.ScopeAdmin:
		return http.StatusOK
	case isScope == nil && has >= need:
		return http.StatusOK
	case isScope == nil:
		return http.StatusForbidden
	case kind == "none" && from == controlSocket:
		return http.StatusOK
	case kind == "none" && from == thisMachine && need == raid.ScopeAdmin:
		return http.StatusForbidden
	case kind == "none" && from == thisMachine:
		return http.StatusOK
	}
	return http.StatusUnauthorized
}

// A web page that gives its own name to this machine gets nothing, over TLS too.
func TestReboundNamesAreMisdirected(t *testing.T) {
	for name, w := range ways(t, func(c *Config) { c.Auth, c.Tokens, c.Names = true, &tokens{}, []string{"pi.local"} }) {
		for host, good := range map[string]bool{"localhost:9000": true, "127.0.0.1": true, "pi.local:9000": true, "evil.example:9000": false, "192.168.1.10": false} {
			want := map[origin]int{elsewhere: 401, controlSocket: 200, thisMachine: 421}[w.from]
			if w.from == thisMachine && good {
				want = 200
			}
			s := &server{T: t}
			if r := s.through(w.client, w.url, "GET", "/files", nil, "Host: "+host); r.StatusCode != want {
				t.Errorf("%s as %s: %d, want %d: %s", name, host, r.StatusCode, want, r.body)
			}
		}
	}
}

// A proxy that can reach the socket speaks for anybody.
func TestProxyAtTheSocketIsNotRoot(t *testing.T) {
	s := serve(t, newStore(), withAuth(&tokens{}))
	for _, header := range passedOnHeaders {
		s.wantError(s.root("GET", "/status", nil, header), http.StatusUnauthorized)
		s.wantError(s.root("GET", "/access-tokens", nil, header), http.StatusUnauthorized)
		s.wantError(s.root("DELETE", "/files/1", nil, header), http.StatusUnauthorized)
	}
}

// passedOnHeaders are what proxies add, each alone.
var passedOnHeaders = []string{
	"X-Forwarded-For: 10.0.0.1", "X-Forwarded-Host: x", "X-Forwarded-Proto: https", "x-forwarded-port: 443", "X-FORWARDED-PREFIX: /",
	"X-Forwarded-Server: a", "X-Forwarded-Ssl: on", "X-Forwarded-Anything: ", "X-Forwarded: x", "X_Forwarded_For: 10.0.0.1", "Forwarded: for=10.0.0.1",
	"Via: 1.1 proxy", "X-Real-IP: ", "x-real-ip: 10.0.0.1", "X-Client-IP: 10.0.0.1", "X-Cluster-Client-Ip: 10.0.0.1", "True-Client-IP: 10.0.0.1",
	"CF-Connecting-IP: 10.0.0.1", "X-Original-URI: /", "X-Original-Forwarded-For: 10.0.0.1", "X-Scheme: https", "X-Envoy-External-Address: 10.0.0.1",
	"CDN-Loop: cloudflare", "Tailscale-User-Login: a@b", "Proxy-Connection: keep-alive",
}

// A proxy on this machine makes everybody look local, whichever header it sends.
func TestEveryHeaderOfAProxyCountsAsFromElsewhere(t *testing.T) {
	p := servePort(t, portSetup{config: withAuth(&tokens{})})
	for _, header := range passedOnHeaders {
		for _, w := range []way{{client: p.client, url: p.url}, {client: p.https, url: p.secure}} {
			p.wantError(p.through(w.client, w.url, "GET", "/status", nil, header), http.StatusUnauthorized)
			p.wantError(p.through(w.client, w.url, "DELETE", "/files/1", nil, header), http.StatusUnauthorized)
		}
	}
	for _, header := range []string{"X-Request-Id: 1", "Forward: x", "X-For: x", "User-Agent: Via", "Accept: */*"} {
		if r := p.do("GET", "/status", nil, header); r.StatusCode != 200 {
			t.Errorf("%s: %d", header, r.StatusCode)
		}
	}
}

// Strangers on TCP can't push root off its socket.
func TestFloodLeavesTheSocketAlone(t *testing.T) {
	p := servePort(t, portSetup{config: func(c *Config) { c.MaxConns = 3 }})
	c, err := net.Dial("unix", p.socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 50 {
		p.dial()
	}
	fmt.Fprint(c, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if r := p.answer(c); r.StatusCode != 200 {
		t.Errorf("%d", r.StatusCode)
	}
}

func TestPagesOfOtherOriginsChangeNothing(t *testing.T) {
	ts := &tokens{}
	admin := "Authorization: Bearer " + ts.add(raid.ScopeAdmin)
	for name, w := range ways(t, func(c *Config) { c.Auth, c.Tokens = true, ts }) {
		s := &server{T: t}
		for _, r := range New(Config{}).table() {
			path := strings.Replace(r.path, "{id}", "n1", 1)
			for _, page := range []string{"Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site"} {
				res := s.through(w.client, w.url, r.method, path, strings.NewReader("x"), admin, page)
				if crossed := strings.Contains(string(res.body), "another origin"); crossed != (r.method != "GET") || crossed && res.StatusCode != 403 {
					t.Errorf("%s: %s %s with %s: %d %s", name, r.method, path, page, res.StatusCode, res.body)
				}
			}
			res := s.through(w.client, w.url, r.method, path, strings.NewReader("x"), admin, "Sec-Fetch-Site: same-origin", "Origin: "+w.url)
			if strings.Contains(string(res.body), "another origin") {
				t.Errorf("%s: %s %s by the origin itself: %d %s", name, r.method, path, res.StatusCode, res.body)
			}
		}
	}
}

// What an uploader calls HTML, SVG or XML must not run as a page of the
// controller, nor lend its parts their own headers.
func TestUploadedPagesRunNowhere(t *testing.T) {
	p := servePort(t, portSetup{config: withAuth(&tokens{})})
	for _, ct := range []string{"text/html", "TEXT/HTML; charset=utf-16", "image/svg+xml", "application/xhtml+xml", "text/xml", "application/x-nobody", "text/html;;", "multipart/x-mixed-replace; boundary=b", "Multipart/Related", "application/pdf"} {
		r := p.do("POST", "/files?filename=page", strings.NewReader("<script>alert(1)</script>"), "Content-Type: "+ct)
		path := r.Header.Get("Location")
		for _, h := range []string{"X: y", "Range: bytes=0-3", "Range: bytes=0-1,3-4", "If-None-Match: *"} {
			r := p.through(p.https, p.secure, "GET", path, nil, h)
			csp, kind := r.Header.Get("Content-Security-Policy"), r.Header.Get("Content-Disposition")
			boxed := strings.HasPrefix(csp, "sandbox; default-src 'none'") && !strings.Contains(csp, "allow")
			if r.Header.Get("X-Content-Type-Options") != "nosniff" || !boxed && ct != "application/pdf" || r.Header.Get("Cross-Origin-Resource-Policy") != "same-origin" {
				t.Errorf("%s, %s: %d %v", ct, h, r.StatusCode, r.Header)
			}
			if attached := strings.HasPrefix(kind, "attachment"); attached != strings.HasPrefix(strings.ToLower(ct), "multipart") {
				t.Errorf("%s, %s: %q", ct, h, kind)
			}
		}
	}
}
