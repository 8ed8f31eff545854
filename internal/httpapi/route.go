package httpapi

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"sort"
	"strings"
	"time"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/raid"
)

// route is one call of the API.
type route struct {
	call   string     // its name in metrics and logs
	method string     // a GET also answers HEAD
	path   string     // with {id} where an id goes
	scope  raid.Scope // that a token must have; without one nobody is served
	open   bool       // no token is asked for
	serve  func(*exchange) error
	meter  *meter
}

// table lists every call; openapi.yaml is checked against it.
func (a *API) table() []route {
	const read, write, admin = raid.ScopeRead, raid.ScopeWrite, raid.ScopeAdmin
	return []route{
		{call: "upload", method: "POST", path: "/files", scope: write, serve: a.upload},
		{call: "list", method: "GET", path: "/files", scope: read, serve: a.list},
		{call: "download", method: "GET", path: "/files/{id}", scope: read, serve: a.download},
		{call: "delete", method: "DELETE", path: "/files/{id}", scope: write, serve: a.remove},
		{call: "info", method: "GET", path: "/files/{id}/info", scope: read, serve: a.info},
		{call: "undelete", method: "POST", path: "/files/{id}/undelete", scope: write, serve: a.undelete},
		{call: "trash", method: "GET", path: "/trash", scope: read, serve: a.listTrash},
		{call: "emptyTrash", method: "DELETE", path: "/trash", scope: write, serve: a.emptyTrash},
		{call: "nodes", method: "GET", path: "/nodes", scope: read, serve: a.nodes},
		{call: "scrub", method: "GET", path: "/scrub", scope: read, serve: a.scrub},
		{call: "changeScrub", method: "POST", path: "/scrub", scope: admin, serve: a.changeScrub},
		{call: "status", method: "GET", path: "/status", scope: read, serve: a.status},
		{call: "events", method: "GET", path: "/events", scope: read, serve: a.events},
		{call: "livez", method: "GET", path: "/livez", open: true, serve: a.livez},
		{call: "readyz", method: "GET", path: "/readyz", open: true, serve: a.readyz},
		{call: "metrics", method: "GET", path: "/metrics", scope: read, serve: a.showMetrics},
		{call: "openapi", method: "GET", path: "/openapi.yaml", scope: read, serve: a.openapi},
		{call: "tokens", method: "GET", path: "/access-tokens", scope: admin, serve: a.listTokens},
		{call: "createToken", method: "POST", path: "/access-tokens", scope: admin, serve: a.createToken},
		{call: "revokeToken", method: "DELETE", path: "/access-tokens/{id}", scope: admin, serve: a.revokeToken},
		{call: "joinTokens", method: "GET", path: "/join-tokens", scope: admin, serve: a.listJoinTokens},
		{call: "createJoinToken", method: "POST", path: "/join-tokens", scope: admin, serve: a.createJoinToken},
		{call: "revokeJoinToken", method: "DELETE", path: "/join-tokens/{id}", scope: admin, serve: a.revokeJoinToken},
		{call: "node", method: "GET", path: "/nodes/{id}", scope: read, serve: a.showNode},
		{call: "unplug", method: "GET", path: "/nodes/{id}/unplug", scope: read, serve: a.unplug},
		{call: "removeNode", method: "DELETE", path: "/nodes/{id}", scope: admin, serve: a.removeNode},
		{call: "changeNode", method: "PATCH", path: "/nodes/{id}", scope: admin, serve: a.changeNode},
		{call: "rotateNode", method: "POST", path: "/nodes/{id}/rotate", scope: admin, serve: a.rotateNode},
		{call: "drainNode", method: "POST", path: "/nodes/{id}/drain", scope: admin, serve: a.drainNode},
		{call: "undrainNode", method: "POST", path: "/nodes/{id}/undrain", scope: admin, serve: a.undrainNode},
		{call: "replaceNode", method: "POST", path: "/nodes/{id}/replace", scope: admin, serve: a.replaceNode},
		// What nodes call says itself who they are.
		{call: "join", method: "POST", path: "/v1/nodes/join", open: true, serve: a.join},
		{call: "renew", method: "POST", path: "/v1/nodes/renew", open: true, serve: a.renew},
		{call: "leave", method: "POST", path: "/v1/nodes/leave", open: true, serve: a.leave},
		{call: "ca", method: "GET", path: "/ca.pem", open: true, serve: a.showCA},
	}
}

// router finds the call for a request. http.ServeMux would answer unknown paths,
// wrong methods and unclean paths itself, in text or HTML.
type router struct {
	paths map[string]*resource // by route.path
	none  *meter               // of requests that no route is for
}

// resource has the calls of one path.
type resource struct {
	methods map[string]*route
	allow   string
}

func newRouter(table []route, m *metrics) *router {
	rt := &router{paths: map[string]*resource{}, none: m.meter("other")}
	for i := range table {
		r := &table[i]
		r.meter = m.meter(r.call)
		res := rt.paths[r.path]
		if res == nil {
			res = &resource{methods: map[string]*route{}}
			rt.paths[r.path] = res
		}
		res.methods[r.method] = r
		if r.method == http.MethodGet {
			res.methods[http.MethodHead] = r
		}
	}
	for _, res := range rt.paths {
		var names []string
		for m := range res.methods {
			names = append(names, m)
		}
		sort.Strings(names)
		res.allow = strings.Join(names, ", ")
	}
	return rt
}

// find returns the route for a request and the {id} in its path.
func (rt *router) find(r *http.Request) (*route, string, error) {
	path, id := r.URL.Path, ""
	for _, prefix := range []string{"/files/", "/access-tokens/", "/join-tokens/", "/nodes/"} {
		if rest, ok := strings.CutPrefix(path, prefix); ok {
			tail := ""
			if i := strings.IndexByte(rest, '/'); i >= 0 {
				rest, tail = rest[:i], rest[i:]
			}
			path, id = prefix+"{id}"+tail, rest
			break
		}
	}
	res := rt.paths[path]
	if res == nil || id == "" && strings.Contains(path, "{id}") {
		return nil, "", httpserver.Errorf(http.StatusNotFound, "there is nothing at %s; /openapi.yaml lists what there is", httpserver.Clip(r.URL.Path))
	}
	found := res.methods[r.Method]
	if found == nil {
		return nil, "", &httpserver.Error{
			Status:  http.StatusMethodNotAllowed,
			Message: fmt.Sprintf("%s is not allowed here, only %s", httpserver.Clip(r.Method), res.allow),
			Header:  http.Header{"Allow": {res.allow}},
		}
	}
	return found, id, nil
}

func (a *API) serveHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{Exchange: httpserver.NewExchange(w, r, a.cfg.Stall, a.cfg.MaxBody)}
	a.harden(w.Header())
	a.run(x)
	a.account(x)
	if x.aborted {
		panic(http.ErrAbortHandler) // net/http's way to break a connection off
	}
}

// run serves a request and turns its error, or a panic, into an answer.
func (a *API) run(x *exchange) {
	defer func() {
		if p := recover(); p != nil {
			a.log.Error("Panic while serving a request", append(x.Attrs(), "panic", p, "stack", string(debug.Stack()))...)
			a.fail(x, fmt.Errorf("panic: %v", p))
		}
	}()
	var err error
	if x.route, x.id, err = a.routes.find(x.Request); err == nil {
		err = a.checkOrigin(x.Request)
	}
	if err == nil {
		err = a.allow(x)
	}
	if err == nil && x.token != "" {
		r, leave, ok := a.bearers.enter(x.Request, x.token)
		defer leave()
		if x.Request = r; !ok {
			err = unauthorized(`, error="invalid_token"`, "this token is over")
		}
	}
	if err == nil {
		if !x.route.open {
			httpserver.MarkAuthorized(x.Request)
		} else {
			x.LimitBody()
		}
		if m := x.Request.Method; m != http.MethodPost && m != http.MethodPatch {
			x.SkipBody()
		}
		err = x.route.serve(x)
	}
	if err != nil {
		a.fail(x, err)
	}
}

// account counts a finished request.
func (a *API) account(x *exchange) {
	m := a.routes.none
	if x.route != nil {
		m = x.route.meter
	}
	status := x.Status()
	if status == 0 {
		status = http.StatusOK // a handler that wrote nothing
	}
	m.count(status, x.aborted, time.Since(x.Started), x.Sent())
	m.received(x.Received())
	if a.log.Enabled(x.Context(), levelQuiet) {
		a.log.Log(x.Context(), levelQuiet, "Request", append(x.Attrs(), "status", status, "sent", x.Sent())...)
	}
}
