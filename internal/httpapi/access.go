package httpapi

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/raid"
)

// Tokens keeps the tokens that requests show.
type Tokens interface {
	// Token looks one up, with whether it has expired or was revoked. It does no
	// I/O, and knows of a change when the call that made it has returned.
	Token(id string) (raid.AccessToken, bool)
	// Tokens are all of them, the oldest first; they are few.
	Tokens() []raid.AccessToken
	// CreateToken keeps a new one, which ends after life; 0: never.
	CreateToken(ctx context.Context, k raid.AccessToken, life time.Duration) (raid.AccessToken, error)
	// RevokeToken takes one back for good; raid.ErrNotFound.
	RevokeToken(ctx context.Context, id string) error
}

// allow decides from a request's header alone whether it is served. It comes
// before the body is read, and so before a client is told to send it.
//
// Without Config.Auth everything is, but for what needs the scope admin: tokens
// that a stranger gave himself would still work when they are asked for.
func (a *API) allow(x *exchange) error {
	if x.route.open {
		return nil
	}
	return a.permit(x, x.route.scope)
}

// permit decides whether a request may do what needs a scope.
func (a *API) permit(x *exchange, need raid.Scope) error {
	if need < raid.ScopeRead {
		return httpserver.Errorf(http.StatusForbidden, "nobody may do this: a fault of this program")
	}
	given := x.Request.Header["Authorization"]
	if !a.cfg.Auth && need != raid.ScopeAdmin {
		if _, wrong := a.findToken(given); wrong == "" {
			return nil // who has one is no web page
		}
		return a.checkOwnName(x.Request)
	}
	if len(given) > 0 {
		return a.checkToken(x, given, need)
	}
	switch from, why := a.originOf(x.Request); from {
	case controlSocket:
		return nil
	case elsewhere:
		if why != "" {
			why = ", since " + why
		}
		return unauthorized("", "a token is needed here"+why+": send it as Authorization: Bearer TOKEN, or as the password with any user name. "+
			"To make one, on the controller: sudo raidctl access create NAME --scope "+need.String())
	}
	if !a.isLocalName(x.Request.Host) {
		return httpserver.Errorf(http.StatusMisdirectedRequest, "without a token this machine is served as localhost only, and %q is another name: "+
			"use http://localhost, or put the name into names under [http] of the configuration", httpserver.Clip(x.Request.Host))
	}
	if need == raid.ScopeAdmin {
		return httpserver.Errorf(http.StatusForbidden, "this needs the scope admin, which not everybody on this machine has: use sudo raidctl, or send a token of that scope")
	}
	return nil
}

// checkToken serves whoever shows a token that is good for what is needed.
func (a *API) checkToken(x *exchange, given []string, need raid.Scope) error {
	k, wrong := a.findToken(given)
	switch {
	case wrong != "":
	case k.Revoked:
		wrong = "this token has been revoked"
	case k.Expired:
		wrong = "this token has expired, at " + k.Expires + " UTC"
	case k.Scope < need:
		return &httpserver.Error{
			Status:  http.StatusForbidden,
			Message: fmt.Sprintf("this token has the scope %v, and here %v is needed", k.Scope, need),
			Header:  http.Header{"Www-Authenticate": {`Bearer realm="raidpi", error="insufficient_scope", scope="` + need.String() + `"`}},
		}
	default:
		x.token = k.ID
		return nil
	}
	if err := a.countFailure(x.Request, "REST token refused", wrong); err != nil {
		return err
	}
	return unauthorized(`, error="invalid_token"`, wrong)
}

// countFailure counts a token that was refused, of REST or for joining, against
// the address that it came from. Its error is the answer when there were too many.
func (a *API) countFailure(r *http.Request, what, reason string) error {
	from := httpserver.RemoteAddr(r)
	wait, lines := a.attempts.Fail(from)
	if lines > 0 {
		times := "once"
		if lines > 1 {
			times = strconv.Itoa(lines) + " times"
		}
		a.cfg.Tell(raid.Event{Kind: raid.LoginFailed, Text: fmt.Sprintf("%s was refused %s: %s", from, times, httpserver.Clip(reason)),
			Advice: "if that is a program of yours, give it a token that is good: sudo raidctl access create. Else somebody tries; no secret can be guessed"})
		a.log.Warn(what, "remote", from.String(), "reason", httpserver.Clip(reason), "times", lines)
	}
	if wait <= 0 {
		return nil
	}
	return &httpserver.Error{
		Status:  http.StatusTooManyRequests,
		Message: "too many attempts with tokens that are not valid have come from this address; try again later, with the right one",
		Header:  http.Header{"Retry-After": {strconv.Itoa(int((wait + time.Second - 1) / time.Second))}},
	}
}

// findToken is the token whose secret is shown, or what is wrong with what is. A
// token that nobody knows and a wrong secret are told in the same words.
func (a *API) findToken(given []string) (k raid.AccessToken, wrong string) {
	const unknown = "this token is not valid here"
	text, ok := credentials(given)
	if !ok {
		return k, "the Authorization header is not understood: send Bearer TOKEN, or Basic with the token as the password"
	}
	id, sum, err := raid.ParseAccessToken(text)
	if err != nil {
		return k, unknown
	}
	k, found := a.cfg.Tokens.Token(id)
	if same := subtle.ConstantTimeCompare(sum[:], k.SHA256[:]) == 1; !same || !found {
		return raid.AccessToken{}, unknown
	}
	return k, ""
}

// maxCredentials is the longest Authorization header that is looked into, in
// bytes: a token of 89 with a user name.
const maxCredentials = 1024

// credentials takes the token out of Authorization headers (RFC 6750 section
// 2.1, RFC 7617). There must be one.
func credentials(given []string) (text string, ok bool) {
	if len(given) != 1 || len(given[0]) > maxCredentials {
		return "", false
	}
	scheme, rest, _ := strings.Cut(given[0], " ")
	rest = strings.Trim(rest, " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return rest, rest != ""
	case strings.EqualFold(scheme, "Basic"):
		both, err := base64.StdEncoding.DecodeString(rest)
		if err != nil {
			return "", false
		}
		_, password, ok := strings.Cut(string(both), ":")
		return password, ok
	}
	return "", false
}

func unauthorized(detail, message string) error {
	return &httpserver.Error{Status: http.StatusUnauthorized, Message: message, Header: http.Header{
		"Www-Authenticate": {`Bearer realm="raidpi"` + detail, `Basic realm="raidpi", charset="UTF-8"`},
	}}
}

// checkOwnName refuses, where no token is asked for, the requests of a web page
// that has given its own name to this machine's address (DNS rebinding). It can't
// do that with an address, nor with a name that it is not served under.
func (a *API) checkOwnName(r *http.Request) error {
	if from, _ := a.originOf(r); r.Host == "" || from == controlSocket || a.isLocalName(r.Host) {
		return nil
	}
	host := hostOf(r.Host)
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	if a.cfg.Hosts != nil {
		for _, name := range a.cfg.Hosts() {
			if strings.EqualFold(host, name) {
				return nil
			}
		}
	}
	return httpserver.Errorf(http.StatusMisdirectedRequest, "this controller is not known as %q: use its address, or put the name into names under [http] of the configuration", httpserver.Clip(host))
}

// hostOf is a Host header without its port, brackets and final dot.
func hostOf(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	return strings.TrimSuffix(host, ".")
}

// isLocalName tells names under which programs on this machine ask for it from
// those that a web page has given to this machine's address (DNS rebinding).
func (a *API) isLocalName(host string) bool {
	host = hostOf(host)
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().IsLoopback() {
		return true
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	for _, name := range a.cfg.Names {
		if host != "" && strings.EqualFold(host, strings.TrimSuffix(name, ".")) {
			return true
		}
	}
	return false
}
