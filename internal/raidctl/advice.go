package raidctl

import (
	"fmt"
	"strings"

	"github.com/raidpi/raidpi/internal/client"
	"github.com/raidpi/raidpi/internal/identity"
)

// loginURL is what to give to raidctl login for the controller of this run.
func (a *app) loginURL() string {
	if host, ok := strings.CutPrefix(a.client.URL(), "http://"); ok {
		return "https://" + host
	}
	return a.client.URL()
}

// tokenAdvice says how to come by a token that the controller takes.
func (a *app) tokenAdvice() string {
	const create = "sudo raidctl access create NAME --scope write"
	switch {
	case a.client == nil, a.target.socket != "":
		return ""
	case a.target.token == "":
		return ". Run raidctl login " + a.loginURL()
	case a.target.from == "the login":
		return ". The login's token does not work any more. On the controller: " + create + "; then here: raidctl login " + a.loginURL()
	case a.target.from != "":
		return ". The token is from " + a.target.from
	}
	return ""
}

// wrongController is loud, because somebody may be listening in.
func wrongController(e *client.WrongControllerError) string {
	shown := e.Got.Fingerprint()
	if e.Got == e.Want {
		shown = "the right CA, and yet: " + e.Err.Error()
	} else if e.Got == (identity.Pin{}) {
		shown = "none"
	}
	return fmt.Sprintf(`THE CONTROLLER AT %s IS NOT THE ONE THAT IT SHOULD BE. Nothing was sent to it.
  fingerprint shown     %s
  fingerprint expected  %s
Somebody may be between here and the controller, to read along. Or another machine has its address now,
or raid-controller was installed anew. %s
Only if that is the one shown here: raidctl logout, and then raidctl login %s`,
		e.URL, shown, e.Want.Fingerprint(), onTheController, e.URL)
}
