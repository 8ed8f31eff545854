package httpapi

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
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
	data := string(testData(200_000))
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
	good, _ := formOfParts([2]string{`form-data; name="a"`, "b"}, [2]string{`form-data; name="file"; filename="a"`, "contents"})
	boundary := strings.TrimPrefix(good[:strings.Index(good, "\r\n")], "--")
	good = strings.ReplaceAll(good, boundary, "XX")
	f.Add([]byte(good))
	f.Add([]byte(strings.Replace(good, `filename="a"`, `filename=a; filename=b`, 1)))
	f.Add([]byte(good[:40]))
	f.Fuzz(func(t *testing.T, b []byte) {
		u, err := newFormUpload(bytes.NewReader(b), "XX", "")
		if err != nil {
			if status, _ := statusOf(err); status != http.StatusBadRequest {
				t.Fatalf("%v is %d", err, status)
			}
			return
		}
		if _, err := io.Copy(io.Discard, u); err != nil {
			if status, _ := statusOf(err); status != http.StatusBadRequest {
				t.Fatalf("%v is %d", err, status)
			}
			return
		}
		if d, _ := u.Describe(); checkFilename(d.Filename) != nil {
			t.Fatalf("the name %q was let through", d.Filename)
		}
	})
}
