package httpapi

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// tokens is Tokens in memory.
type tokens struct {
	mu  sync.Mutex
	all []raid.AccessToken
	err error // of making one
}

func (s *tokens) Token(id string) (raid.AccessToken, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.index(id); i >= 0 {
		return s.all[i], true
	}
	return raid.AccessToken{}, false
}

func (s *tokens) index(id string) int {
	return slices.IndexFunc(s.all, func(k raid.AccessToken) bool { return k.ID == id })
}

func (s *tokens) Tokens() []raid.AccessToken {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

func (s *tokens) CreateToken(_ context.Context, k raid.AccessToken, life time.Duration) (raid.AccessToken, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := cmp.Or(s.err, raid.CheckAccessName(k.Name)); err != nil {
		return k, err
	}
	k.Created = "2026-01-02 03:04:05"
	if life > 0 {
		k.Expires = "2026-01-03 03:04:05"
	}
	s.all = append(s.all, k)
	return k, nil
}

func (s *tokens) RevokeToken(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.index(id)
	if i < 0 {
		return raid.ErrNotFound
	}
	s.all[i].Revoked = true
	return nil
}

// add makes a token and returns its text.
func (s *tokens) add(scope raid.Scope, change ...func(*raid.AccessToken)) string {
	id, text, sum, err := raid.NewAccessToken(rand.Reader)
	if err != nil {
		panic(err)
	}
	k := raid.AccessToken{ID: id, Name: "x", Scope: scope, SHA256: sum, Created: "2026-01-02 03:04:05"}
	for _, f := range change {
		f(&k)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, k)
	return text
}

func withAuth(ts *tokens) func(*Config) {
	return func(c *Config) { c.Auth, c.Tokens = true, ts }
}

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

const faraway = "192.0.2.7:40000"

// ask asks a handler without a network; header is "Name: value" lines.
func (s *server) ask(method, path, from, host string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader("x"))
	r.RemoteAddr, r.Host = from, host
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	s.api.Handler().ServeHTTP(w, r)
	return w
}

func refused(status int) bool {
	return slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusMisdirectedRequest, http.StatusTooManyRequests}, status)
}

// needed says what each call asks for, apart from what its route says.
var needed = map[string]raid.Scope{
	"upload": raid.ScopeWrite, "list": raid.ScopeRead, "download": raid.ScopeRead, "delete": raid.ScopeWrite, "info": raid.ScopeRead,
	"scrub": raid.ScopeRead, "changeScrub": raid.ScopeAdmin,
	"events": raid.ScopeRead, "undelete": raid.ScopeWrite, "trash": raid.ScopeRead, "emptyTrash": raid.ScopeWrite,
	"nodes": raid.ScopeRead, "status": raid.ScopeRead, "livez": raid.ScopeNone, "readyz": raid.ScopeNone, "metrics": raid.ScopeRead,
	"openapi": raid.ScopeRead, "tokens": raid.ScopeAdmin, "createToken": raid.ScopeAdmin, "revokeToken": raid.ScopeAdmin,
	"joinTokens": raid.ScopeAdmin, "createJoinToken": raid.ScopeAdmin, "revokeJoinToken": raid.ScopeAdmin,
	"removeNode": raid.ScopeAdmin, "changeNode": raid.ScopeAdmin, "rotateNode": raid.ScopeAdmin, "drainNode": raid.ScopeAdmin, "undrainNode": raid.ScopeAdmin, "replaceNode": raid.ScopeAdmin,
	"ca": raid.ScopeNone, "join": raid.ScopeNone, "renew": raid.ScopeNone, "leave": raid.ScopeNone,
	"node": raid.ScopeRead, "unplug": raid.ScopeRead,
}

// refusesByItself tells an answer that is not about tokens.
func refusesByItself(body string) bool { return strings.Contains(body, " TLS ") }

func TestEveryCallAsksForItsScope(t *testing.T) {
	ts := &tokens{}
	s := serve(t, newStore(), withAuth(ts))
	unknown := (&tokens{}).add(raid.ScopeAdmin)
	good := ts.add(raid.ScopeAdmin)
	shown := map[string]string{
		"none": "", "unknown": unknown, "wrong": good[:59] + string('0'+(good[59]+1)%10), "no token": "hello",
		"expired": ts.add(raid.ScopeAdmin, func(k *raid.AccessToken) { k.Expired, k.Expires = true, "2026-01-02 03:04:06" }),
		"revoked": ts.add(raid.ScopeAdmin, func(k *raid.AccessToken) { k.Revoked = true }),
		"read":    ts.add(raid.ScopeRead), "write": ts.add(raid.ScopeWrite), "admin": good,
	}
	messages := map[string]string{
		"none": "a token is needed here", "unknown": "this token is not valid here", "wrong": "this token is not valid here",
		"no token": "this token is not valid here", "expired": "this token has expired, at 2026-01-02 03:04:06 UTC", "revoked": "this token has been revoked",
	}
	calls := 0
	try := func(need raid.Scope, method, path, kind, header string) {
		calls++
		from := fmt.Sprintf("10.%d.%d.1:1", calls/250, calls%250) // so that no limit is met
		var headers []string
		if header != "" {
			headers = []string{"Authorization: " + header}
		}
		w := s.ask(method, path, from, "example.org", headers...)
		has, isScope := raid.ParseScope(kind)
		switch {
		case need == raid.ScopeNone || isScope == nil && has >= need:
			if refused(w.Code) && !refusesByItself(w.Body.String()) {
				t.Errorf("%s %s with %s: %d %s", method, path, kind, w.Code, w.Body)
			}
		case isScope == nil:
			if w.Code != http.StatusForbidden || !strings.Contains(w.Header().Get("WWW-Authenticate"), `scope="`+need.String()+`"`) {
				t.Errorf("%s %s with %s: %d %s", method, path, kind, w.Code, w.Body)
			}
		default:
			challenges := w.Header()["Www-Authenticate"]
			if w.Code != http.StatusUnauthorized || len(challenges) != 2 || !strings.HasPrefix(challenges[0], "Bearer ") ||
				!strings.HasPrefix(challenges[1], "Basic ") || !strings.Contains(w.Body.String(), messages[kind]) && method != http.MethodHead {
				t.Errorf("%s %s with %s: %d %q %s", method, path, kind, w.Code, challenges, w.Body)
			}
		}
	}
	for _, r := range s.api.table() {
		need, listed := needed[r.call]
		if !listed || r.scope != need || r.open != (need == raid.ScopeNone) {
			t.Errorf("%s has scope %v, open %v; this test says %v", r.call, r.scope, r.open, need)
		}
		for kind, text := range shown {
			path := strings.Replace(r.path, "{id}", "999", 1)
			for _, m := range slices.Compact([]string{r.method, strings.Replace(r.method, "GET", "HEAD", 1)}) {
				if text == "" {
					try(need, m, path, kind, "")
					continue
				}
				for _, header := range []string{"Bearer " + text, "bearer  " + text, basic("", text), basic("any:one"[:3], text)} {
					try(need, m, path, kind, header)
				}
			}
		}
	}
}

// A route that somebody forgets to give a scope serves nobody.
func TestRouteWithoutScopeIsClosed(t *testing.T) {
	ts := &tokens{}
	s := serve(t, newStore(), withAuth(ts))
	s.api.routes.paths["/nodes"].methods["GET"].scope = raid.ScopeNone
	if w := s.ask("GET", "/nodes", faraway, "x", "Authorization: Bearer "+ts.add(raid.ScopeAdmin)); w.Code != http.StatusForbidden {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestThisMachineNeedsNoTokenUnderItsOwnNames(t *testing.T) {
	ts := &tokens{}
	s := serve(t, newStore(), withAuth(ts), func(c *Config) { c.Names = []string{"Pi.local", "192.168.1.10"} })
	for host, want := range map[string]int{
		"localhost": 200, "LOCALHOST:9000": 200, "localhost.:9000": 200, "127.0.0.1:9000": 200, "127.8.8.8": 200, "[::1]:9000": 200, "[::1]": 200,
		"[::ffff:127.0.0.1]:1": 200, "pi.local:9000": 200, "pi.local.": 200, "192.168.1.10:9000": 200,
		"evil.example": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example:9000": 421, "192.168.1.11": 421, "0.0.0.0:9000": 421,
		"": 421, ":9000": 421, ".": 421, "[": 421, "[localhost]:x]": 421, "pi.local@evil": 421, strings.Repeat("x", 5000): 421,
	} {
		for _, from := range []string{"127.0.0.1:5", "127.3.4.5:5", "[::1]:5", "[::ffff:127.0.0.1]:5"} {
			if w := s.ask("GET", "/status", from, host); w.Code != want || want == 421 && !strings.Contains(w.Body.String(), "names under [http]") {
				t.Errorf("from %s as %.50q: %d %.100s, want %d", from, host, w.Code, w.Body, want)
			}
			if w := s.ask("GET", "/access-tokens", from, host); w.Code != max(want, 403) || want == 200 && !strings.Contains(w.Body.String(), "sudo raidctl") {
				t.Errorf("tokens from %s as %.50q: %d %.100s", from, host, w.Code, w.Body)
			}
		}
	}
	for _, path := range []string{"/livez", "/readyz"} {
		if w := s.ask("GET", path, "127.0.0.1:5", "evil.example"); w.Code != 200 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	// What is shown is checked, and with a good one every name will do.
	if w := s.ask("GET", "/status", "127.0.0.1:5", "localhost", "Authorization: Bearer x"); w.Code != 401 {
		t.Errorf("a wrong token on this machine: %d", w.Code)
	}
	if w := s.ask("GET", "/status", "127.0.0.1:5", "evil.example", "Authorization: Bearer "+ts.add(raid.ScopeRead)); w.Code != 200 {
		t.Errorf("a good token under another name: %d", w.Code)
	}
	for _, from := range []string{faraway, "[2001:db8::1]:5", "[fe80::1%eth0]:5", "10.0.0.1:5", "", "@", "0.0.0.0:1", "[::ffff:10.0.0.1]:5"} {
		if w := s.ask("GET", "/status", from, "localhost"); w.Code != 401 {
			t.Errorf("from %q: %d", from, w.Code)
		}
	}
	// Whoever asks through a proxy on this machine may be anywhere.
	for _, header := range []string{"X-Forwarded-For: 10.0.0.1", "Forwarded: for=10.0.0.1", "Via: 1.1 proxy", "X-Real-IP: ", "X-Forwarded-Host: x"} {
		if w := s.ask("GET", "/status", "127.0.0.1:5", "localhost", header); w.Code != 401 {
			t.Errorf("with %s: %d", header, w.Code)
		}
	}
}

func TestWithoutAuthOnlyTokensAreGuarded(t *testing.T) {
	ts := &tokens{}
	s := serve(t, newStore(), func(c *Config) {
		c.Tokens, c.Names, c.Hosts = ts, []string{"files.example"}, func() []string { return []string{"controller.local", "192.168.1.10"} }
	})
	for _, r := range s.api.table() {
		path := strings.Replace(r.path, "{id}", "999", 1)
		guarded := r.scope == raid.ScopeAdmin
		for _, header := range [][]string{nil, {"Authorization: Bearer wrong"}} {
			for _, host := range []string{"192.168.1.10:9000", "10.0.0.7", "[2001:db8::1]:9000", "Controller.local:9000", "files.example", "localhost"} {
				if w := s.ask(r.method, path, faraway, host, header...); (w.Code == 401 || w.Code == 429) != guarded || w.Code == 421 {
					t.Errorf("%s %s as %s: %d", r.method, path, host, w.Code)
				}
			}
			// A web page's own name for this machine is none of its names.
			for _, host := range []string{"evil.example", "192.168.1.10.evil.example:9000"} {
				if w := s.ask(r.method, path, faraway, host, header...); w.Code != 421 && !guarded && !r.open {
					t.Errorf("%s %s as %s: %d", r.method, path, host, w.Code)
				}
			}
		}
		if w := s.ask(r.method, path, "127.0.0.1:1", "evil.example"); (w.Code == 421) == r.open {
			t.Errorf("%s %s on this machine: %d", r.method, path, w.Code)
		}
	}
	if w := s.ask("GET", "/access-tokens", faraway, "x", "Authorization: Bearer "+ts.add(raid.ScopeAdmin)); w.Code != 200 {
		t.Errorf("with a token: %d", w.Code)
	}
}

func TestStrangeAuthorizationIs401(t *testing.T) {
	ts := &tokens{}
	s := serve(t, newStore(), withAuth(ts))
	good := ts.add(raid.ScopeAdmin)
	for i, lines := range [][]string{
		{""}, {"Bearer"}, {"Bearer "}, {good}, {"Digest username=x"}, {"Basic"}, {"Basic !!"}, {"Basic " + base64.StdEncoding.EncodeToString([]byte(good))},
		{"Bearer " + good, "Bearer " + good}, {"Bearer " + good + ",x"}, {"Bearer\t" + good}, {"Bearer " + good + " x"}, {basic(good, "")},
		{"Bearer " + good + strings.Repeat(" ", 70_000)}, {basic(strings.Repeat("x", 70_000), good)},
	} {
		var header []string
		for _, l := range lines {
			header = append(header, "Authorization: "+l)
		}
		if w := s.ask("GET", "/status", fmt.Sprintf("127.0.0.%d:1", i+1), "localhost", header...); w.Code != 401 {
			t.Errorf("%.80q: %d %s", lines, w.Code, w.Body)
		}
	}
}

func FuzzAuthorization(f *testing.F) {
	ts := &tokens{}
	good := ts.add(raid.ScopeAdmin)
	api := New(Config{Auth: true, Tokens: ts})
	f.Add("Bearer " + good)
	f.Add(basic("u", good))
	f.Add(basic("", ""))
	f.Add("Bearer raidpi_00000000_")
	f.Add("Basic ")
	f.Add("\x00 ")
	f.Fuzz(func(t *testing.T, header string) {
		k, wrong := api.findToken([]string{header})
		if wrong == "" {
			text, ok := credentials([]string{header})
			if !ok || text != good || k.ID == "" {
				t.Errorf("%q is taken for a token", header)
			}
		} else if k != (raid.AccessToken{}) || strings.Contains(wrong, good) {
			t.Errorf("%q: %+v, %s", header, k, wrong)
		}
	})
}
