package httpserver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/kit"
)

// waiting is a reader that waits for the end of its context.
type waiting struct {
	ctx     context.Context
	reached chan struct{}
	closed  bool
}

func (w *waiting) Read([]byte) (int, error) {
	close(w.reached)
	<-w.ctx.Done()
	return 0, w.ctx.Err()
}

func (*waiting) Seek(int64, int) (int64, error) { return 0, nil }

func (w *waiting) Close() error {
	w.closed = true
	return nil
}

// ServeContent's goroutine may still wait for a node when the answer is over.
func TestClosingContentEndsItsRead(t *testing.T) {
	w := &waiting{reached: make(chan struct{})}
	released := 0
	c := newLazyReader(context.Background(), Content{
		Size: 10, Enter: func(context.Context) (func(), error) { return func() { released++ }, nil },
		Open: func(ctx context.Context) (io.ReadSeekCloser, error) {
			w.ctx = ctx
			return w, nil
		},
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Read(make([]byte, 1))
	}()
	<-w.reached
	c.close()
	<-done
	if _, err := c.Read(make([]byte, 1)); err == nil || !w.closed || released != 1 {
		t.Errorf("read after the end: %v, closed %v, released %d times", err, w.closed, released)
	}
}

func FuzzRange(f *testing.F) {
	for _, h := range []string{"bytes=0-1", "bytes=-5", "bytes=0-1,5-9", "lines=1-2", "bytes=1-0", "x", "bytes=0-9,0-9,0-9"} {
		f.Add(h, uint16(10))
	}
	f.Fuzz(func(t *testing.T, header string, size uint16) {
		data := kit.Data(int(size))
		req := httptest.NewRequest("GET", "http://localhost/files/1", nil)
		req.Header["Range"] = []string{header}
		w := httptest.NewRecorder()
		x := NewExchange(w, req, time.Minute, 0)
		err := x.ServeContent(contentOf(data, wholeReader{bytes.NewReader(data)}))
		checkRange(t, header, data, w, err)
	})
}

// checkRange checks that an answer is consistent with itself and with the contents.
func checkRange(t *testing.T, header string, data []byte, w *httptest.ResponseRecorder, failed error) {
	t.Helper()
	if failed != nil {
		if e, ok := failed.(*Error); !ok || e.Status != http.StatusRequestedRangeNotSatisfiable || w.Body.Len() > 0 {
			t.Fatalf("%q: %v, %d bytes", header, failed, w.Body.Len())
		}
		return
	}
	body := w.Body.Bytes()
	if n, err := strconv.Atoi(w.Header().Get("Content-Length")); err != nil || n != len(body) {
		t.Fatalf("%q: Content-Length %q for %d bytes", header, w.Header().Get("Content-Length"), len(body))
	}
	switch w.Code {
	case http.StatusOK:
		if !bytes.Equal(body, data) {
			t.Fatalf("%q: 200 with other bytes", header)
		}
	case http.StatusPartialContent:
		var from, to, size int
		if cr := w.Header().Get("Content-Range"); cr != "" {
			if n, _ := fmt.Sscanf(cr, "bytes %d-%d/%d", &from, &to, &size); n != 3 || size != len(data) || !bytes.Equal(body, data[from:to+1]) {
				t.Fatalf("%q: Content-Range %q with other bytes", header, cr)
			}
		}
	default:
		t.Fatalf("%q: %d", header, w.Code)
	}
}
