package httpapi

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
)

// checkRange asks for file 1 with a Range and checks that the answer is
// consistent with itself and with the contents.
func checkRange(t *testing.T, st *store, header string, data []byte) {
	t.Helper()
	api := New(Config{Files: st, Index: st, Log: slog.New(slog.DiscardHandler)})
	req := httptest.NewRequest("GET", "http://localhost/files/1", nil)
	req.Header["Range"] = []string{header}
	w := httptest.NewRecorder()
	api.Handler().ServeHTTP(w, req)
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
	case http.StatusRequestedRangeNotSatisfiable:
	default:
		t.Fatalf("%q: %d", header, w.Code)
	}
	if st.open != 0 || api.transfers.inUse() != 0 {
		t.Fatalf("%q: %d readers left open", header, st.open)
	}
}
