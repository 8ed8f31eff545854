package httpapi

import (
	"strings"
	"testing"
)

// How each kind of file is shown, by the headers that a browser gets.
func TestOnlyWhatCanRunScriptIsInASandbox(t *testing.T) {
	s := serve(t, newStore())
	for want, types := range map[string][]string{
		"passive": {"video/webm", "VIDEO/MP4", "audio/ogg", "image/png", "image/jpeg", "text/plain", "text/plain; charset=utf-8",
			`text/plain;charset="utf-8"`, "video/mp4; codecs=\"avc1.42E01E, mp4a.40.2\"", "image/png;", "text/plain ;; charset=utf-8"},
		"plugged": {"application/pdf", "Application/PDF", "application/pdf; version=1.7"},
		"sandboxed": {"text/html", "TEXT/HTML; charset=utf-16", "image/svg+xml", "IMAGE/SVG+XML", "application/xhtml+xml", "text/xml", "video/x+xml",
			"application/octet-stream", "application/json", "text/css", "text/javascript", "application/x-nobody", "", "audio/html", "text/html;;"},
	} {
		for _, ct := range types {
			r := s.shown(ct)
			csp, boxed := r.Header.Get("Content-Security-Policy"), false
			for part := range strings.SplitSeq(csp, ";") {
				boxed = boxed || strings.TrimSpace(part) == "sandbox"
			}
			if boxed != (want == "sandboxed") || (csp == "") != (want == "plugged") || csp != "" && !strings.Contains(csp, "default-src 'none'") {
				t.Errorf("%q: policy %q", ct, csp)
			}
			if got := r.Header.Get("Content-Disposition"); !strings.HasPrefix(got, "inline") || r.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%q: %v", ct, r.Header)
			}
		}
	}
}

// A browser may read another type out of what is none, or is more than one.
func TestWhatIsNoSingleMediaTypeIsAnAttachment(t *testing.T) {
	s := serve(t, newStore())
	for _, ct := range []string{
		"x/y, multipart/x-mixed-replace;boundary=B", "image/png,text/html", "image/png, text/html", "text/plain;charset=utf-8,text/html",
		"multipart/x-mixed-replace; boundary=b", "Multipart/Related", "message/rfc822",
		"text/html;x", "text/plain;=x", "text/plain;charset=", "text/plain;charset=a;charset=b", "text/plain;Charset=a;charset=b",
		`text/plain;a="b`, `text/plain;a=b"c"`, `text/plain;a="b"c`, `text/plain;a="b\`, "text/plain;a='b, c'", "text/plain; a =b", "text/plain; a= b",
		"text", "text/", "/plain", "text/plain/x", "text /plain", "text/ plain", "text/plain x", "*", "text/pl\u00e4in", "text/plain;a=\u00e4",
		`text/plain;a="` + "\u00e4" + `"`, ";", "text/plain\u00a0;a=b", "text/html\\", "text(x)/plain",
	} {
		r := s.shown(ct)
		if got := r.Header.Get("Content-Disposition"); !strings.HasPrefix(got, "attachment") {
			t.Errorf("%q is shown: %q", ct, got)
		}
		if !strings.HasPrefix(r.Header.Get("Content-Security-Policy"), "sandbox;") || r.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%q: %v", ct, r.Header)
		}
	}
}

// shown stores a file of a content type and gets it.
func (s *server) shown(contentType string) reply {
	s.Helper()
	r := s.do("POST", "/files?filename=f", strings.NewReader("x"), "Content-Type: "+contentType)
	if r.StatusCode != 201 {
		s.Fatalf("%q: %d %s", contentType, r.StatusCode, r.body)
	}
	if r = s.do("GET", r.Header.Get("Location"), nil); r.StatusCode != 200 {
		s.Fatalf("%q: %d %s", contentType, r.StatusCode, r.body)
	}
	return r
}
