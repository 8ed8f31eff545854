package httpapi

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRepeatedUploadWithAKeyAnswersAsTheFirst(t *testing.T) {
	s := serve(t, newStore())
	post := func(key, path, body string, header ...string) reply {
		return s.do("POST", path, strings.NewReader(body), append(header, "Idempotency-Key: "+key)...)
	}
	first := post("k", "/files?filename=f", "body")
	again := post("k", "/files?filename=f", "body")
	if first.StatusCode != 201 || again.StatusCode != 201 || string(first.body) != string(again.body) ||
		again.Header.Get("ETag") != first.Header.Get("ETag") || s.store.count() != 1 {
		t.Fatalf("%s, then %d %s", first.body, again.StatusCode, again.body)
	}
	s.wantError(post("k", "/files?filename=g", "body"), http.StatusUnprocessableEntity)
	s.wantError(post("k", "/files?filename=f", "other body"), http.StatusUnprocessableEntity)
	s.wantError(post("k", "/files?filename=f", "body", "Content-Type: x/y"), http.StatusUnprocessableEntity)
	s.wantError(post("", "/files?filename=f", "body"), http.StatusBadRequest)
	s.wantError(post(strings.Repeat("k", 256), "/files?filename=f", "body"), http.StatusBadRequest)
	s.wantError(post("k2", "/files?filename=f", "body", "Idempotency-Key: k3"), http.StatusBadRequest)
	if r := post(strings.Repeat("k", 255), "/files?filename=f", "body"); r.StatusCode != 201 || s.store.count() != 2 {
		t.Errorf("another key: %d, %d files", r.StatusCode, s.store.count())
	}
	s.do("DELETE", "/files/1", nil)
	if r := post("k", "/files?filename=f", "body"); r.StatusCode != 201 || strings.TrimSpace(string(r.body)) != `{"id":1}` {
		t.Errorf("after the deletion: %d %s", r.StatusCode, r.body)
	}
	// A form's boundary is another each time.
	body, ct := formOfParts([2]string{`form-data; name="f"; filename="f"`, "x"})
	body2, ct2 := formOfParts([2]string{`form-data; name="f"; filename="f"`, "x"})
	if a, b := post("form", "/files", body, ct), post("form", "/files", body2, ct2); a.StatusCode != 201 || string(a.body) != string(b.body) {
		t.Errorf("form: %s, then %d %s", a.body, b.StatusCode, b.body)
	}
}

func TestUploadUnderWayKeepsItsKey(t *testing.T) {
	st := newStore()
	st.hold = make(chan struct{})
	s := serve(t, st)
	first := make(chan reply)
	go func() {
		first <- s.do("POST", "/files?filename=f", strings.NewReader("x"), "Idempotency-Key: k")
	}()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		s.api.keys.mu.Lock()
		n := len(s.api.keys.running)
		s.api.keys.mu.Unlock()
		if n == 1 || time.Now().After(deadline) {
			break
		}
	}
	r := s.do("POST", "/files?filename=f", strings.NewReader("x"), "Idempotency-Key: k")
	s.wantError(r, http.StatusConflict)
	if r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	s.wantError(s.do("POST", "/files?filename=g", strings.NewReader("x"), "Idempotency-Key: k"), http.StatusUnprocessableEntity)
	close(st.hold)
	if r := <-first; r.StatusCode != 201 {
		t.Fatalf("%d %s", r.StatusCode, r.body)
	}
	if r := s.do("POST", "/files?filename=f", strings.NewReader("x"), "Idempotency-Key: k"); r.StatusCode != 201 || st.count() != 1 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

// A try that failed leaves its key free for the next.
func TestFailedUploadGivesItsKeyBack(t *testing.T) {
	s := serve(t, newStore())
	key := "Idempotency-Key: k"
	s.wantError(s.do("POST", "/files", strings.NewReader("{"), isJSON, key), http.StatusBadRequest)
	if r := s.do("POST", "/files?filename=f", strings.NewReader("x"), key); r.StatusCode != 201 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
}

// The second try need not be read, and its client still reads the answer.
func TestRepeatedLargeUploadIsAnsweredUnread(t *testing.T) {
	s := serve(t, newStore())
	body := make([]byte, 20<<20)
	for range 2 {
		c := s.dial()
		if _, err := io.WriteString(c, "POST /files?filename=f HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: k\r\nContent-Length: 20971520\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(body); err != nil {
			t.Fatal(err)
		}
		if r := s.answer(c); r.StatusCode != 201 || string(r.body) != "{\"id\":1}\n" {
			t.Errorf("%d %s", r.StatusCode, r.body)
		}
	}
	if s.store.count() != 1 {
		t.Errorf("%d files", s.store.count())
	}
}
