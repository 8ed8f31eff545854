package httpserver

import (
	"strings"
	"testing"
)

func FuzzMediaType(f *testing.F) {
	for _, s := range []string{"text/plain", "a/b;c=d", `a/b; c="d\"e"`, "a/b,c/d", ";", "a/b;;", "multipart/x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		kind, subtype, ok := splitMediaType(s)
		if !ok {
			if h := handlingOf(s); h != attached {
				t.Errorf("%q is handled as %d", s, h)
			}
			return
		}
		if begin := kind + "/" + subtype; len(s) < len(begin) || strings.ToLower(s[:len(begin)]) != begin {
			t.Errorf("%q begins with %q", s, begin)
		}
		if strings.Contains(s, ",") && !strings.Contains(s, `"`) {
			t.Errorf("%q is taken for one type", s)
		}
	})
}
