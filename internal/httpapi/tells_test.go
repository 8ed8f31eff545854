package httpapi

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// What people do with tokens is told, and no secret is.
func TestTokensAndFailedLoginsAreTold(t *testing.T) {
	ts := &tokens{}
	var mu sync.Mutex
	var told []string
	s := serve(t, newStore(), withAuth(ts), func(c *Config) {
		c.Tell = func(e raid.Event) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprintf("%s: %s [%s]", e.Kind, e.Text, e.Advice))
		}
	})
	admin := ts.add(raid.ScopeAdmin)
	as := "Authorization: Bearer " + admin
	r := s.do("POST", "/access-tokens", strings.NewReader(`{"name": "lap\u200btop", "scope": "read"}`), isJSON, as)
	if r.StatusCode == 201 {
		t.Fatalf("a name that can't be shown is taken: %s", r.body)
	}
	if r = s.root("POST", "/access-tokens", strings.NewReader(`{"name": "lap top", "scope": "read"}`), isJSON); r.StatusCode != 201 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	id := ts.Tokens()[1].ID
	s.do("DELETE", "/access-tokens/"+id, nil, as)
	s.root("POST", "/join-tokens", strings.NewReader(`{"uses": 3}`), isJSON)
	s.do("GET", "/files", nil, "Authorization: Bearer raidpi_12345678_wrongwrongwrong")
	mu.Lock()
	defer mu.Unlock()
	all := strings.Join(told, "\n")
	for _, want := range []string{
		`token-made: root on the controller made the REST token "lap top" (` + id + `) of scope read [if nobody of yours did: sudo raidctl access revoke ` + id + `]`,
		`token-revoked: who has the token "` + ts.Tokens()[0].Name + `" revoked the REST token "lap top" (` + id + `)`,
		"token-made: root on the controller made the join token",
		"login-failed: 127.0.0.1 was refused once: this token is not valid here [",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("not told: %s\ntold:\n%s", want, all)
		}
	}
	if len(told) != 4 || strings.Contains(all, "raidpi_") || strings.Contains(all, "RAID1-") {
		t.Errorf("told:\n%s", all)
	}
}
