package httpapi

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

// halves has WriteN as object.Reader has it: each half of the file is a piece of
// its own, and the second can't be had.
type halves struct{ *memReader }

func (h halves) WriteN(w io.Writer, n int64) (written int64, err error) {
	half := (h.Size() + 1) / 2
	for off := h.Size() - int64(h.Len()); written < n; off = h.Size() - int64(h.Len()) {
		piece := min(n-written, half-off)
		if off >= half {
			if h.s.readErr != nil {
				return written, h.s.readErr
			}
			piece = n - written
		}
		k, err := io.CopyN(w, struct{ io.Reader }{h.memReader}, piece)
		if written += k; err != nil {
			return written, err
		}
	}
	return written, nil
}

// A status is sent only when what it promises is there: small answers are whole,
// whichever half of them can't be had.
func TestSmallAnswerIsWholeOrAnError(t *testing.T) {
	for kind, wrap := range map[string]func(*memReader) io.ReadSeekCloser{
		"pieces": func(r *memReader) io.ReadSeekCloser { return halves{r} }, "Read": readers["Read"],
	} {
		for _, size := range []int{2, 100, 1000, 2048, 3000, 3001, 4096, 10_000, 100_000, writePiece} {
			st := newStore()
			st.wrap = wrap
			s := serve(t, st)
			data := kit.Data(size)
			id := s.put("f", data)
			half := (size + 1) / 2
			ranges := map[string][]byte{
				"": data, fmt.Sprintf("bytes=0-%d", half): data[:half+1], fmt.Sprintf("bytes=%d-", half): data[half:],
				fmt.Sprintf("bytes=%d-%d", half-1, half): data[half-1 : half+1], "bytes=-1": data[size-1:],
			}
			several := fmt.Sprintf("bytes=0-0,%d-", size-1)
			for header, want := range ranges {
				if r := s.ranged(id, header); r.err != nil || r.StatusCode >= 300 || !bytes.Equal(r.body, want) {
					t.Errorf("%s: %q of %d bytes: %d, %d bytes", kind, header, size, r.StatusCode, len(r.body))
				}
			}
			st.readErr, st.readFrom = fmt.Errorf("%w: no copy can be reached", raid.ErrTooFewNodes), int64(half)
			ranges[several] = nil
			for header := range ranges {
				r := s.ranged(id, header)
				if size == 2 && header == several { // is more than the file, and so ignored
					header = ""
				}
				s.wantError(r, http.StatusServiceUnavailable)
				if r.Header.Get("ETag")+r.Header.Get("Content-Range") != "" {
					t.Errorf("an error that describes the file: %v", r.Header)
				}
			}
			// What the first half has can be had; HEAD reads nothing.
			if r := s.ranged(id, fmt.Sprintf("bytes=0-%d", half-1)); r.err != nil || r.StatusCode != 206 || !bytes.Equal(r.body, data[:half]) {
				t.Errorf("%s: the first half of %d bytes: %d, %d bytes", kind, size, r.StatusCode, len(r.body))
			}
			if r := s.do("HEAD", "/files/"+id, nil); r.StatusCode != 200 || r.ContentLength != int64(size) {
				t.Errorf("HEAD: %d", r.StatusCode)
			}
		}
	}
}

func (s *server) ranged(id, header string) reply {
	s.Helper()
	if header == "" {
		return s.do("GET", "/files/"+id, nil)
	}
	return s.do("GET", "/files/"+id, nil, "Range: "+header)
}

// A large answer that breaks off has begun: it is never empty.
func TestLargeAnswerThatBreaksOffIsNotEmpty(t *testing.T) {
	st := newStore()
	st.wrap = func(r *memReader) io.ReadSeekCloser { return halves{r} }
	s := serve(t, st)
	const size = 4 * writePiece
	id := s.put("f", kit.Data(size))
	st.readErr, st.readFrom = raid.ErrTooFewNodes, size/2
	for _, header := range []string{"", "bytes=100-", "bytes=0-0,100-"} {
		r := s.ranged(id, header)
		if r.err == nil || r.StatusCode >= 400 || len(r.body) < writePiece || int64(len(r.body)) >= r.ContentLength {
			t.Errorf("%q: %d, %d of %d bytes, %v", header, r.StatusCode, len(r.body), r.ContentLength, r.err)
		}
	}
	// Little of it lies in the first half.
	s.wantError(s.ranged(id, fmt.Sprintf("bytes=%d-", size/2-10)), http.StatusServiceUnavailable)
}
