package controller

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// call does a REST call with a token, if there is one.
func (a *array) call(method, path, body, token string) (status int, answer string) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.url+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(text)
}

func TestTokensAreAskedForAndOutliveTheController(t *testing.T) {
	a := newArray(t, 0, func(c *Config) { c.Auth = true })
	status, text := a.call("POST", "/access-tokens", `{"name": "laptop", "scope": "read"}`, "")
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
	if status, text := a.call("DELETE", "/access-tokens/"+k.ID, "", ""); status != 200 {
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
	for _, c := range []struct {
		listen     string
		auth, open bool
		want       bool
	}{
		{"0.0.0.0:0", false, true, true}, {"0.0.0.0:0", true, true, false}, {"0.0.0.0:0", false, false, false}, {"127.0.0.1:0", false, true, false},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			a := newArray(t, 0, func(cfg *Config) {
				cfg.HTTPListen, cfg.Names, cfg.Auth, cfg.Open = c.listen, []string{"0.0.0.0", "::"}, c.auth, c.open
			})
			status, text := a.call("GET", "/status", "", "")
			if got := strings.Contains(text, "everybody in the network may read"); got != c.want || status != 200 {
				t.Errorf("%d %s", status, text)
			}
		})
	}
}
