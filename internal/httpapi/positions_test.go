package httpapi

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A position beyond the end means the end, whatever its number of digits.
func TestRangePositionsHaveAnyNumberOfDigits(t *testing.T) {
	data := testData(1000)
	s := serve(t, newStore())
	id := s.put("f", data)
	for set, want := range map[string][2]int{
		"0-9223372036854775807": {0, 1000}, "0-9223372036854775808": {0, 1000}, "10-18446744073709551616": {10, 1000},
		"999-" + strings.Repeat("9", 500): {999, 1000}, "0-" + strings.Repeat("0", 500) + "9": {0, 10}, "00000000000000000000000001-2": {1, 3},
		"-9223372036854775808": {0, 1000}, "-" + strings.Repeat("9", 500): {0, 1000}, "-" + strings.Repeat("0", 500) + "5": {995, 1000},
		"5-6,99999999999999999999-": {5, 7}, "5-6,-0": {5, 7}, "99999999999999999999-99999999999999999999,5-6": {5, 7},
	} {
		r := s.do("GET", "/files/"+id, nil, "Range: bytes="+set)
		if cr := fmt.Sprintf("bytes %d-%d/1000", want[0], want[1]-1); r.StatusCode != 206 || r.Header.Get("Content-Range") != cr || !bytes.Equal(r.body, data[want[0]:want[1]]) {
			t.Errorf("%.60s: %d, %q, %d bytes", set, r.StatusCode, r.Header.Get("Content-Range"), len(r.body))
		}
	}
	for _, set := range []string{"9223372036854775808-", "1000-99999999999999999999", "-0", "-000", "-0,1000-", "5-4", "+1-2", "1--2", "--5", "0x1-2", "1-2-3", "1", "-"} {
		r := s.do("GET", "/files/"+id, nil, "Range: bytes="+set)
		s.wantError(r, http.StatusRequestedRangeNotSatisfiable)
		if r.Header.Get("Content-Range") != "bytes */1000" {
			t.Errorf("%s: %v", set, r.Header)
		}
	}
}

// There is nothing that a range of nothing could leave away.
func TestRangesOfAnEmptyFileAreAllOfIt(t *testing.T) {
	s := serve(t, newStore())
	id := s.put("e", nil)
	etag := s.do("HEAD", "/files/"+id, nil).Header.Get("ETag")
	for _, header := range [][]string{
		{"Range: bytes=0-"}, {"Range: bytes=-1"}, {"Range: bytes=-0"}, {"Range: bytes=0-0"}, {"Range: bytes=5-"}, {"Range: bytes=0-0,-1"},
		{"Range: bytes=0-99999999999999999999"}, {"Range: bytes=-99999999999999999999,1-2"}, {"Range: bytes=-1", "If-Range: " + etag}, {"Range: bytes=-1", `If-Range: "x"`},
	} {
		r := s.do("GET", "/files/"+id, nil, header...)
		if r.StatusCode != 200 || len(r.body) != 0 || r.ContentLength != 0 || r.Header.Get("Content-Range") != "" {
			t.Errorf("%v: %d %v", header, r.StatusCode, r.Header)
		}
	}
	s.wantError(s.do("GET", "/files/"+id, nil, "Range: bytes=x"), http.StatusRequestedRangeNotSatisfiable)
}

// What is stored is dated, and the conditions that name a date go by that.
func TestLastModifiedIsSentAndAskedFor(t *testing.T) {
	s := serve(t, newStore()) // which stores all on 29 February 2024 at 12:30
	id := s.put("f", testData(100))
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
