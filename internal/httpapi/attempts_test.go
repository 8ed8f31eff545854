package httpapi

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

func TestFailedAttemptsAreLimitedPerAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ts, logged := &tokens{}, &kit.Log{}
		st := newStore()
		s := &server{T: t, api: New(Config{Files: st, Index: st, Auth: true, Tokens: ts, Log: slog.New(slog.NewTextHandler(logged, nil)),
			Nodes: func() []raid.NodeInfo { return nil }})}
		good := "Authorization: Bearer " + ts.add(raid.ScopeRead)
		status := func(from string, header ...string) (int, string) {
			w := s.ask("GET", "/nodes", from, "x", header...)
			return w.Code, w.Header().Get("Retry-After")
		}
		for i := range 50 {
			want, after := 401, ""
			if i >= maxAttempts {
				want, after = 429, "6"
			}
			// Each connection has another port.
			if got, wait := status(fmt.Sprintf("192.0.2.7:%d", 1000+i), "Authorization: Bearer x"); got != want || wait != after {
				t.Fatalf("attempt %d: %d, Retry-After %q", i, got, wait)
			}
		}
		if got, _ := status(faraway, good); got != 200 {
			t.Errorf("a good token from an address that is misused: %d", got)
		}
		if got, _ := status(faraway); got != 401 {
			t.Errorf("no token from there: %d", got)
		}
		if got, _ := status("192.0.2.8:1", "Authorization: Bearer x"); got != 401 {
			t.Errorf("from another address: %d", got)
		}
		time.Sleep(attemptEvery)
		for _, want := range []int{401, 429} {
			if got, _ := status(faraway, "Authorization: Bearer x"); got != want {
				t.Errorf("after a while: %d, want %d", got, want)
			}
		}
		if n := strings.Count(logged.String(), "remote=192.0.2.7 "); n != 1 {
			t.Errorf("%d lines of one address within a minute:\n%s", n, logged)
		}
		time.Sleep(quietTime)
		status(faraway, "Authorization: Bearer x")
		if n := strings.Count(logged.String(), "remote=192.0.2.7 "); n != 2 || !strings.Contains(logged.String(), "times=52") {
			t.Errorf("%d lines of one address:\n%s", n, logged)
		}
	})
}

func serveAway(t *testing.T, set ...func(*Config)) *server {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, kit.SeemsFrom("192.0.2.7")(ln), newStore(), set...)
}

func TestTokenIsAskedForBeforeTheBody(t *testing.T) {
	ts := &tokens{}
	s := serveAway(t, withAuth(ts))
	read := ts.add(raid.ScopeRead)
	for header, want := range map[string]int{"": 401, "Authorization: Bearer x\r\n": 401, "Authorization: Bearer " + read + "\r\n": 403} {
		c := s.dial()
		fmt.Fprintf(c, "POST /files?filename=f HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 100000000\r\n%s\r\n", header)
		s.wantError(s.answer(c), want) // http.ReadResponse would return a 100
		c = s.dial()
		fmt.Fprintf(c, "POST /files?filename=f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n%s\r\nsome bytes", header)
		if r := s.answer(c); r.StatusCode != want || !r.Close {
			t.Errorf("%d, close %v", r.StatusCode, r.Close)
		}
	}
	if s.store.count() != 0 {
		t.Error("something was stored")
	}
	r := s.do("POST", "/files?filename=f", strings.NewReader("hello"), "Authorization: Bearer "+ts.add(raid.ScopeWrite))
	if r.StatusCode != 201 {
		t.Errorf("with a good token: %d %s", r.StatusCode, r.body)
	}
}

// made makes a token over REST and returns its text and id.
func (s *server) made(body string) (text, id string) {
	s.Helper()
	r := s.root("POST", "/access-tokens", strings.NewReader(body), isJSON)
	var got struct{ Token, ID string }
	if err := json.Unmarshal(r.body, &got); err != nil || r.StatusCode != 201 || got.Token == "" || r.Header.Get("Cache-Control") != "no-store" {
		s.Fatalf("%d %s", r.StatusCode, r.body)
	}
	return got.Token, got.ID
}

func TestTokensAreMadeListedAndRevoked(t *testing.T) {
	ts := &tokens{}
	s := serve(t, newStore(), withAuth(ts))
	text, id := s.made(`{"name": "Omas Laptop", "scope": "read", "ttl_seconds": 86400}`)
	auth := "Authorization: Bearer " + text
	if r := s.do("GET", "/files", nil, auth); r.StatusCode != 200 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	s.wantError(s.do("GET", "/access-tokens", nil, auth), 403)
	want := `{"tokens":[{"id":"` + id + `","name":"Omas Laptop","scope":"read","state":"active","created":"2026-01-02 03:04:05","expires":"2026-01-03 03:04:05"}]}` + "\n"
	if r := s.root("GET", "/access-tokens", nil); string(r.body) != want {
		t.Errorf("%s", r.body)
	}
	s.wantError(s.root("DELETE", "/access-tokens/nobody00", nil), 404)
	s.wantError(s.root("DELETE", "/access-tokens/"+id, nil, "Sec-Fetch-Site: cross-site"), 403)
	if r := s.root("DELETE", "/access-tokens/"+id, nil); r.StatusCode != 200 || len(r.body) != 0 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if msg := s.wantError(s.do("GET", "/files", nil, auth), 401); !strings.Contains(msg, "revoked") {
		t.Error(msg)
	}
	if r := s.root("GET", "/access-tokens", nil); !strings.Contains(string(r.body), `"state":"revoked"`) {
		t.Errorf("%s", r.body)
	}
	for body, want := range map[string]int{
		``: 400, `{`: 400, `{"name": "x", "scope": "read"} x`: 400, `{"name": "x", "scope": "root"}`: 400, `{"name": "", "scope": "read"}`: 400,
		`{"name": "x", "scope": "read", "ttl": "1h"}`: 400, `{"name": "x", "scope": "read", "ttl_seconds": -1}`: 400,
		`{"name": "x", "scope": "read", "ttl_seconds": 99999999999}`: 400, `{"name": "` + strings.Repeat("x", 5000) + `", "scope": "read"}`: 413,
	} {
		s.wantError(s.root("POST", "/access-tokens", strings.NewReader(body), isJSON), want)
	}
	good := `{"name": "x", "scope": "admin"}`
	s.wantError(s.root("POST", "/access-tokens", strings.NewReader(good), "Content-Type: text/plain"), 415)
	s.wantError(s.root("POST", "/access-tokens", strings.NewReader(good), isJSON, "Sec-Fetch-Site: cross-site"), 403)
	ts.err = raid.ErrPrecondition
	s.wantError(s.root("POST", "/access-tokens", strings.NewReader(good), isJSON), 409)
}

// A secret is shown once, to whoever made the token, and nowhere else.
func TestSecretsAppearNowhere(t *testing.T) {
	ts := &tokens{}
	s := serve(t, newStore(), withAuth(ts))
	text, id := s.made(`{"name": "x", "scope": "read", "ttl_seconds": 86400}`)
	other := (&tokens{}).add(raid.ScopeAdmin)
	var answers strings.Builder
	for round := range 2 {
		for _, shown := range []string{text, other} {
			for _, auth := range []string{"Bearer " + shown, basic("u", shown), shown, "Bearer " + shown + "x"} {
				for _, path := range []string{"/files", "/status", "/metrics", "/nodes", "/access-tokens", "/files/" + shown, "/" + shown, "/access-tokens/" + shown, "/files?limit=" + shown} {
					for _, method := range []string{"GET", "DELETE", "POST"} {
						for _, h := range [][]string{{"Authorization: " + auth}, nil} {
							for _, r := range []reply{s.do(method, path, strings.NewReader(shown), h...), s.root(method, path, strings.NewReader(shown), h...)} {
								fmt.Fprintln(&answers, r.Header, string(r.body))
							}
						}
					}
				}
			}
		}
		if round == 0 {
			s.root("DELETE", "/access-tokens/"+id, nil)
		}
	}
	for _, path := range []string{"/status", "/metrics", "/access-tokens"} {
		answers.Write(s.root("GET", path, nil).body)
	}
	for name, all := range map[string]string{"an answer": answers.String(), "the log": s.logged.String()} {
		for _, shown := range []string{text, other} {
			for _, part := range []string{shown[16:], shown[16:40], basic("u", shown)[6:]} {
				if i := strings.Index(all, part); i >= 0 {
					t.Errorf("a secret is in %s: …%s", name, all[max(0, i-200):i+60])
				}
			}
		}
	}
	if !strings.Contains(s.logged.String(), "REST token refused") || !strings.Contains(s.logged.String(), id) {
		t.Errorf("the log tells nothing:\n%s", s.logged)
	}
}

func TestTokensOfManyRequestsAtOnce(t *testing.T) {
	ts := &tokens{}
	s := serveAway(t, withAuth(ts))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				text := ts.add(raid.ScopeWrite)
				auth := "Authorization: Bearer " + text
				if r := s.do("POST", "/files?filename=f", strings.NewReader("x"), auth); r.StatusCode != 201 {
					t.Errorf("%d %s", r.StatusCode, r.body)
				}
				_ = ts.RevokeToken(t.Context(), text[7:15])
				if r := s.do("GET", "/files", nil, auth); r.StatusCode != 401 && r.StatusCode != 429 {
					t.Errorf("goroutine %d: a revoked token: %d", i, r.StatusCode)
				}
			}
		})
	}
	wg.Wait()
}

func TestHugeAuthorizationIsNotKept(t *testing.T) {
	s := serve(t, newStore(), withAuth(&tokens{}))
	c := s.dial()
	fmt.Fprintf(c, "GET /status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ")
	_, _ = io.WriteString(c, strings.Repeat("x", 200<<10)+"\r\n\r\n")
	if r := s.answer(c); r.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%d", r.StatusCode)
	}
}
