package httpapi

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/test/kit"
)

// The calls that the assignment makes with Postman, as Python's json and base64
// write them.
func TestTheAssignmentsClientWorksUnchanged(t *testing.T) {
	s := serve(t, newStore())
	data := kit.Data(100_001)
	body := `{"filename": "pic.jpg", "content_type": "image/jpeg", "contents_b64": "` + base64.StdEncoding.EncodeToString(data) + `"}`
	r := s.do("POST", "/files", strings.NewReader(body), "Content-Type: application/json")
	var made map[string]any
	if err := json.Unmarshal(r.body, &made); err != nil || r.StatusCode != http.StatusCreated || len(made) != 1 || made["id"] != 1.0 {
		t.Fatalf("POST: %d %s", r.StatusCode, r.body)
	}

	r = s.do("GET", "/files", nil)
	var list struct{ Files []map[string]any }
	if err := json.Unmarshal(r.body, &list); err != nil || r.StatusCode != http.StatusOK || len(list.Files) != 1 {
		t.Fatalf("list: %d %s", r.StatusCode, r.body)
	}
	want := map[string]any{"id": 1.0, "filename": "pic.jpg", "size": 100001.0, "content_type": "image/jpeg",
		"created": "2024-02-29 12:30:00", "part1_filenames": "a1,a2", "part2_filenames": "b1,b2", "degraded": false}
	for k, v := range want {
		if list.Files[0][k] != v {
			t.Errorf("list: %s is %v, want %v", k, list.Files[0][k], v)
		}
	}

	r = s.do("GET", "/files/1", nil)
	if r.StatusCode != http.StatusOK || string(r.body) != string(data) || r.Header.Get("Content-Type") != "image/jpeg" {
		t.Fatalf("GET: %d, %d bytes of %s", r.StatusCode, len(r.body), r.Header.Get("Content-Type"))
	}
	r = s.do("GET", "/files/1/info", nil)
	var info map[string]any
	if err := json.Unmarshal(r.body, &info); err != nil || info["filename"] != "pic.jpg" {
		t.Fatalf("info: %d %s", r.StatusCode, r.body)
	}
	r = s.do("DELETE", "/files/1", nil)
	if r.StatusCode != http.StatusOK || len(r.body) != 0 {
		t.Fatalf("DELETE: %d %q", r.StatusCode, r.body)
	}
	s.wantError(s.do("GET", "/files/1", nil), http.StatusNotFound)
	s.wantError(s.do("GET", "/files/1/info", nil), http.StatusNotFound)
	s.wantError(s.do("DELETE", "/files/1", nil), http.StatusNotFound)
	if r = s.do("GET", "/files", nil); !strings.Contains(string(r.body), `"files": [`) {
		t.Fatalf("empty list: %s", r.body)
	}
}
