package httpapi

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/test/kit"
)

// formOfParts writes a form: each part is a Content-Disposition and contents.
func formOfParts(parts ...[2]string) (body, contentType string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, p := range parts {
		pw, _ := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {p[0]}, "Content-Type": {"image/png"}})
		io.WriteString(pw, p[1])
	}
	w.Close()
	return b.String(), "Content-Type: " + w.FormDataContentType()
}

func TestFormUploadStoresTheFirstFile(t *testing.T) {
	s := serve(t, newStore())
	data := string(kit.Data(200_000))
	for name, c := range map[string]struct{ disposition, query, filename string }{
		"as curl sends it":     {`form-data; name="file"; filename="a.png"`, "", "a.png"},
		"renamed by the query": {`form-data; name="file"; filename="a.png"`, "?filename=b.png", "b.png"},
		"unnamed and renamed":  {`form-data; name="file"; filename=""`, "?filename=b.png", "b.png"},
		"with slashes":         {`form-data; name="file"; filename="x/y/../a.png"`, "", "x/y/../a.png"},
		"as browsers escape":   {`form-data; name="file"; filename="a%22b%0D%0Ac%20d"`, "", "a\"b\r\nc%20d"},
		"with a backslash":     {`form-data; name="file"; filename="C:\dir\a.png"`, "", `C:\dir\a.png`},
		"in UTF-8":             {`form-data; name="file"; filename="東京 😀.png"`, "", "東京 😀.png"},
		"as RFC 5987":          {`form-data; name="file"; filename*=UTF-8''Z%C3%BCrich`, "", "Zürich"},
		"as .NET sends it":     {`form-data; name=file; filename="=?utf-8?B?WsO8cmljaA==?="; filename*=utf-8''Z%C3%BCrich`, "", "Zürich"},
		"without quotes":       {`form-data; name=file; filename=a.png`, "", "a.png"},
	} {
		t.Run(name, func(t *testing.T) {
			body, ct := formOfParts([2]string{`form-data; name="comment"`, "hello"}, [2]string{c.disposition, data}, [2]string{`form-data; name="after"`, "x"})
			r := s.do("POST", "/files"+c.query, strings.NewReader(body), ct)
			if r.StatusCode != http.StatusCreated {
				t.Fatalf("%d %s", r.StatusCode, r.body)
			}
			id := strings.TrimPrefix(r.Header.Get("Location"), "/files/")
			s.sameName(id, c.filename)
			if r = s.do("GET", "/files/"+id, nil); string(r.body) != data || r.Header.Get("Content-Type") != "image/png" {
				t.Errorf("%d bytes of type %s", len(r.body), r.Header.Get("Content-Type"))
			}
		})
	}
}

func TestBadFormsStoreNothingAndSayWhy(t *testing.T) {
	s := serve(t, newStore())
	file := [2]string{`form-data; name="file"; filename="a.png"`, strings.Repeat("contents ", 10_000)}
	good, ct := formOfParts(file)
	two, ctTwo := formOfParts(file, [2]string{`form-data; name="x"`, "y"}, [2]string{`form-data; name="file2"; filename="b.png"`, "b"})
	none, ctNone := formOfParts([2]string{`form-data; name="file"`, "a"})
	empty, ctEmpty := formOfParts([2]string{`form-data; name="file"; filename=""`, ""})
	unnamed, ctUnnamed := formOfParts([2]string{`form-data; name="file"; filename=""`, "x"})
	twoUnnamed, ctTwoUnnamed := formOfParts(file, [2]string{`form-data; name="file2"; filename=""`, "x"})
	badName, ctBadName := formOfParts([2]string{"form-data; name=\"file\"; filename=\"\xff\"", ""})
	badType := strings.Replace(good, "image/png", strings.Repeat("t", 300), 1)
	noDisposition := strings.Replace(good, "Content-Disposition", "X-Disposition", 1)
	for name, c := range map[string]struct{ body, ct, says string }{
		"two files":         {two, ctTwo, `second file, "b.png"`},
		"no file":           {none, ctNone, "no file"},
		"no name":           {empty, ctEmpty, "no file"},
		"contents, no name": {unnamed, ctUnnamed, "filename is empty"},
		"a second, unnamed": {twoUnnamed, ctTwoUnnamed, "second file"},
		"name not UTF-8":    {badName, ctBadName, "UTF-8"},
		"bad type":          {badType, ct, "300 bytes"},
		"no disposition":    {noDisposition, ct, "Content-Disposition"},
		"no boundary":       {good, "Content-Type: multipart/form-data", "boundary"},
		"other boundary":    {good, "Content-Type: multipart/form-data; boundary=other", "its boundary"},
		"empty":             {"", ct, "last boundary"},
		"cut in the file":   {good[:50_000], ct, "last boundary"},
		"cut at the end":    {good[:len(good)-6], ct, "last boundary"},
		"endless header":    {strings.Replace(good, "image/png", strings.Repeat("t", 1<<20), 1), ct, "header"},
		"endless preamble":  {strings.Repeat("x", 1<<20) + "\r\n" + good, ct, "its boundary"},
		"endless lines":     {strings.Repeat("x\r\n", 1<<20) + good, ct, "header"},
		"digest mismatch":   {good, ct + "\nRepr-Digest: " + digestOf("y"), "neither"},
	} {
		t.Run(name, func(t *testing.T) {
			r := s.do("POST", "/files", strings.NewReader(c.body), strings.Split(c.ct, "\n")...)
			if msg := s.wantError(r, http.StatusBadRequest); !strings.Contains(msg, c.says) {
				t.Errorf("the message does not say %q: %s", c.says, msg)
			}
		})
	}
	if n := s.store.count(); n != 0 {
		t.Errorf("%d files were stored", n)
	}
	for _, d := range []string{digestOf(good), digestOf(file[1])} {
		if r := s.do("POST", "/files", strings.NewReader(good), ct, "Repr-Digest: "+d); r.StatusCode != http.StatusCreated {
			t.Errorf("a right digest: %d %s", r.StatusCode, r.body)
		}
	}
}

// A browser sends each file input of a form, also those that nobody chose a file for.
func TestUnusedFileInputIsNoFile(t *testing.T) {
	s := serve(t, newStore())
	unused := [2]string{`form-data; name="b"; filename=""`, ""}
	file := [2]string{`form-data; name="file"; filename="a.txt"`, "contents"}
	for name, parts := range map[string][][2]string{
		"before": {unused, file}, "after": {file, unused}, "many": {unused, unused, file, unused, unused}, "without quotes": {{"form-data; name=b; filename=", ""}, file},
	} {
		for _, query := range []string{"", "?filename=b.txt"} {
			body, ct := formOfParts(parts...)
			r := s.do("POST", "/files"+query, strings.NewReader(body), ct)
			if r.StatusCode != http.StatusCreated {
				t.Fatalf("%s: %d %s", name, r.StatusCode, r.body)
			}
			id := strings.TrimPrefix(r.Header.Get("Location"), "/files/")
			s.sameName(id, map[string]string{"": "a.txt", "?filename=b.txt": "b.txt"}[query])
			if r = s.do("GET", "/files/"+id, nil); string(r.body) != "contents" {
				t.Errorf("%s: %q", name, r.body)
			}
		}
	}
	body, ct := formOfParts(unused, unused)
	if text := s.wantError(s.do("POST", "/files?filename=x", strings.NewReader(body), ct), 400); !strings.Contains(text, "has no file") {
		t.Error(text)
	}
}
