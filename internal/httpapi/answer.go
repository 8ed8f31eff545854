package httpapi

import (
	"errors"
	"net/http"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/raid"
)

// exchange is one request and its answer.
type exchange struct {
	httpserver.Exchange
	id      string // the {id} in the path
	route   *route
	token   string // id of the one that let it in; empty: none
	aborted bool   // broken off after the header was sent
}

// fail answers with an error, or breaks the connection off when an answer has
// begun already: the client would take it for whole.
func (a *API) fail(x *exchange, err error) {
	if x.Status() != 0 {
		x.aborted = true
		if x.Failed() == nil {
			a.log.Error("Answer broken off: "+err.Error(), x.Attrs()...)
		}
		return
	}
	status, message := statusOf(err)
	h := x.Header()
	clear(h)
	a.harden(h)
	if status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "5")
	}
	var f *httpserver.Error
	if errors.As(err, &f) {
		for k, v := range f.Header {
			h[k] = v
		}
	}
	if status >= 500 && x.Context().Err() == nil { // else the client left, or the daemon stops
		a.logFailed(x, status, err)
	}
	p := problem{Message: message}
	var loss *raid.LossError
	if errors.As(err, &loss) {
		p.Lose = loss.Files
	}
	_ = x.SendJSON(status, p)
}

// logFailed writes a line of a request that failed, of calls that anybody may make only now and
// then. Who asks whether the array is ready, or to join it while its catalog is broken, must not
// fill the disk of the log.
func (a *API) logFailed(x *exchange, status int, err error) {
	attrs := append(x.Attrs(), "status", status)
	if x.route != nil && x.route.open {
		times := a.mentions.LogOncePerMinute(httpserver.RemoteAddr(x.Request))
		if times == 0 {
			return
		}
		attrs = append(attrs, "times", times)
	}
	a.log.Warn("Request failed: "+err.Error(), attrs...)
}

// problem is every error's body.
type problem struct {
	Message string `json:"message"`
	Lose    int64  `json:"lose,omitempty"` // files that would be lost, where that is what stands against it
}
