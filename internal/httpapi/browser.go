package httpapi

import (
	"net/http"

	"github.com/raidpi/raidpi/internal/httpserver"
)

// What browsers may do with answers, unless one says otherwise: show them, and
// neither run nor load nor frame anything.
var (
	nosniff    = []string{"nosniff"}
	inert      = []string{"default-src 'none'; frame-ancestors 'none'"}
	sameOrigin = []string{"same-origin"}
)

// harden sets what every answer tells browsers.
func (a *API) harden(h http.Header) {
	h["X-Content-Type-Options"] = nosniff
	h["Content-Security-Policy"] = inert
	if a.cfg.Auth {
		// A browser sends passwords that it knows, and comes from this machine,
		// whichever page asks; a script that is loaded from here, or a picture, would
		// tell that page of what it may not see. Without Auth everybody may.
		h["Cross-Origin-Resource-Policy"] = sameOrigin
	}
}

// checkOrigin refuses what a web page of another origin wants to change. It comes
// before any token is looked at: a browser may send one that it knows.
func (a *API) checkOrigin(r *http.Request) error {
	if err := a.origins.Check(r); err != nil {
		return httpserver.Errorf(http.StatusForbidden, "a web page of another origin may not change anything here: %v", err)
	}
	return nil
}
