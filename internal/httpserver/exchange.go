package httpserver

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Header values that never change, shared by all answers.
var (
	jsonType = []string{"application/json"}
	noStore  = []string{"no-store"}
)

// Exchange is one request and its answer. It is its answer's http.ResponseWriter.
type Exchange struct {
	response
	Request *http.Request
	Started time.Time

	body    *body // nil when the request has none
	maxBody int64
}

// NewExchange begins to answer a request. What moves no byte for stall is cut. maxBody
// bounds the request's body, 0: no limit.
func NewExchange(w http.ResponseWriter, r *http.Request, stall time.Duration, maxBody int64) Exchange {
	x := Exchange{Request: r, Started: time.Now(), maxBody: maxBody}
	x.response = response{w: w, ctl: http.NewResponseController(w), stall: stall}
	if r.ContentLength != 0 {
		x.body = newBody(r, x.ctl, stall, maxBody)
	}
	return x
}

// Context is the request's.
func (x *Exchange) Context() context.Context { return x.Request.Context() }

// Body is the request's body. It refuses one that is announced to be too large.
// Its errors are answers.
func (x *Exchange) Body() (io.Reader, error) {
	if x.body == nil {
		x.body = newBody(x.Request, x.ctl, x.stall, x.maxBody)
	}
	return x.body, x.body.checkLength()
}

// Received counts the bytes of the body that were read.
func (x *Exchange) Received() int64 {
	if x.body == nil {
		return 0
	}
	return x.body.read
}

// LimitBody bounds the time of the whole body, as is right for calls that anybody may
// make. They have 16 KiB at most.
func (x *Exchange) LimitBody() {
	if x.body != nil {
		x.body.until = x.Started.Add(openTime)
	}
}

// SkipBody reads over the body of a request that should have none.
func (x *Exchange) SkipBody() {
	if x.body == nil {
		return
	}
	if x.body.skip(); x.body.spent() {
		x.Header().Set("Connection", "close")
	}
}

// BeginJSON sets the header of an answer that is written as JSON, piece by piece.
func (x *Exchange) BeginJSON() {
	h := x.Header()
	h["Content-Type"], h["Cache-Control"] = jsonType, noStore
}

// SendJSON answers with v.
func (x *Exchange) SendJSON(status int, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	x.BeginJSON()
	x.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	x.send(status, b.Bytes())
	return nil
}

// SendNothing answers that all is well.
func (x *Exchange) SendNothing() error {
	x.Header().Set("Content-Length", "0")
	x.send(http.StatusOK, nil)
	return nil
}

// send answers with a short text, and sees to what the client may still be
// sending. A failed write needs no more handling: the client is gone.
func (x *Exchange) send(status int, text []byte) {
	spent := x.body != nil && x.body.spent()
	if spent {
		x.Header().Set("Connection", "close") // also keeps net/http from reading before it answers
	} else if x.body != nil {
		x.body.boundRest()
	}
	x.WriteHeader(status)
	if x.Request.Method != http.MethodHead && len(text) > 0 {
		_, _ = x.Write(text)
	}
	if spent {
		x.Flush()
		x.body.drain()
	}
}

// Attrs describe the exchange in the log.
func (x *Exchange) Attrs() []any {
	a := []any{"method", x.Request.Method, "path", Clip(x.Request.URL.Path), "remote", x.Request.RemoteAddr,
		"duration", time.Since(x.Started).Round(time.Microsecond)}
	if x.body != nil {
		a = append(a, "received", x.body.read)
	}
	return a
}
