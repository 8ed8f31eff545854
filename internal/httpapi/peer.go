package httpapi

import (
	"fmt"
	"net"
	"net/http"
	"os"

	"github.com/raidpi/raidpi/internal/httpserver"
)

// origin is where a request comes from.
type origin int

const (
	elsewhere     origin = iota // or not known
	thisMachine                 // a program of root, of this daemon's own user, or of a person who has an account
	controlSocket               // the Unix socket, and at its other end root or this daemon's own user
)

// originOf finds out where a request comes from. Programs on this machine are let
// in without a token only if their user is root, this daemon's own, or a person.
// Those of other users, such as www-data, serve strangers: a proxy on this machine
// passes their requests on, with headers that say so or without. why says what was
// found or could not be found out, when that is the reason for elsewhere.
func (a *API) originOf(r *http.Request) (from origin, why string) {
	if passedOn(r.Header) {
		return elsewhere, "a proxy has passed this request on"
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	unix := local != nil && local.Network() == "unix"
	if !unix && !httpserver.RemoteAddr(r).IsLoopback() {
		return elsewhere, ""
	}
	uid, err := httpserver.Peer(r, a.cfg.Peer)
	switch own := uid == 0 || uid == uint32(os.Geteuid()); {
	case err != nil:
		return elsewhere, fmt.Sprintf("which user's program on this machine asks could not be found out (%v)", err)
	case unix && own:
		return controlSocket, ""
	case own || a.people.Has(uid):
		return thisMachine, ""
	case uid == overflowUID:
		return elsewhere, "the program that asks belongs to nobody, or to a user that can't be seen from here (uid 65534, as under PrivateUsers=yes)"
	}
	return elsewhere, fmt.Sprintf("the program that asks belongs to a system user (uid %d), as programs do that serve strangers", uid)
}

// overflowUID stands for all users that a user namespace does not know.
const overflowUID = 65534
