package httpserver

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// burst is fast first, and then a byte comes now and then.
type burst struct{ fast int }

func (b *burst) Read(p []byte) (int, error) {
	if b.fast > 0 {
		n := min(len(p), b.fast)
		b.fast -= n
		return n, nil
	}
	time.Sleep(20 * time.Second)
	p[0] = 0
	return 1, nil
}

func TestBodyThatWasFastMayNotBeSlowForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBody(httptest.NewRequest("POST", "/", &burst{100 << 20}), http.NewResponseController(httptest.NewRecorder()), time.Minute, 0)
		start := time.Now()
		n, err := io.Copy(io.Discard, b)
		var f *Error
		if !errors.As(err, &f) || f.Status != http.StatusRequestTimeout || n < 100<<20 || time.Since(start) > 3*time.Minute {
			t.Errorf("%d bytes, %v after %v", n, err, time.Since(start))
		}
	})
}

// The time in which the array takes nothing is not the client's.
func TestSlowArrayIsNotASlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := httptest.NewRequest("POST", "/", bytes.NewReader(make([]byte, 100)))
		b := newBody(r, http.NewResponseController(httptest.NewRecorder()), 30*time.Second, 0)
		p := make([]byte, 1)
		for i := range 100 {
			time.Sleep(time.Minute)
			if _, err := io.ReadFull(b, p); err != nil {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
	})
}
