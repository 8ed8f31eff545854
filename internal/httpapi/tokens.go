package httpapi

import (
	"fmt"
	"net/http"
	"time"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/raid"
)

// token is a raid.AccessToken in answers.
type token struct {
	ID      string  `json:"id"`
	Name    string  `json:"name"`
	Scope   string  `json:"scope"`
	State   string  `json:"state"`           // active, expired or revoked
	Created string  `json:"created"`         // UTC
	Expires *string `json:"expires"`         // UTC; null: never
	Token   string  `json:"token,omitempty"` // the whole text, in the answer that makes it alone
}

func newToken(k raid.AccessToken) token {
	t := token{ID: k.ID, Name: k.Name, Scope: k.Scope.String(), State: "active", Created: k.Created}
	switch {
	case k.Revoked:
		t.State = "revoked"
	case k.Expired:
		t.State = "expired"
	}
	if k.Expires != "" {
		t.Expires = &k.Expires
	}
	return t
}

func (a *API) listTokens(x *exchange) error {
	all := a.cfg.Tokens.Tokens()
	list := make([]token, len(all))
	for i, k := range all {
		list[i] = newToken(k)
	}
	return x.SendJSON(http.StatusOK, struct {
		Tokens []token `json:"tokens"`
	}{list})
}

// wish is the body of POST /access-tokens.
type wish struct {
	Name       string `json:"name"`
	Scope      string `json:"scope"`
	TTLSeconds int64  `json:"ttl_seconds"` // 0: it does not expire
}

// maxWish is the greatest length of the body of POST /access-tokens, in bytes.
const maxWish = 4 << 10

// maxTTL keeps a number of seconds within what a time.Duration can hold; the
// catalog has the real limit.
const maxTTL = 1 << 32

func (a *API) createToken(x *exchange) error {
	var w wish
	if err := x.ReadJSON(maxWish, &w, `{"name": "laptop", "scope": "write", "ttl_seconds": 2592000}`); err != nil {
		return err
	}
	scope, err := raid.ParseScope(w.Scope)
	if err != nil {
		return err
	}
	if w.TTLSeconds < 0 || w.TTLSeconds > maxTTL {
		return httpserver.BadRequest("ttl_seconds is out of range")
	}
	id, text, sum, err := raid.NewPinnedToken(a.cfg.Pin, a.cfg.Random)
	if err != nil {
		return err
	}
	k, err := a.cfg.Tokens.CreateToken(x.Context(), raid.AccessToken{ID: id, Name: w.Name, Scope: scope, SHA256: sum}, time.Duration(w.TTLSeconds)*time.Second)
	if err != nil {
		return conflict(err)
	}
	a.log.Info("REST token created", "token", k.ID, "name", k.Name, "scope", k.Scope.String(), "expires", k.Expires, "remote", x.Request.RemoteAddr)
	e := raid.Event{Kind: raid.TokenMade, Text: fmt.Sprintf("%s made the REST token %s (%s) of scope %s", a.whoIs(x), raid.Quoted(k.Name), k.ID, k.Scope),
		Advice: "if nobody of yours did: sudo raidctl access revoke " + k.ID}
	a.cfg.Tell(e)
	t := newToken(k)
	t.Token = text
	return x.SendJSON(http.StatusCreated, t)
}

// whoIs says who has sent a request: a token's name, or where it came from.
func (a *API) whoIs(x *exchange) string {
	if x.token != "" {
		k, _ := a.cfg.Tokens.Token(x.token)
		return "who has the token " + raid.Quoted(k.Name)
	}
	if from := httpserver.RemoteAddr(x.Request); from.IsValid() {
		return "somebody at " + from.String()
	}
	return "root on the controller"
}

func (a *API) revokeToken(x *exchange) error {
	k, _ := a.cfg.Tokens.Token(x.id)
	if err := a.cfg.Tokens.RevokeToken(x.Context(), x.id); err != nil {
		return err
	}
	cut := a.bearers.end(x.Context(), x.id)
	await(x.Context(), cut)
	if !k.Revoked {
		a.cfg.Tell(raid.Event{Kind: raid.TokenRevoked, Text: fmt.Sprintf("%s revoked the REST token %s (%s)", a.whoIs(x), raid.Quoted(k.Name), x.id)})
	}
	a.log.Info("REST token revoked", "token", x.id, "remote", x.Request.RemoteAddr, "requests_cut", len(cut))
	return x.SendNothing()
}
