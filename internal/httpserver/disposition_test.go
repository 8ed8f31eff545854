package httpserver

import (
	"mime"
	"strings"
	"testing"
	"unicode/utf8"
)

// dispositionName is the name that a client reads out of a Content-Disposition.
func dispositionName(header string) string {
	_, params, err := mime.ParseMediaType(header)
	if err != nil {
		return "error: " + err.Error()
	}
	return params["filename"]
}

func TestDispositionFollowsRFC6266(t *testing.T) {
	for name, want := range map[string]string{
		"a.txt":       `attachment; filename="a.txt"`,
		"a b.txt":     `attachment; filename="a b.txt"`,
		`a"b`:         `attachment; filename="a_b"; filename*=UTF-8''a%22b`,
		"é":           `attachment; filename="_"; filename*=UTF-8''%C3%A9`,
		"a\r\nX: y":   `attachment; filename="a__X: y"; filename*=UTF-8''a%0D%0AX%3A%20y`,
		"../x":        `attachment; filename=".._x"; filename*=UTF-8''..%2Fx`,
		"100%25":      `attachment; filename="100_25"; filename*=UTF-8''100%2525`,
		"it's (1)*.c": `attachment; filename="it's (1)*.c"`,
	} {
		if got := disposition("attachment", name); got != want {
			t.Errorf("%q:\n got %s\nwant %s", name, got, want)
		}
	}
}

func FuzzDisposition(f *testing.F) {
	for _, n := range []string{"a", "ä/b", `say "hi".txt`, `back\slash`, "100%", "a\r\nX: y", "\x00", "\u6771\u4eac \U0001f600", strings.Repeat("ü", 300)} {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if name == "" || !utf8.ValidString(name) {
			return
		}
		d := disposition("inline", name)
		if i := strings.IndexFunc(d, func(r rune) bool { return r < ' ' || r > '~' }); i >= 0 {
			t.Fatalf("a header with %q: %q", d[i], d)
		}
		if got := dispositionName(d); got != name {
			t.Fatalf("%q reads as %q from %s", name, got, d)
		}
	})
}
