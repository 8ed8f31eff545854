package uploadbody

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/raidpi/raidpi/test/kit"
)

// decodeJSON reads an upload as encoding/json understands it, holding it in
// memory whole. ok is false where an upload is not acceptable.
func decodeJSON(b []byte) (filename, contentType string, contents []byte, ok bool) {
	if !utf8.Valid(b) {
		return "", "", nil, false
	}
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	dec := json.NewDecoder(bytes.NewReader(b))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return "", "", nil, false
	}
	fields := map[string]string{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return "", "", nil, false
		}
		var v any
		if err := dec.Decode(&v); err != nil {
			return "", "", nil, false
		}
		n := name.(string)
		if n != fieldFilename && n != fieldContentType && n != fieldContents {
			continue
		}
		s, isString := v.(string)
		isString = isString || n == fieldContentType && v == nil
		if _, again := fields[n]; again || !isString {
			return "", "", nil, false
		}
		fields[n] = s
	}
	if _, err := dec.Token(); err != nil {
		return "", "", nil, false
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) || !has(fields, fieldFilename) || !has(fields, fieldContents) {
		return "", "", nil, false
	}
	ct, err := checkContentType(fields[fieldContentType])
	if err != nil || len(fields[fieldContentType]) > maxContentType || checkFilename(fields[fieldFilename]) != nil {
		return "", "", nil, false
	}
	text := fields[fieldContents]
	contents, err = strict.DecodeString(text) // which reads over line breaks
	return fields[fieldFilename], ct, contents, err == nil
}

func has(fields map[string]string, name string) bool {
	_, there := fields[name]
	return there
}

// rawBreaks are taken out where they are no escapes, in base64 too, which no other
// decoder takes.
var rawBreaks = strings.NewReplacer("\r", "", "\n", "")

// scanJSON reads an upload as the API does.
func scanJSON(src io.Reader, window int, buf []byte) (*jsonUpload, []byte, error) {
	j := newJSONUpload(src, -1)
	j.s.buf = make([]byte, window)
	var out []byte
	for {
		n, err := j.Read(buf)
		out = append(out, buf[:n]...)
		if err == io.EOF {
			return j, out, nil
		}
		if err != nil {
			return j, out, err
		}
	}
}

// surrogate matches what may be half a surrogate pair, where encoding/json is
// lenient and we are not.
var surrogate = regexp.MustCompile(`(?i)\\ud[89a-f]`)

func FuzzJSONUpload(f *testing.F) {
	for _, s := range []string{
		`{"filename":"a","content_type":"b/c","contents_b64":"QUJD"}`,
		`{"contents_b64":"\/\u002b\/=","filename":"\ud83d\ude00","content_type":""}`,
		` {"x":[{"y":-1.5e-3},null,true,false,""],"filename":"a","content_type":"b","contents_b64":"QQ=="} `,
		`{"filename":"a","content_type":"b","contents_b64":"QUJDQUJDQUJDQUJDQUJDQUJDQUJDQQ=="}`,
		`{"filename":"é","content_type":"b","contents_b64":"QUJD\nQUJD"}`, `{"filename":"a","filename":"a"}`, `{}`, `[]`, ``,
	} {
		f.Add([]byte(s), uint8(0), uint8(0))
		f.Add([]byte(s), uint8(3), uint8(7))
	}
	f.Fuzz(func(t *testing.T, b []byte, window, size uint8) {
		name, ct, want, ok := decodeJSON(b)
		var src io.Reader = bytes.NewReader(b)
		switch window % 3 {
		case 1:
			src = iotest.OneByteReader(src)
		case 2:
			src = iotest.DataErrReader(src)
		}
		j, got, err := scanJSON(src, 4+int(window), make([]byte, 1+int(size)))
		if err != nil {
			if ok && !surrogate.Match(b) && !strings.Contains(err.Error(), "deep") {
				t.Fatalf("%q is acceptable, but: %v", b, err)
			}
			return
		}
		if !ok {
			name, ct, want, ok = decodeJSON([]byte(rawBreaks.Replace(string(b))))
		}
		d, _ := j.Describe()
		if !ok || d.Filename != name || d.ContentType != ct || !bytes.Equal(got, want) {
			t.Fatalf("%q was read as %q, %q, %q; want %v, %q, %q, %q", b, d.Filename, d.ContentType, got, ok, name, ct, want)
		}
	})
}

// Every way in which window, buffer and contents can come to lie.
func TestContentsSurviveAnyBufferSize(t *testing.T) {
	for n := range 20 {
		data := kit.Data(n)
		text := base64.StdEncoding.EncodeToString(data)
		escaped := strings.ReplaceAll(strings.ReplaceAll(text, "/", `\/`), "A", `\u0041`)
		broken := strings.ReplaceAll(strings.ReplaceAll(text, "a", `a\r\n`), "B", "\nB\r")
		for _, contents := range []string{text, escaped, broken + `\n`} {
			body := `{"contents_b64":"` + contents + `","filename":"ä😀","content_type":"x"}`
			for window := 4; window < 40; window += 3 {
				for size := 1; size < 20; size++ {
					_, got, err := scanJSON(strings.NewReader(body), window, make([]byte, size))
					if err != nil || !bytes.Equal(got, data) {
						t.Fatalf("%s, window %d, buffer %d: %q, %v", body, window, size, got, err)
					}
				}
			}
		}
	}
}

// The reader's errors must stay what they were, however often it is asked.
func TestUploadReadersKeepTheirEnd(t *testing.T) {
	for _, body := range []string{`{"filename":"a","content_type":"b","contents_b64":"QUJD"}`, `{"filename":"a","content_type":"b","contents_b64":"QUJ"}`} {
		j := newJSONUpload(strings.NewReader(body), -1)
		_, first := io.Copy(io.Discard, j)
		for range 3 {
			n, err := j.Read(make([]byte, 10))
			if n != 0 || first == nil && err != io.EOF || first != nil && err != first {
				t.Errorf("%s: %v, then %d, %v", body, first, n, err)
			}
		}
	}
}

func TestBodyErrorsComeThroughTheScanner(t *testing.T) {
	broken := errors.New("broken")
	for _, body := range []string{``, `{`, `{"filename"`, `{"filename":"a","contents_b64":"QUJD`, `{"filename":"a","content_type":"b","contents_b64":"QUJD"}`, `{"x":"é`, `{"x":12`} {
		j := newJSONUpload(io.MultiReader(strings.NewReader(body), iotest.ErrReader(broken)), -1)
		if _, err := io.Copy(io.Discard, j); !errors.Is(err, broken) {
			t.Errorf("after %s: %v", body, err)
		}
	}
}
