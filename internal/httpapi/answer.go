package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// Header values that never change, shared by all answers.
var (
	jsonType = []string{"application/json"}
	nosniff  = []string{"nosniff"}
	noStore  = []string{"no-store"}
)

// exchange is one request and its answer.
type exchange struct {
	response
	r       *http.Request
	body    *body  // nil when the request has none
	id      string // the {id} in the path
	route   *route
	token   string // id of the one that let it in; empty: none
	started time.Time
	err     error // what it failed with
	aborted bool  // broken off after the header was sent
}

// sendJSON answers with v.
func (x *exchange) sendJSON(status int, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	h := x.Header()
	h["Content-Type"], h["Cache-Control"] = jsonType, noStore
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	x.send(status, b.Bytes())
	return nil
}

// sendNothing answers that all is well.
func (x *exchange) sendNothing() error {
	x.Header().Set("Content-Length", "0")
	x.send(http.StatusOK, nil)
	return nil
}

// send answers with a short text, and sees to what the client may still be
// sending. A failed write needs no more handling: the client is gone.
func (x *exchange) send(status int, text []byte) {
	spent := x.body != nil && x.body.spent()
	if spent {
		x.Header().Set("Connection", "close") // also keeps net/http from reading before it answers
	} else if x.body != nil {
		x.body.boundRest()
	}
	x.WriteHeader(status)
	if x.r.Method != http.MethodHead && len(text) > 0 {
		_, _ = x.Write(text)
	}
	if spent {
		x.flush()
		x.body.drain()
	}
}

// fail answers with an error, or breaks the connection off when an answer has
// begun already: the client would take it for whole.
func (a *API) fail(x *exchange, err error) {
	x.err = err
	if x.status != 0 {
		x.aborted = true
		if x.failed == nil {
			a.log.Error("Answer broken off: "+err.Error(), x.attrs()...)
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
	var f *failure
	if errors.As(err, &f) {
		for k, v := range f.header {
			h[k] = v
		}
	}
	if status >= 500 && x.r.Context().Err() == nil { // else the client left, or the daemon stops
		a.logFailed(x, status, err)
	}
	p := problem{Message: message}
	var loss *raid.LossError
	if errors.As(err, &loss) {
		p.Lose = loss.Files
	}
	_ = x.sendJSON(status, p)
}

// logFailed writes a line of a request that failed, of calls that anybody may
// make only now and then: who asks whether the array is ready, or to join it while
// its catalog is broken, must not fill the disk of the log.
func (a *API) logFailed(x *exchange, status int, err error) {
	attrs := append(x.attrs(), "status", status)
	if x.route != nil && x.route.open {
		times := a.mentions.logOncePerMinute(network(remoteAddr(x.r)))
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

func (x *exchange) attrs() []any {
	a := []any{"method", x.r.Method, "path", clip(x.r.URL.Path), "remote", x.r.RemoteAddr,
		"duration", time.Since(x.started).Round(time.Microsecond)}
	if x.body != nil {
		a = append(a, "received", x.body.read)
	}
	return a
}

// secretText is a token with its secret, whole or in part, of REST or for joining.
var secretText = regexp.MustCompile(`(raidpi_[A-Za-z0-9]{8}_|RAID1-[A-Za-z0-9]+-[A-Za-z0-9]+-)[A-Za-z0-9-]+`)

// clip bounds what a stranger can put into one line of the log, and takes the
// secrets of tokens away that somebody put where an id belongs.
func clip(s string) string {
	s = secretText.ReplaceAllString(s, "$1…")
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
