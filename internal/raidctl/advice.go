package raidctl

import (
	"fmt"
	"strings"
	"time"

	"github.com/raidpi/raidpi/internal/client"
	"github.com/raidpi/raidpi/internal/identity"
)

// loginURL returns the address to give to raidctl login for the controller of this run.
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

// endedCertificate asks about clocks first: a wrong one is likelier than a thief.
func (a *app) endedCertificate(e *client.EndedError) string {
	text := fmt.Sprintf("%v, and this machine's clock says %s. Nothing was sent. ", e, a.clockDate())
	if a.clockIsWrong() {
		text += "This machine's clock is wrong: that was before raidctl was made. Set it, then try again. "
	}
	return text + "Is that date right? Then the clock of the controller is wrong (there: timedatectl; a new certificate is made within a minute of setting it), " +
		"or somebody shows an old certificate that was stolen"
}

func (a *app) clockDate() string {
	if a.clock == nil {
		return time.Now().Format(time.DateOnly)
	}
	return a.clock().Format(time.DateOnly)
}

// clockIsWrong tells a clock that can't be right.
func (a *app) clockIsWrong() bool { return a.clock != nil && a.clock().Before(a.built) }

// tokenForOtherError says that a token was made for another controller than the one
// that answers. Nothing was sent.
type tokenForOtherError struct {
	url  string
	want identity.ShortPin // of the token
	got  identity.Pin      // of the controller that answers
}

// Error tells both.
func (e *tokenForOtherError) Error() string {
	return fmt.Sprintf("the token was made for the controller with the fingerprint %s, and %s has %s", e.want.Brief(), e.url, e.got.Fingerprint())
}

func tokenForOther(e *tokenForOtherError) string {
	return fmt.Sprintf(`THE CONTROLLER AT %s IS NOT THE ONE THAT THE TOKEN WAS MADE FOR. Nothing was sent to it.
  fingerprint shown     %s
  fingerprint expected  %s
Somebody may be between here and the controller, to read along. Or the address is another controller's,
or raid-controller was installed anew: then make a new token there: sudo raidctl access create NAME --scope write`,
		e.url, e.got.Fingerprint(), e.want.Brief())
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
