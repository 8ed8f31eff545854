package httpapi

import (
	"testing"

	"github.com/raidpi/raidpi/test/kit"
)

// What is stored is dated, and the conditions that name a date go by that.
func TestLastModifiedIsSentAndAskedFor(t *testing.T) {
	s := serve(t, newStore()) // which stores all on 29 February 2024 at 12:30
	id := s.put("f", kit.Data(100))
	const stored = "Thu, 29 Feb 2024 12:30:00 GMT"
	earlier, later := "Thu, 29 Feb 2024 12:29:59 GMT", "Thu, 29 Feb 2024 12:30:01 GMT"
	etag := s.do("HEAD", "/files/"+id, nil).Header.Get("ETag")
	for _, c := range []struct {
		method string
		header []string
		status int
	}{
		{"GET", nil, 200}, {"HEAD", nil, 200}, {"GET", []string{"Range: bytes=0-9"}, 206},
		{"GET", []string{"If-Modified-Since: " + stored}, 304}, {"HEAD", []string{"If-Modified-Since: " + later}, 304},
		{"GET", []string{"If-Modified-Since: " + earlier}, 200}, {"GET", []string{"If-Modified-Since: nonsense"}, 200},
		{"GET", []string{"If-Modified-Since: " + later, `If-None-Match: "x"`}, 200}, {"GET", []string{"If-Modified-Since: " + earlier, "If-None-Match: " + etag}, 304},
		{"GET", []string{"If-Unmodified-Since: " + earlier}, 412}, {"GET", []string{"If-Unmodified-Since: " + stored}, 200},
		{"GET", []string{"If-Unmodified-Since: " + earlier, "If-Match: " + etag}, 200},
		// A date is no strong validator.
		{"GET", []string{"Range: bytes=0-9", "If-Range: " + stored}, 200}, {"GET", []string{"Range: bytes=0-9", "If-Range: W/" + etag}, 200},
		{"GET", []string{"Range: bytes=0-9", "If-Range: " + etag}, 206}, {"GET", []string{"Range: bytes=500-", `If-Range: "x"`}, 200},
		{"DELETE", []string{"If-Unmodified-Since: " + earlier}, 412}, {"DELETE", []string{"If-Unmodified-Since: " + earlier, `If-Match: "x"`}, 412},
		{"DELETE", []string{"If-Unmodified-Since: " + later}, 200},
	} {
		r := s.do(c.method, "/files/"+id, nil, c.header...)
		if r.StatusCode != c.status {
			t.Errorf("%s %v: %d %s", c.method, c.header, r.StatusCode, r.body)
		}
		if got := r.Header.Get("Last-Modified"); c.method != "DELETE" && r.StatusCode < 300 && got != stored || r.StatusCode >= 400 && got != "" {
			t.Errorf("%s %v: Last-Modified %q", c.method, c.header, got)
		}
	}
}

// A clock that was wrong is not passed on.
func TestLastModifiedNeverLiesInTheFuture(t *testing.T) {
	for created, want := range map[string]string{"2999-01-01 00:00:00": "", "nonsense": "", "": "", "1970-01-01 00:03:07": "Thu, 01 Jan 1970 00:03:07 GMT"} {
		st := newStore()
		s := serve(t, st)
		id := s.put("f", nil)
		f := st.files[1]
		f.Created = created
		st.files[1] = f
		if r := s.do("GET", "/files/"+id, nil); r.StatusCode != 200 || r.Header.Get("Last-Modified") != want {
			t.Errorf("created %q: %d, %q", created, r.StatusCode, r.Header.Get("Last-Modified"))
		}
	}
}
