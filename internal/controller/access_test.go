package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/wire"
)

// call does a REST call with a token, if there is one.
func (a *array) call(method, path, body, token string) (status int, answer string) {
	a.t.Helper()
	return a.callBy(http.DefaultTransport.(*http.Transport), a.url, method, path, body, token)
}

// root does one over the control socket.
func (a *array) root(method, path, body string) (status int, answer string) {
	a.t.Helper()
	return a.callBy(&http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", a.socket)
	}}, "http://localhost", method, path, body, "")
}

func (a *array) callBy(t *http.Transport, url, method, path, body, token string) (status int, answer string) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, url+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := t.RoundTrip(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	defer t.CloseIdleConnections()
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(text)
}

func TestTokensAreAskedForAndOutliveTheController(t *testing.T) {
	a := newArray(t, 0, func(c *Config) { c.Auth = true })
	if status, text := a.call("POST", "/access-tokens", `{"name": "laptop", "scope": "read"}`, ""); status != 403 {
		t.Errorf("any user of this machine makes tokens: %d %s", status, text)
	}
	status, text := a.root("POST", "/access-tokens", `{"name": "laptop", "scope": "read"}`)
	var k struct{ ID, Token string }
	if err := json.Unmarshal([]byte(text), &k); err != nil || status != 201 {
		t.Fatalf("%d %s", status, text)
	}
	a.stopController()
	a.startController()
	for method, want := range map[string]int{"GET": 200, "POST": 403} {
		if status, text := a.call(method, "/files", "{}", k.Token); status != want {
			t.Errorf("%s: %d %s", method, status, text)
		}
	}
	if status, text := a.root("DELETE", "/access-tokens/"+k.ID, ""); status != 200 {
		t.Errorf("%d %s", status, text)
	}
	if status, _ := a.call("GET", "/files", "", k.Token); status != 401 {
		t.Errorf("with a revoked token: %d", status)
	}
	for _, name := range []string{CatalogFile, CatalogFile + "-wal"} {
		kept, err := os.ReadFile(filepath.Join(a.dir, "controller", name))
		if err != nil || bytes.Contains(kept, []byte(k.Token[20:])) {
			t.Errorf("%s holds the secret, or can't be read: %v", name, err)
		}
	}
}

func TestStatusWarnsOfAnOpenDoor(t *testing.T) {
	type door struct {
		listen      string
		auth        bool
		http, nodes wire.Plaintext
	}
	for d, want := range map[door]string{
		{"0.0.0.0:0", true, wire.PlaintextLoopback, wire.PlaintextLoopback}: `"warnings":[]`,
		{"127.0.0.1:0", false, wire.PlaintextAny, wire.PlaintextAny}:        `"warnings":[]`,
		{"0.0.0.0:0", false, wire.PlaintextLoopback, wire.PlaintextOff}:     "everybody in the network may read",
		{"0.0.0.0:0", true, wire.PlaintextAny, wire.PlaintextOff}:           "who listens to the network",
		{"0.0.0.0:0", true, wire.PlaintextOff, wire.PlaintextAny}:           "halves of files to keep",
	} {
		t.Run(fmt.Sprint(d), func(t *testing.T) {
			a := newArray(t, 0, func(c *Config) {
				c.HTTPListen, c.StoreListen, c.Auth, c.HTTPPlain, c.Plaintext = d.listen, d.listen, d.auth, d.http, d.nodes
			})
			if status, text := a.root("GET", "/status", ""); status != 200 || !strings.Contains(text, want) {
				t.Errorf("%d %s", status, text)
			}
		})
	}
}
