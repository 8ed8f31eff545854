package httpapi

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/test/kit"
)

// A position beyond the end means the end, whatever its number of digits.
func TestRangePositionsHaveAnyNumberOfDigits(t *testing.T) {
	data := kit.Data(1000)
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
