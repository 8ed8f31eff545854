package uploadbody

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/httpserver"
)

func FuzzFormFilename(f *testing.F) {
	f.Add(`form-data; name="file"; filename="a\"b"`)
	f.Add(`form-data; filename*=utf-8''a; filename=b`)
	f.Fuzz(func(t *testing.T, header string) {
		if name, named, ok := formFilename(header); named && !ok || len(name) > len(header) {
			t.Errorf("%q: %q, %v, %v", header, name, named, ok)
		}
	})
}

func FuzzFormUpload(f *testing.F) {
	good := "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n" +
		"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\ncontents\r\n--XX--\r\n"
	f.Add([]byte(good))
	f.Add([]byte(strings.Replace(good, `filename="a"`, `filename=a; filename=b`, 1)))
	f.Add([]byte(good[:40]))
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := newFormUpload(bytes.NewReader(b), "XX", "")
		if err != nil {
			checkBadRequest(t, err)
			return
		}
		if _, err := io.Copy(io.Discard, u); err != nil {
			checkBadRequest(t, err)
			return
		}
		if d, _ := u.Describe(); checkFilename(d.Filename) != nil {
			t.Fatalf("the name %q was let through", d.Filename)
		}
	})
}

// Each name as a real client writes it, and what its user called the file.
func TestFormNamesComeBackAsSent(t *testing.T) {
	for header, want := range map[string]string{
		`form-data; name="file"; filename="a\(1).txt"`:                 `a\(1).txt`, // curl, browsers
		`form-data; name="file"; filename="a\\(1).txt"`:                `a\\(1).txt`,
		`form-data; name="file"; filename="C:\dir\new.txt"`:            `C:\dir\new.txt`,
		`form-data; name="file"; filename="\\host\share\"`:             `\\host\share\`,
		`form-data; filename="ends with \"; name="file"`:               `ends with \`,
		`form-data; name="file"; filename="\"`:                         `\`,
		`form-data; name="file"; filename="say %22hi%22.txt"`:          `say "hi".txt`,
		`form-data; name="file"; filename="a%0D%0Ab%0ac%0dd"`:          "a\r\nb\nc\rd",
		`form-data; name="file"; filename="100%.txt"`:                  "100%.txt",
		`form-data; name="file"; filename="%25 %2F %20 %"`:             "%25 %2F %20 %",
		`form-data; name="file"; filename="a;b=c; filename=x"`:         "a;b=c; filename=x",
		`form-data; name="file"; filename="say \"hi\".txt"`:            `say "hi".txt`, // curl before 7.81
		`form-data; name="file"; filename="a\\b \"c\""`:                `a\b "c"`,
		`form-data; name="x\"y"; filename="a.txt"`:                     "a.txt",
		`form-data; name="filename=\"no\""; filename="a.txt"`:          "a.txt",
		`form-data;name="file";filename="a.txt"`:                       "a.txt",
		`Form-Data ; Name = "file" ; FileName = "a.txt" ;`:             "a.txt",
		`form-data; name=file; filename=a b.txt`:                       "a b.txt",  // without quotes
		`form-data; name="file"; filename*=UTF-8''Z%C3%BCrich%20%5C`:   `Zürich \`, // older requests
		`form-data; name="f"; filename="x"; filename*=utf-8'de'%C3%BC`: "ü",
		`form-data; name="f"; filename*="UTF-8''a%22b"`:                `a"b`,
		`form-data; name="f"; filename="\u6771\u4eac"`:                 `\u6771\u4eac`,
	} {
		name, named, ok := formFilename(header)
		if name != want || !named || !ok {
			t.Errorf("%s: %q, %v, %v; want %q", header, name, named, ok, want)
		}
	}
	for header, readable := range map[string]bool{
		`form-data; name="file"`: true, `form-data; name="filename"; x="filename=a"`: true, `attachment; filename="a"`: true,
		``: false, `; filename="a"`: false, `form-data; filename="a`: false, `form-data; filename="a"b`: false, `form-data; filename="a"; filename="b"`: false,
		`form-data; filename`: false, `form-data; ="a"`: false, `form-data; filename*=latin1''a`: false, `form-data; filename*=utf-8''%zz`: false,
		`form-data; filename*=utf-8`: false,
	} {
		if name, named, ok := formFilename(header); named || ok != readable {
			t.Errorf("%s: %q, %v, %v", header, name, named, ok)
		}
	}
}

func checkBadRequest(t *testing.T, err error) {
	t.Helper()
	var e *httpserver.Error
	if !errors.As(err, &e) || e.Status != http.StatusBadRequest {
		t.Fatalf("%v is %+v", err, e)
	}
}
