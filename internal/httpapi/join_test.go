package httpapi

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

const joinBody = `{"protocol": 1, "version": "0.2", "token": "ABCD2345", "csr": "Y3Ny", "proof": "cHJvb2Y=", "node": "n7", "name": "pi-2"}`

const certificateBody = `{"array":"array","node":"%s","certificate":"ZGVy","ca":"Y2E=","store_port":1,"response_port":2,"request_port":3,"nodes_up":4,"nodes":5}` + "\n"

func TestNodesJoinOverTLSWithoutAToken(t *testing.T) {
	p := servePort(t, portSetup{config: withAuth(&tokens{}), wrap: kit.SeemsFrom("192.168.1.7")})
	for name, c := range map[string]*http.Client{"join": p.https, "join again": p.node} {
		r := p.through(c, p.secure, "POST", "/v1/nodes/join", strings.NewReader(joinBody))
		if r.StatusCode != 200 || string(r.body) != fmt.Sprintf(certificateBody, "n7") || r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.body)
		}
	}
	want := raid.JoinRequest{Protocol: 1, Version: "0.2", Token: "ABCD2345", CSR: []byte("csr"), Proof: []byte("proof"), Node: "n7", Name: "pi-2", Remote: "192.168.1.7:5"}
	if got := fmt.Sprintf("%+v", p.desk.joins[0]); got != fmt.Sprintf("%+v", want) {
		t.Errorf("the desk got %s", got)
	}
	// The proof is of this very connection.
	c := p.handshake(p.dial())
	fmt.Fprintf(c, "POST /v1/nodes/join HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(joinBody), joinBody)
	p.answer(c)
	mine := c.ConnectionState()
	a, err := mine.ExportKeyingMaterial("label", nil, 32)
	b, err2 := p.desk.state.ExportKeyingMaterial("label", nil, 32)
	if err != nil || err2 != nil || string(a) != string(b) {
		t.Errorf("the desk sees another connection: %v, %v", err, err2)
	}
	for name, r := range map[string]reply{
		"HTTP": p.do("POST", "/v1/nodes/join", strings.NewReader(joinBody)), "the Unix socket": p.root("POST", "/v1/nodes/join", strings.NewReader(joinBody)),
	} {
		if text := p.wantError(r, 403); !strings.Contains(text, "https://") || len(p.desk.joins) != 3 {
			t.Errorf("%s: %s", name, text)
		}
	}
}

func TestWhatNodesAreToldWhenTheyCantJoin(t *testing.T) {
	p := servePort(t, portSetup{wrap: kit.SeemsFrom("192.168.1.7")})
	for err, want := range map[error]int{
		raid.ErrUnauthorized: 401, raid.ErrForbidden: 403, raid.ErrPrecondition: 409, raid.ErrUpgrade: 426, raid.ErrInvalid: 400,
		raid.ErrNoSpace: 507, raid.ErrCatalogBroken: 503, fmt.Errorf("unforeseen"): 500,
		raid.ErrGone: 410, fmt.Errorf("%w: %w", raid.ErrUnauthorized, raid.ErrGone): 410, fmt.Errorf("%w: %w", raid.ErrForbidden, raid.ErrGone): 410,
	} {
		p.desk.err = fmt.Errorf("%w: why and what to do", err)
		for path, body := range map[string]string{"join": joinBody, "renew": `{"csr": "Y3Ny"}`, "leave": `{"force": false}`} {
			r := p.through(p.node, p.secure, "POST", "/v1/nodes/"+path, strings.NewReader(body))
			if text := p.wantError(r, want); want != 500 && !strings.Contains(text, "why and what to do") {
				t.Errorf("%s: %s", path, text)
			}
			if (r.Header.Get("WWW-Authenticate") != "") != (want == 401) || (r.Header.Get("Upgrade") != "") != (want == 426) {
				t.Errorf("%s: %d %v", path, want, r.Header)
			}
		}
	}
}

func TestFailedJoinsAreLimitedAndGoodOnesAreNot(t *testing.T) {
	p := servePort(t, portSetup{wrap: kit.SeemsFrom("192.168.1.7")})
	join := func() reply {
		return p.through(p.https, p.secure, "POST", "/v1/nodes/join", strings.NewReader(joinBody))
	}
	p.desk.err = fmt.Errorf("%w: unknown", raid.ErrUnauthorized)
	for i := range 2 * maxAttempts {
		want := 401
		if i >= maxAttempts {
			want = 429
		}
		p.wantError(join(), want)
	}
	if n := strings.Count(p.logged.String(), "Join token refused"); n != 1 {
		t.Errorf("%d lines", n)
	}
	p.desk.err = nil
	if r := join(); r.StatusCode != 200 {
		t.Errorf("a good one: %d", r.StatusCode)
	}
}

// A stranger needs no token to be refused, and must not fill the log with it.
func TestRefusalsOfStrangersAreLoggedNowAndThen(t *testing.T) {
	p := servePort(t, portSetup{wrap: kit.SeemsFrom("192.168.1.7"), config: func(c *Config) {
		c.Auth, c.Tokens, c.Ready = true, &tokens{}, func() error { return errors.New("waiting") }
	}})
	join := func(want int) {
		t.Helper()
		p.wantError(p.through(p.https, p.secure, "POST", "/v1/nodes/join", strings.NewReader(joinBody)), want)
	}
	for err, want := range map[error]int{raid.ErrUpgrade: 426, raid.ErrForbidden: 403, raid.ErrPrecondition: 409, raid.ErrInvalid: 400, raid.ErrCatalogBroken: 503, errors.New("odd"): 500} {
		p.desk.err = fmt.Errorf("%w: why", err)
		for range 10 {
			join(want)
			p.wantError(p.through(p.https, p.secure, "GET", "/readyz", nil), 503)
		}
	}
	if n := strings.Count(p.logged.String(), "level=INFO") + strings.Count(p.logged.String(), "level=WARN"); n != 1 {
		t.Errorf("%d lines:\n%s", n, p.logged)
	}
	p.desk.err = raid.ErrUnauthorized // none of these was a guess, nor hides one
	join(401)
	if !strings.Contains(p.logged.String(), "Join token refused") {
		t.Errorf("the guess is not logged:\n%s", p.logged)
	}
}

func TestOnlyNodesWithACertificateRenewAndLeave(t *testing.T) {
	p := servePort(t, portSetup{wrap: kit.SeemsFrom("192.168.1.7")})
	for path, body := range map[string]string{"/v1/nodes/renew": `{"csr": "Y3Ny"}`, "/v1/nodes/leave": `{"force": true}`} {
		for name, r := range map[string]reply{
			"HTTP": p.do("POST", path, strings.NewReader(body)), "the Unix socket": p.root("POST", path, strings.NewReader(body)),
			"HTTPS": p.through(p.https, p.secure, "POST", path, strings.NewReader(body)),
		} {
			if text := p.wantError(r, 403); !strings.Contains(text, "certificate") {
				t.Errorf("%s: %s", name, text)
			}
		}
	}
	if p.desk.csr != nil || p.desk.ordered.Force {
		t.Error("the desk was asked")
	}
	r := p.through(p.node, p.secure, "POST", "/v1/nodes/renew", strings.NewReader(`{"csr": "Y3Ny"}`))
	if string(r.body) != fmt.Sprintf(certificateBody, "n1") || string(p.desk.csr) != "csr" || len(p.desk.state.PeerCertificates) != 1 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	r = p.through(p.node, p.secure, "POST", "/v1/nodes/leave", strings.NewReader(`{"force": true, "lose": 3}`))
	if string(r.body) != "{}\n" || p.desk.ordered != (raid.RemoveOrder{Force: true, Lose: 3}) {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

func TestBadCallsOfNodesAreRefused(t *testing.T) {
	p := servePort(t, portSetup{})
	change := func(old, new string) string { return strings.Replace(joinBody, old, new, 1) }
	for body, want := range map[string]int{
		"": 400, "{": 400, "[]": 400, joinBody + "x": 400, change(`1,`, `0,`): 400, change(`1,`, `"1",`): 400, change(`"Y3Ny"`, `"§"`): 400,
		change("ABCD2345", ""): 400, change("ABCD2345", strings.Repeat("x", 65)): 400, change("n7", ""): 400, change("n7", "a\\nb"): 400,
		change("pi-2", strings.Repeat("x", 256)): 400, change("pi-2", "\\u001b[2J"): 400, change("pi-2", "\xff"): 400,
		change("Y3Ny", strings.Repeat("AAAA", maxJoin/4)): 413, change("pi-2", ""): 200, change("}", `, "later": [1, 2]}`): 200,
	} {
		r := p.through(p.https, p.secure, "POST", "/v1/nodes/join", strings.NewReader(body))
		if r.StatusCode != want {
			t.Errorf("%.80s: %d, want %d: %s", body, r.StatusCode, want, r.body)
		}
	}
	for path, body := range map[string]string{"renew": `{"csr": "Y3Ny", "x": 1}`, "leave": `{"forced": true}`} {
		p.wantError(p.through(p.node, p.secure, "POST", "/v1/nodes/"+path, strings.NewReader(body)), 400)
	}
}

func TestJoinTokensAreMadeListedAndRevoked(t *testing.T) {
	s := serve(t, newStore())
	r := s.root("POST", "/join-tokens", strings.NewReader(`{"uses": 3, "ttl_seconds": 1800, "node": "n1"}`), isJSON)
	row := `"uses":3,"left":3,"node":"n1","zone":"","replaces":"","expires_in_seconds":1800,"used_by":[]`
	want := `{"id":"ID000000",` + row + `,"token":"RAID1-PINPINPINPINPINPINPINPIN00-ID000000-` + joinSecret + `-CHEK","hosts":["controller.local","192.168.1.10"],"port":9000}` + "\n"
	if r.StatusCode != 201 || string(r.body) != want || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := s.root("GET", "/join-tokens", nil); string(r.body) != `{"tokens":[{"id":"ID000000",`+row+"}]}\n" {
		t.Errorf("%s", r.body)
	}
	if r := s.root("POST", "/join-tokens", strings.NewReader(`{}`), isJSON); !strings.Contains(string(r.body), `"uses":1,"left":1,"node":"","zone":"","replaces":"","expires_in_seconds":1800,`) {
		t.Errorf("%s", r.body)
	}
	for body, want := range map[string]int{`{"uses": 0}`: 400, `{"ttl_seconds": -1}`: 400, `{"ttl_seconds": 99999999999}`: 400, `{"use": 1}`: 400, ``: 400} {
		s.wantError(s.root("POST", "/join-tokens", strings.NewReader(body), isJSON), want)
	}
	s.wantError(s.root("POST", "/join-tokens", strings.NewReader(`{}`)), 415)
	s.wantError(s.root("DELETE", "/join-tokens/nobody", nil), 404)
	if r := s.root("DELETE", "/join-tokens/ID000000", nil); r.StatusCode != 200 || len(r.body) != 0 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	s.api.cfg.JoinTokens.(*joinTokens).err = fmt.Errorf("%w: there are 1000", raid.ErrPrecondition)
	s.wantError(s.root("POST", "/join-tokens", strings.NewReader(`{}`), isJSON), 409)
	// Somebody who takes the whole token for its id must not find it in the log.
	s.wantError(s.root("DELETE", "/join-tokens/RAID1-PIN-ID000000-"+joinSecret+"-CHEK", nil), 404)
	if strings.Contains(s.logged.String(), joinSecret[:10]) {
		t.Errorf("the log has the secret:\n%s", s.logged)
	}
}

func TestNodesAreRemovedAndRotated(t *testing.T) {
	s := serve(t, newStore())
	for path, want := range map[string]int{"/nodes/n1": 200, "/nodes/n1?force=0": 200, "/nodes/n1?force=2": 400, "/nodes/n1?force=": 400, "/nodes/n9": 404, "/nodes/": 404} {
		if r := s.root("DELETE", path, nil); r.StatusCode != want || s.desk.ordered.Force || want == 200 && len(r.body) != 0 {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.body)
		}
	}
	if r := s.root("DELETE", "/nodes/n2?force=1", nil); r.StatusCode != 200 || !s.desk.ordered.Force {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if r := s.root("POST", "/nodes/n1/rotate", nil); r.StatusCode != 200 || string(r.body) != "{}\n" {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	s.wantError(s.root("POST", "/nodes/n9/rotate", nil), 404)
	s.desk.err = fmt.Errorf("%w: it holds 7 chunks; add --force", raid.ErrPrecondition)
	if text := s.wantError(s.root("DELETE", "/nodes/n1", nil), 409); !strings.Contains(text, "add --force") {
		t.Error(text)
	}
	s.desk.err = fmt.Errorf("wrapped: %w", &raid.LossError{Text: "20 files would be lost", Files: 20})
	r := s.root("DELETE", "/nodes/n1?force=1&lose=19", nil)
	if got := s.desk.ordered; r.StatusCode != 409 || got != (raid.RemoveOrder{Force: true, Lose: 19}) || string(r.body) != `{"message":"wrapped: 20 files would be lost","lose":20}`+"\n" {
		t.Errorf("%d %s for %+v", r.StatusCode, r.body, got)
	}
	for _, bad := range []string{"-1", "x", "", "1.5"} {
		s.wantError(s.root("DELETE", "/nodes/n1?force=1&lose="+bad, nil), 400)
	}
}

func TestNodesAreChangedByWhoMayDoEverything(t *testing.T) {
	s := serve(t, newStore())
	for _, c := range []struct {
		path, body string
		want       int
	}{
		{"/nodes/n1", `{"zone": "attic"}`, 200}, {"/nodes/n1", `{"zone": ""}`, 200}, {"/nodes/n1", `{"name": "pi-3"}`, 200},
		{"/nodes/n1", `{"accept_bytes": 256000000000}`, 200}, {"/nodes/n9", `{"zone": "attic"}`, 404}, {"/nodes/", `{"zone": "attic"}`, 404},
		{"/nodes/n1", `{}`, 400}, {"/nodes/n1", ``, 400}, {"/nodes/n1", `{"zone": 7}`, 400}, {"/nodes/n1", `{"zone": null}`, 400},
		{"/nodes/n1", `{"zonne": "x"}`, 400}, {"/nodes/n1", `{"zone": "a\nb"}`, 400}, {"/nodes/n1", `{"accept_bytes": "x"}`, 400},
	} {
		if r := s.root("PATCH", c.path, strings.NewReader(c.body), isJSON); r.StatusCode != c.want {
			t.Errorf("%s %s: %d %s", c.path, c.body, r.StatusCode, r.body)
		}
	}
	if n := len(s.desk.changes); n != 4 || *s.desk.changes[0].Zone != "attic" || s.desk.changes[0].Name != nil || *s.desk.changes[3].Disk != 256e9 {
		t.Errorf("changed: %+v", s.desk.changes)
	}
	// Programs of any user here may not, nor may a web page.
	s.wantError(s.do("PATCH", "/nodes/n1", strings.NewReader(`{"zone": "x"}`), isJSON), 403)
	s.wantError(s.root("PATCH", "/nodes/n1", strings.NewReader(`{"zone": "x"}`), isJSON, "Origin: http://evil.example"), 403)
}

func TestEverybodyMayHaveTheCA(t *testing.T) {
	p := servePort(t, portSetup{config: withAuth(&tokens{}), wrap: kit.SeemsFrom("192.168.1.7")})
	r := p.through(p.https, p.secure, "GET", "/ca.pem", nil)
	if r.StatusCode != 200 || string(r.body) != "-----BEGIN CERTIFICATE-----\n" || r.Header.Get("Content-Type") != "application/x-pem-file" {
		t.Errorf("%d %v %s", r.StatusCode, r.Header, r.body)
	}
}

func FuzzJoin(f *testing.F) {
	f.Add([]byte(joinBody))
	f.Add([]byte(`{"protocol": 1, "token": "x", "node": "\u0000", "csr": null}`))
	f.Add([]byte(`{"protocol": 9, "token": "x", "node": "y", "csr": "AA=="} `))
	f.Add([]byte(`{"Protocol": 1, "TOKEN": "x", "node": "y", "name": "\ud800"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		d := &testRegistrar{}
		api := New(Config{Registrar: d, Log: testLogger(&kit.Log{})})
		r := httptest.NewRequest("POST", "/v1/nodes/join", strings.NewReader(string(body)))
		r.TLS = &tls.ConnectionState{}
		w := httptest.NewRecorder()
		api.Handler().ServeHTTP(w, r)
		if !json.Valid(w.Body.Bytes()) || (w.Code == 200) != (len(d.joins) == 1) || w.Code != 200 && w.Code != 400 && w.Code != 413 {
			t.Fatalf("%q: %d %s", body, w.Code, w.Body)
		}
		for _, j := range d.joins {
			if j.Protocol < 1 || j.Token == "" || j.Node == "" || len(j.CSR) > maxJoin || strings.ContainsAny(j.Name+j.Version+j.Token+string(j.Node), "\n\r\x00\x1b") {
				t.Errorf("%q: %+v", body, j)
			}
		}
	})
}
