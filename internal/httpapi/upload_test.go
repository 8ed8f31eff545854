package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

const isJSON = "Content-Type: application/json"

func TestJSONUploadTakesWhatTheAssignmentAllows(t *testing.T) {
	s := serve(t, newStore())
	for name, c := range map[string]struct{ body, filename, contentType, contents string }{
		"in order":        {`{"filename":"a","content_type":"b/c","contents_b64":"QUJD"}`, "a", "b/c", "ABC"},
		"contents first":  {`{"contents_b64":"QUJD","content_type":"b/c","filename":"a"}`, "a", "b/c", "ABC"},
		"contents middle": {`{"filename":"a","contents_b64":"QUI=","content_type":"b/c"}`, "a", "b/c", "AB"},
		"white space":     {" \r\n\t{ \"filename\" : \"a\" ,\n\"content_type\":\t\"b/c\", \"contents_b64\": \"QQ==\" } \n", "a", "b/c", "A"},
		"empty file":      {`{"filename":"a","content_type":"b/c","contents_b64":""}`, "a", "b/c", ""},
		"default type":    {`{"filename":"a","content_type":"","contents_b64":""}`, "a", "application/octet-stream", ""},
		"escapes": {`{"filename":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00","content_type":"b\/c","contents_b64":"\/\u002B\u002b\/QUJD"}`,
			"\"\\/\b\f\n\r\té😀", "b/c", "\xff\xef\xbfABC"},
		"escaped names":  {`{"file\u006eame":"a","content_\u0074ype":"b/c","\u0063ontents_b64":"QUJD"}`, "a", "b/c", "ABC"},
		"unknown fields": {`{"x":{"filename":[1,-2.5e+3,true,false,null,"]}",{}]},"filename":"a","xx":0,"content_type":"b/c","x":"","contents_b64":"QUJD","y":[[]]}`, "a", "b/c", "ABC"},
		"every escape":   {`{"filename":"a","content_type":"b/c","contents_b64":"\u0051\u0055\u004A\u0044\u0051\u0051\u003d\u003D"}`, "a", "b/c", "ABCA"},
		"no type":        {`{"filename":"a","contents_b64":"QUJD"}`, "a", "application/octet-stream", "ABC"},
		"null as type":   {`{"content_type": null ,"filename":"a","contents_b64":"QUJD"}`, "a", "application/octet-stream", "ABC"},
		"a mark":         {"\ufeff" + `{"filename":"a","content_type":"b/c","contents_b64":"QUJD"}`, "a", "b/c", "ABC"},
		"as Ruby writes": {`{"filename":"a","content_type":"b/c","contents_b64":"QUJD\nQUI=\n"}`, "a", "b/c", "ABCAB"},
		"as Java writes": {`{"filename":"a","content_type":"b/c","contents_b64":"QUJD\r\nQUJDQ\u000d\u000aUI=\r\n"}`, "a", "b/c", "ABCABCAB"},
		"as base64(1)":   {"{\"filename\":\"a\",\"content_type\":\"b/c\",\"contents_b64\":\"QUJD\nQ\n\r\nUI=\n\"}", "a", "b/c", "ABCAB"},
		"only breaks":    {`{"filename":"a","content_type":"b/c","contents_b64":"\n\r\n\n"}`, "a", "b/c", ""},
		"unicode":        {`{"filename":"Zürich 東京 😀","content_type":"text/plain; charset=utf-8","contents_b64":"QUJD"}`, "Zürich 東京 😀", "text/plain; charset=utf-8", "ABC"},
		"nul":            {`{"filename":"a\u0000b","content_type":"b/c","contents_b64":"QUJD"}`, "a\x00b", "b/c", "ABC"},
	} {
		t.Run(name, func(t *testing.T) {
			r := s.do("POST", "/files", strings.NewReader(c.body), isJSON)
			if r.StatusCode != http.StatusCreated {
				t.Fatalf("%d %s", r.StatusCode, r.body)
			}
			r = s.do("GET", r.Header.Get("Location"), nil)
			if string(r.body) != c.contents || r.Header.Get("Content-Type") != c.contentType {
				t.Errorf("got %q of type %q", r.body, r.Header.Get("Content-Type"))
			}
			r = s.do("GET", r.Request.URL.Path+"/info", nil)
			var info struct{ Filename string }
			if err := json.Unmarshal(r.body, &info); err != nil || info.Filename != c.filename {
				t.Errorf("got filename %q, want %q", info.Filename, c.filename)
			}
		})
	}
}

func TestBadJSONStoresNothingAndSaysWhy(t *testing.T) {
	s := serve(t, newStore())
	full := func(contents string) string {
		return `{"filename":"a","content_type":"b/c","contents_b64":"` + contents + `"}`
	}
	for name, c := range map[string]struct{ body, says string }{
		"empty":                    {"", "ends too early"},
		"not JSON":                 {"hello", "an object"},
		"an array":                 {`["filename"]`, "an object"},
		"empty object":             {`{}`, "lacks filename and contents_b64;"},
		"no filename":              {`{"content_type":"b/c","contents_b64":"QUJD"}`, "lacks filename;"},
		"content type a number":    {`{"filename":"a","content_type":1,"contents_b64":"QUJD"}`, "value of content_type"},
		"content type no null":     {`{"filename":"a","content_type":nul,"contents_b64":"QUJD"}`, "true, false or null"},
		"null and a content type":  {`{"filename":"a","content_type":null,"content_type":"a/b","contents_b64":"QUJD"}`, "twice"},
		"no contents":              {`{"filename":"a","content_type":"b/c"}`, "lacks contents_b64;"},
		"cut in a name":            {`{"filen`, "ends too early"},
		"cut in the contents":      {`{"filename":"a","content_type":"b/c","contents_b64":"QUJD`, "ends too early"},
		"cut after the contents":   {`{"filename":"a","content_type":"b/c","contents_b64":"QUJD"`, "ends too early"},
		"trailing comma":           {`{"filename":"a","content_type":"b/c","contents_b64":"QUJD",}`, "a name in quotes"},
		"trailing garbage":         {full("QUJD") + "x", "the end"},
		"a second object":          {full("QUJD") + "{}", "the end"},
		"repeated filename":        {`{"filename":"a","filename":"a","content_type":"b/c","contents_b64":"QUJD"}`, `"filename" comes twice`},
		"repeated contents":        {`{"filename":"a","contents_b64":"QUJD","content_type":"b/c","contents_b64":"QUJD"}`, `"contents_b64" comes twice`},
		"repeated after all":       {`{"filename":"a","contents_b64":"QUJD","content_type":"b/c","content_\u0074ype":"b/c"}`, `"content_type" comes twice`},
		"filename null":            {`{"filename":null,"content_type":"b/c","contents_b64":"QUJD"}`, "value of filename"},
		"filename number":          {`{"filename":1,"content_type":"b/c","contents_b64":"QUJD"}`, "value of filename"},
		"contents an object":       {`{"filename":"a","content_type":"b/c","contents_b64":{}}`, "value of contents_b64"},
		"filename empty":           {`{"filename":"","content_type":"b/c","contents_b64":"QUJD"}`, "filename is empty"},
		"filename too long":        {`{"filename":"` + strings.Repeat("ä", 5001) + `","content_type":"b/c","contents_b64":"QUJD"}`, "5001 characters"},
		"filename far too long":    {`{"filename":"` + strings.Repeat("a", 100_000) + `","content_type":"b/c","contents_b64":"QUJD"}`, "too long"},
		"late bad filename":        {`{"contents_b64":"QUJD","content_type":"b/c","filename":""}`, "filename is empty"},
		"invalid UTF-8":            {"{\"filename\":\"a\xff\",\"content_type\":\"b/c\",\"contents_b64\":\"QUJD\"}", "UTF-8"},
		"overlong UTF-8":           {"{\"filename\":\"a\xc0\xaf\",\"content_type\":\"b/c\",\"contents_b64\":\"QUJD\"}", "UTF-8"},
		"UTF-8 cut by the end":     {"{\"filename\":\"a\xe2\x82", "ends too early"},
		"invalid UTF-8 elsewhere":  {"{\"x\":\"a\xff\",\"filename\":\"a\",\"content_type\":\"b/c\",\"contents_b64\":\"QUJD\"}", "UTF-8"},
		"high surrogate":           {`{"filename":"\ud83d","content_type":"b/c","contents_b64":"QUJD"}`, "surrogate"},
		"low surrogate":            {`{"filename":"\ude00","content_type":"b/c","contents_b64":"QUJD"}`, "surrogate"},
		"two high surrogates":      {`{"filename":"\ud83d\ud83d","content_type":"b/c","contents_b64":"QUJD"}`, "surrogate"},
		"unknown escape":           {`{"filename":"\x41","content_type":"b/c","contents_b64":"QUJD"}`, "an escape"},
		"bad hexadecimal":          {`{"filename":"\u00g1","content_type":"b/c","contents_b64":"QUJD"}`, "hexadecimal"},
		"raw newline in a name":    {"{\"filename\":\"a\nb\",\"content_type\":\"b/c\",\"contents_b64\":\"QUJD\"}", "control characters"},
		"header injection":         {`{"filename":"a","content_type":"b/c\r\nX: y","contents_b64":"QUJD"}`, "control character"},
		"long content type":        {`{"filename":"a","content_type":"` + strings.Repeat("b", 256) + `","contents_b64":"QUJD"}`, "too long"},
		"bad number":               {`{"x":01,"filename":"a","content_type":"b/c","contents_b64":"QUJD"}`, "a comma"},
		"bad exponent":             {`{"x":1e,"filename":"a","content_type":"b/c","contents_b64":"QUJD"}`, "a digit"},
		"bad literal":              {`{"x":nul,"filename":"a","content_type":"b/c","contents_b64":"QUJD"}`, "true, false or null"},
		"too deep":                 {`{"x":` + strings.Repeat("[", 10_000) + `}`, "deep"},
		"base64: wrong character":  {full("QU!D"), "base64"},
		"base64: URL alphabet":     {full("_-__"), "base64"},
		"base64: in the last byte": {full(strings.Repeat("QUJD", 50_000) + "QUJ*"), "base64"},
		"base64: length":           {full("QUJDQ"), "multiple of 4"},
		"base64: no padding":       {full("QUJDQQ"), "multiple of 4"},
		"base64: padding inside":   {full("QQ==QUJD"), "base64"},
		"base64: padding, escaped": {full(`QQ=\u003dQUJD`), "behind its padding"},
		"base64: too much padding": {full("QUJD===="), "base64"},
		"base64: padding alone":    {full("===="), "base64"},
		"base64: stray bits":       {full("QR=="), "base64"},
		"base64: escaped tab":      {full(`QUJD\tQUJD`), "base64"},
		"base64: behind its end":   {full(`QQ==\nQUJD`), "behind its padding"},
		"base64: a line break cut": {full(`QUJ\n`), "multiple of 4"},
		"two byte order marks":     {"\ufeff\ufeff" + full("QUJD"), "an object"},
		"half a byte order mark":   {"\xef\xbb" + full("QUJD"), "an object"},
		"only a byte order mark":   {"\ufeff", "ends too early"},
		"base64: space":            {full("QUJD QUJD"), "base64"},
		"base64: beyond ASCII":     {full(`QUJ\u0144`), "base64"},
		"base64: surrogates":       {full(`QUJ\ud83d\ude00`), "base64"},
		"base64: UTF-8":            {full("QUJé"), "base64"},
		"UTF-16":                   {"{\x00\"\x00f\x00", "a name in quotes"},
	} {
		t.Run(name, func(t *testing.T) {
			msg := s.wantError(s.do("POST", "/files", strings.NewReader(c.body), isJSON), http.StatusBadRequest)
			if !strings.Contains(msg, c.says) {
				t.Errorf("the message does not say %q: %s", c.says, msg)
			}
		})
	}
	if n := s.store.count(); n != 0 {
		t.Errorf("%d files were stored", n)
	}
}

func TestFilenamesComeBackAsSent(t *testing.T) {
	s := serve(t, newStore())
	for _, name := range hardNames() {
		id := s.put(name, []byte("x"))
		s.sameName(id, name)
		body, _ := json.Marshal(map[string]string{"filename": name, "content_type": "a/b", "contents_b64": ""})
		r := s.do("POST", "/files", bytes.NewReader(body), isJSON)
		if r.StatusCode != http.StatusCreated {
			t.Fatalf("JSON: %d %s", r.StatusCode, r.body)
		}
		s.sameName(strings.TrimPrefix(r.Header.Get("Location"), "/files/"), name)
	}
}

func (s *server) sameName(id, name string) {
	s.Helper()
	r := s.do("GET", "/files/"+id+"/info", nil)
	var info struct{ Filename string }
	if err := json.Unmarshal(r.body, &info); err != nil || info.Filename != name {
		s.Errorf("sent %.60q, got %.60q", name, info.Filename)
	}
	r = s.do("GET", "/files/"+id+"?download", nil)
	if got := filenameOf(r); got != name {
		s.Errorf("Content-Disposition: sent %.60q, got %.60q", name, got)
	}
}

func hardNames() []string {
	return []string{
		"plain.txt", "two words.txt", "a\nb\r\nc", "../../etc/passwd", "/", "a\\b", `"quoted"`, "50%22.txt", "semi;colon=\"x\"",
		"Zürich.jpg", "東京 😀", "\x00\x01\x7f", "<script>&'", "a,b", "-rf", ".", strings.Repeat("n", 5000), strings.Repeat("😀", 5000), "\u2028", " ",
	}
}

func TestRawUploadStoresAnyBody(t *testing.T) {
	s := serve(t, newStore())
	for _, size := range []int{0, 1, 4095, 65536, 3 << 20} {
		data := kit.Data(size)
		id := s.put("f", data)
		if r := s.do("GET", "/files/"+id, nil); !bytes.Equal(r.body, data) || r.Header.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("%d bytes came back as %d of type %q", size, len(r.body), r.Header.Get("Content-Type"))
		}
	}
	// A length that is not known, a type that is stored as sent, JSON that is the file.
	r := s.do("POST", "/files?filename=f.json", io.MultiReader(strings.NewReader(`{"a":`), strings.NewReader(`1}`)), isJSON+"; charset=utf-8")
	if r = s.do("GET", r.Header.Get("Location"), nil); string(r.body) != `{"a":1}` || r.Header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("%s of type %s", r.body, r.Header.Get("Content-Type"))
	}
}

func TestBadUploadsStoreNothingAndSayWhy(t *testing.T) {
	s := serve(t, newStore(), func(c *Config) { c.MaxBody, c.MaxFile = 1000, 500 })
	big := func() io.Reader { return bytes.NewReader(make([]byte, 1001)) }
	unknown := func(n int) io.Reader { return struct{ io.Reader }{bytes.NewReader(make([]byte, n))} }
	for name, c := range map[string]struct {
		path   string
		body   io.Reader
		header []string
		status int
		says   string
	}{
		"no name":              {"/files", strings.NewReader("x"), nil, 400, "?filename=NAME"},
		"not said to be JSON":  {"/files", strings.NewReader("{}"), []string{"Content-Type: application/x-www-form-urlencoded"}, 400, "application/json"},
		"empty name":           {"/files?filename=", strings.NewReader("x"), nil, 400, "filename is empty"},
		"name twice":           {"/files?filename=a&filename=b", strings.NewReader("x"), nil, 400, "2 times"},
		"name not UTF-8":       {"/files?filename=%ff", strings.NewReader("x"), nil, 400, "UTF-8"},
		"name too long":        {"/files?filename=" + strings.Repeat("%C3%A4", 5001), strings.NewReader("x"), nil, 400, "5001 characters"},
		"broken query":         {"/files?filename=a;b", strings.NewReader("x"), nil, 400, "percent-encode"},
		"long type":            {"/files?filename=a", strings.NewReader("x"), []string{"Content-Type: " + strings.Repeat("a", 256)}, 400, "256 bytes"},
		"type not UTF-8":       {"/files?filename=a", strings.NewReader("x"), []string{"Content-Type: a/\xff"}, 400, "UTF-8"},
		"encoded":              {"/files?filename=a", strings.NewReader("x"), []string{"Content-Encoding: gzip"}, 415, "gzip"},
		"too large":            {"/files?filename=a", big(), nil, 413, "max_body"},
		"too large as JSON":    {"/files", big(), []string{isJSON}, 413, "max_body"},
		"too large, unknown":   {"/files?filename=a", unknown(1001), nil, 413, "max_body"},
		"file too large":       {"/files?filename=a", bytes.NewReader(make([]byte, 501)), nil, 413, "max_whole_file"},
		"wrong digest":         {"/files?filename=a", strings.NewReader("x"), []string{"Repr-Digest: " + digestOf("y")}, 400, ""},
		"wrong content digest": {"/files?filename=a", strings.NewReader("x"), []string{"Content-Digest: " + digestOf("y")}, 400, ""},
		"two digests":          {"/files?filename=a", strings.NewReader("x"), []string{"Repr-Digest: " + digestOf("x"), "Content-Digest: " + digestOf("y")}, 400, "different"},
		"malformed digest":     {"/files?filename=a", strings.NewReader("x"), []string{"Repr-Digest: sha-256=abc"}, 400, "sha-256=:"},
		"short digest":         {"/files?filename=a", strings.NewReader("x"), []string{"Repr-Digest: sha-256=:YWJj:"}, 400, "sha-256=:"},
		"wrong digest, JSON":   {"/files", strings.NewReader(`{"filename":"a","content_type":"b","contents_b64":""}`), []string{isJSON, "Repr-Digest: " + digestOf("y")}, 400, "neither"},
		"cross-origin":         {"/files?filename=a", strings.NewReader("x"), []string{"Sec-Fetch-Site: cross-site"}, 403, "origin"},
		"cross-origin, old":    {"/files?filename=a", strings.NewReader("x"), []string{"Origin: http://evil.example"}, 403, "origin"},
	} {
		t.Run(name, func(t *testing.T) {
			msg := s.wantError(s.do("POST", c.path, c.body, c.header...), c.status)
			if !strings.Contains(msg, c.says) {
				t.Errorf("the message does not say %q: %s", c.says, msg)
			}
		})
	}
	if n := s.store.count(); n != 0 {
		t.Errorf("%d files were stored", n)
	}
}

func digestOf(s string) string { return httpserver.FormatDigest(sha256.Sum256([]byte(s))) }

func TestRightDigestsAreAccepted(t *testing.T) {
	s := serve(t, newStore())
	inJSON := `{"filename":"a","content_type":"b","contents_b64":"` + base64.StdEncoding.EncodeToString([]byte("file")) + `"}`
	for _, c := range []struct{ path, body, ct, digest string }{
		{"/files?filename=a", "file", "a/b", digestOf("file")},
		{"/files?filename=a", "file", "a/b", "md5=:AAAA:, " + digestOf("file") + ";x=1"},
		{"/files?filename=a", "file", "a/b", "sha-512=:AAAA:"},
		{"/files", inJSON, "application/json", digestOf("file")},
		{"/files", inJSON, "application/json", digestOf(inJSON)},
	} {
		r := s.do("POST", c.path, strings.NewReader(c.body), "Content-Type: "+c.ct, "Repr-Digest: "+c.digest)
		if r.StatusCode != http.StatusCreated {
			t.Errorf("%v: %d %s", c, r.StatusCode, r.body)
		}
	}
}

// A client that reads from a pipe knows the digest only when all is sent.
func TestDigestInATrailerIsChecked(t *testing.T) {
	s := serve(t, newStore())
	inJSON := `{"filename":"a","content_type":"b","contents_b64":"eA=="}`
	for _, c := range []struct {
		path, body, digest string
		status             int
	}{
		{"/files?filename=a", "x", digestOf("x"), 201}, {"/files?filename=a", "x", digestOf("y"), 400},
		{"/files", inJSON, digestOf("x"), 201}, {"/files", inJSON, digestOf("y"), 400},
		{"/files", inJSON, "sha-256=nonsense", 400},
	} {
		req, _ := http.NewRequest("POST", s.url+c.path, struct{ io.Reader }{strings.NewReader(c.body)})
		req.Header.Set("Content-Type", "application/json")
		req.Trailer = http.Header{"Repr-Digest": {c.digest}}
		if r := s.send(req); r.StatusCode != c.status {
			t.Errorf("%v: %d %s", c, r.StatusCode, r.body)
		}
	}
}

func TestEveryErrorHasItsStatus(t *testing.T) {
	for err, want := range map[error]int{
		raid.ErrTooFewNodes: 503, raid.ErrArrayFull: 507, raid.ErrCatalogBehind: 503, raid.ErrInvalid: 400,
		raid.ErrPrecondition: 409, raid.ErrTooLarge: 413, raid.ErrNotFound: 404, raid.ErrShutdown: 503,
		raid.ErrNoSpace: 507, raid.ErrCatalogBroken: 503, raid.ErrExpired: 503, errors.New("secret"): 500,
		fmt.Errorf("%w: all failed: %w", raid.ErrTooFewNodes, raid.ErrNotFound): 503,
		fmt.Errorf("%w: no good copy: %w", raid.ErrCorrupt, raid.ErrNotFound):   500,
	} {
		st := newStore()
		st.uploadErr = err
		s := serve(t, st)
		r := s.do("POST", "/files?filename=a", strings.NewReader("x"))
		msg := s.wantError(r, want)
		if strings.Contains(msg, "secret") {
			t.Errorf("the text of an unknown error is shown: %s", msg)
		}
		if (want == 503) != (r.Header.Get("Retry-After") != "") {
			t.Errorf("%d with Retry-After %q", want, r.Header.Get("Retry-After"))
		}
		if want >= 500 && !strings.Contains(s.logged.String(), err.Error()) {
			t.Errorf("%v is not in the log", err)
		}
	}
}

func TestDegradedAndLabUploadsSaySo(t *testing.T) {
	st := newStore()
	st.change = func(f *raid.File) { f.Degraded, f.Lab = true, true }
	s := serve(t, st)
	r := s.do("POST", "/files?filename=a", strings.NewReader("x"))
	if want := `{"id":1,"degraded":true,"lab":true}`; strings.TrimSpace(string(r.body)) != want {
		t.Errorf("got %s, want %s", r.body, want)
	}
}

// filenameOf is the name that a client reads out of an answer's Content-Disposition.
func filenameOf(r reply) string {
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Disposition"))
	if err != nil {
		return "error: " + err.Error()
	}
	return params["filename"]
}
