package httpapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

func loadDocument(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(openapiYAML)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestDocumentAndRoutesAreTheSame(t *testing.T) {
	doc := loadDocument(t)
	inDoc := map[string]string{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			inDoc[method+" "+path] = op.OperationID
		}
	}
	api := New(Config{})
	for _, r := range api.table() {
		key := r.method + " " + r.path
		if inDoc[key] != r.call {
			t.Errorf("%s is %q in the API and %q in the document", key, r.call, inDoc[key])
		}
		delete(inDoc, key)
	}
	for key := range inDoc {
		t.Errorf("%s is in the document alone", key)
	}
}

// documented sends a request and fails when the document does not allow the
// answer, or, unless the request is meant to be bad, the request.
func (s *server) documented(router routers.Router, good bool, want int, method, path string, body []byte, header ...string) {
	s.Helper()
	req, err := http.NewRequest(method, "/", bytes.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	if req.URL, err = req.URL.Parse(path); err != nil {
		s.Fatal(err)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Set(name, value)
	}
	route, params, err := router.FindRoute(req)
	if err != nil {
		s.Fatalf("%s %s: %v", method, path, err)
	}
	input := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}}
	if good {
		if err := openapi3filter.ValidateRequest(context.Background(), input); err != nil {
			s.Errorf("%s %s: the document forbids the request: %v", method, path, err)
		}
	}
	ask := s.root
	if s.remote || want == 401 || want == 429 {
		ask = s.do
	}
	r := ask(method, path, bytes.NewReader(body), header...)
	if r.StatusCode != want {
		s.Errorf("%s %s: %d, want %d: %s", method, path, r.StatusCode, want, r.body)
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: r.StatusCode, Header: r.Header,
		Body: io.NopCloser(bytes.NewReader(r.body)), Options: input.Options}
	if err := openapi3filter.ValidateResponse(context.Background(), out); err != nil {
		s.Errorf("%s %s: the document forbids the answer: %v\n%s", method, path, err, r.body)
	}
}

func TestDocumentAllowsWhatTheAPIDoes(t *testing.T) {
	// Files of any type are bytes to the validator.
	for _, ct := range []string{"image/png", "multipart/byteranges", "application/x-pem-file"} {
		openapi3filter.RegisterBodyDecoder(ct, openapi3filter.FileBodyDecoder)
		defer openapi3filter.UnregisterBodyDecoder(ct)
	}
	router, err := gorillamux.NewRouter(loadDocument(t))
	if err != nil {
		t.Fatal(err)
	}
	log := newEvents(t)
	tellAll(log, "a")
	s := serve(t, newStore(), withEvents(log))
	good := func(want int, method, path string, body []byte, header ...string) {
		t.Helper()
		s.documented(router, true, want, method, path, body, header...)
	}
	bad := func(want int, method, path string, body []byte, header ...string) {
		t.Helper()
		s.documented(router, false, want, method, path, body, header...)
	}
	inJSON, _ := json.Marshal(map[string]string{"filename": "a", "content_type": "image/png", "contents_b64": base64.StdEncoding.EncodeToString(kit.Data(1000))})
	form, ct := formOfParts([2]string{`form-data; name="file"; filename="a"`, "x"})
	good(201, "POST", "/files", inJSON, isJSON)
	good(201, "POST", "/files", []byte(form), ct)
	good(201, "POST", "/files?filename=b", []byte("x"), "Content-Type: image/png", "Idempotency-Key: k", "Repr-Digest: "+digestOf("x"))
	bad(422, "POST", "/files?filename=c", []byte("x"), "Content-Type: image/png", "Idempotency-Key: k")
	bad(400, "POST", "/files", []byte("{}"), isJSON)
	bad(403, "POST", "/files", inJSON, isJSON, "Origin: http://evil.example")
	bad(415, "POST", "/files", inJSON, isJSON, "Content-Encoding: br")
	for _, q := range []string{"", "?limit=2", "?after=1&q=a"} {
		good(200, "GET", "/files"+q, nil)
	}
	bad(400, "GET", "/files?limit=x", nil)
	good(200, "GET", "/files/1", nil)
	good(200, "GET", "/files/1?download", nil)
	good(206, "GET", "/files/1", nil, "Range: bytes=0-9")
	good(206, "GET", "/files/1", nil, "Range: bytes=0-9,20-29")
	bad(416, "GET", "/files/1", nil, "Range: bytes=5000-")
	good(304, "GET", "/files/1", nil, "If-None-Match: *")
	good(412, "GET", "/files/1", nil, `If-Match: "x"`)
	bad(404, "GET", "/files/77", nil)
	bad(404, "GET", "/files/x", nil)
	good(200, "GET", "/files/1/info", nil)
	bad(404, "GET", "/files/77/info", nil)
	good(412, "DELETE", "/files/1", nil, `If-Match: "x"`)
	good(200, "DELETE", "/files/1", nil)
	good(200, "GET", "/trash?limit=3&after=0&q=a", nil)
	bad(400, "GET", "/trash?limit=x", nil)
	good(412, "POST", "/files/1/undelete", nil, `If-Match: "x"`)
	good(200, "POST", "/files/1/undelete", nil)
	bad(404, "POST", "/files/77/undelete", nil)
	good(200, "DELETE", "/files/1", nil)
	bad(400, "DELETE", "/files/1?purge=2", nil)
	good(200, "DELETE", "/files/1?purge=1", nil)
	good(200, "DELETE", "/trash", nil)
	bad(404, "DELETE", "/files/1", nil)
	good(200, "GET", "/events?after=0&limit=1", nil)
	bad(400, "GET", "/events?limit=x", nil)
	for _, path := range []string{"/events", "/nodes", "/scrub", "/status", "/livez", "/readyz", "/metrics", "/openapi.yaml"} {
		good(200, "GET", path, nil)
	}

	good(200, "GET", "/access-tokens", nil)
	bad(415, "POST", "/access-tokens", []byte("x"), "Content-Type: text/plain")
	bad(400, "POST", "/access-tokens", []byte(`{"name": "x", "scope": "root"}`), isJSON)
	good(201, "POST", "/access-tokens", []byte(`{"name": "x", "scope": "read"}`), isJSON)
	good(201, "POST", "/access-tokens", []byte(`{"name": "y", "scope": "admin", "ttl_seconds": 60}`), isJSON)
	good(200, "GET", "/access-tokens", nil)
	good(200, "DELETE", "/access-tokens/"+s.api.cfg.Tokens.Tokens()[0].ID, nil)
	bad(404, "DELETE", "/access-tokens/x", nil)
	good(201, "POST", "/join-tokens", []byte(`{"uses": 3, "ttl_seconds": 1800, "node": "", "zone": "attic"}`), isJSON)
	good(201, "POST", "/join-tokens", []byte(`{}`), isJSON)
	bad(400, "POST", "/join-tokens", []byte(`{"uses": 0}`), isJSON)
	bad(415, "POST", "/join-tokens", []byte("x"), "Content-Type: text/plain")
	good(200, "GET", "/join-tokens", nil)
	good(200, "DELETE", "/join-tokens/ID000001", nil)
	bad(404, "DELETE", "/join-tokens/x", nil)
	for _, path := range []string{"/nodes/n1", "/nodes/n1/unplug"} {
		good(200, "GET", path, nil)
		bad(404, "GET", strings.Replace(path, "n1", "x", 1), nil)
	}
	good(200, "POST", "/scrub", []byte(`{"action": "start", "node": "n1"}`), isJSON)
	bad(400, "POST", "/scrub", []byte(`{"action": "stop"}`), isJSON)
	good(404, "POST", "/scrub", []byte(`{"action": "pause", "node": "x"}`), isJSON)
	good(200, "DELETE", "/nodes/n1?force=1", nil)
	bad(400, "DELETE", "/nodes/n1?force=x", nil)
	bad(404, "DELETE", "/nodes/x", nil)
	good(200, "PATCH", "/nodes/n1", []byte(`{"zone": "attic", "name": "pi-3", "accept_bytes": 64000000000}`), isJSON)
	bad(400, "PATCH", "/nodes/n1", []byte(`{}`), isJSON)
	bad(415, "PATCH", "/nodes/n1", []byte(`{}`), "Content-Type: text/plain")
	bad(404, "PATCH", "/nodes/x", []byte(`{"zone": ""}`), isJSON)
	good(200, "POST", "/nodes/n1/rotate", nil)
	bad(404, "POST", "/nodes/x/rotate", nil)
	good(200, "GET", "/ca.pem", nil)
	good(403, "POST", "/v1/nodes/join", []byte(joinBody), isJSON)
	for range maxAttempts {
		bad(401, "GET", "/access-tokens", nil, "Authorization: Bearer x")
	}
	bad(429, "GET", "/access-tokens", nil, "Authorization: Bearer x")

	st := newStore()
	s = serve(t, st, func(c *Config) {
		c.Status = func(context.Context) (Status, error) {
			return Status{Health: raid.AtRisk, Clones: []Clone{{Node: "n1", Address: "10.0.0.1:5", LastRefused: "2026-01-02 03:04:05"}}}, nil
		}
	})
	good(200, "GET", "/status", nil)
	st = newStore()
	st.uploadErr = raid.ErrArrayFull
	s = serve(t, st, func(c *Config) { c.MaxBody, c.Ready = 2000, func() error { return errors.New("no") } })
	bad(507, "POST", "/files?filename=a", []byte("x"), "Content-Type: image/png")
	bad(413, "POST", "/files?filename=a", make([]byte, 2001), "Content-Type: image/png")
	bad(503, "GET", "/readyz", nil)
	st = newStore()
	st.change = func(f *raid.File) { f.Degraded, f.Lab = true, true }
	s = serve(t, st)
	good(201, "POST", "/files", inJSON, isJSON)
	good(200, "GET", "/files", nil)
}

func TestDocumentAllowsWhatNodesAreTold(t *testing.T) {
	router, err := gorillamux.NewRouter(loadDocument(t))
	if err != nil {
		t.Fatal(err)
	}
	p := servePort(t, portSetup{wrap: kit.SeemsFrom("192.168.1.7")})
	p.remote, p.url, p.client = true, p.secure, p.node
	for err, want := range map[error]int{
		nil: 200, raid.ErrUnauthorized: 401, raid.ErrForbidden: 403, raid.ErrPrecondition: 409, raid.ErrInvalid: 400, raid.ErrCatalogBroken: 503, raid.ErrShutdown: 503, raid.ErrGone: 410,
	} {
		p.desk.err = err
		if want != 410 {
			p.documented(router, true, want, "POST", "/v1/nodes/join", []byte(joinBody), isJSON)
		}
		p.documented(router, true, want, "POST", "/v1/nodes/renew", []byte(`{"csr": "Y3Ny"}`), isJSON)
		p.documented(router, true, want, "POST", "/v1/nodes/leave", []byte(`{"force": true}`), isJSON)
	}
	p.desk.err = raid.ErrUpgrade
	p.documented(router, true, 426, "POST", "/v1/nodes/join", []byte(joinBody), isJSON)
	p.desk.err = raid.ErrUnauthorized
	for range maxAttempts {
		p.through(p.node, p.secure, "POST", "/v1/nodes/join", strings.NewReader(joinBody))
	}
	p.documented(router, true, 429, "POST", "/v1/nodes/join", []byte(joinBody), isJSON)
}
