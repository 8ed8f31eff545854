package httpapi

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Who announces more than there is room for is told before sending it, in whatever
// form it comes.
func TestMoreThanTheRoomIs507BeforeTheBody(t *testing.T) {
	const room = 1 << 20
	st := newStore()
	st.room = room
	s := serve(t, st)
	for name, c := range map[string]struct {
		head   string
		length int
		status int
	}{
		"as it is":               {"POST /files?filename=f", room + 1, 507},
		"as it is, huge":         {"POST /files?filename=f", 1 << 60, 507},
		"as it is, just enough":  {"POST /files?filename=f", room, 100},
		"a form":                 {"POST /files\nContent-Type: multipart/form-data; boundary=b", 2 * room, 507},
		"JSON":                   {"POST /files\nContent-Type: application/json", 2 * room, 507},
		"JSON, just enough":      {"POST /files\nContent-Type: application/json", room/3*4 - 100, 100},
		"a mistake comes first":  {"POST /files?filename=", 2 * room, 400},
		"JSON under a file name": {"POST /files?filename=f\nContent-Type: application/json", room/3*4 - 100, 507},
	} {
		line, header, _ := strings.Cut(c.head, "\n")
		if header != "" {
			header += "\r\n"
		}
		for _, expect := range []string{"Expect: 100-continue\r\n", ""} {
			if c.status == 100 && expect == "" {
				continue // it waits for the body
			}
			conn := s.dial()
			start := time.Now()
			fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: localhost\r\n%s%sContent-Length: %d\r\n\r\n", line, header, expect, c.length)
			in := bufio.NewReader(conn)
			r, err := http.ReadResponse(in, nil)
			if err != nil || r.StatusCode != c.status || time.Since(start) > restTime {
				t.Errorf("%s, %q: %v after %v, %v", name, expect, r, time.Since(start), err)
			}
			if c.status == 507 && !r.Close {
				t.Errorf("%s: the connection stays open", name)
			}
			conn.Close()
		}
	}
	// What fits goes on, and so does what says nothing of its length.
	for _, body := range []io.Reader{strings.NewReader(strings.Repeat("x", room)), io.MultiReader(strings.NewReader("x"))} {
		if r := s.do("POST", "/files?filename=f", body); r.StatusCode != 201 {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
	}
	text := `{"filename":"f","contents_b64":"` + base64.StdEncoding.EncodeToString(make([]byte, room-1000)) + `"}`
	if r := s.do("POST", "/files", strings.NewReader(text), isJSON); r.StatusCode != 201 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}
