package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

// readers are the kinds of reader that Files.Open may return.
var readers = map[string]func(*memReader) io.ReadSeekCloser{
	"Read":    func(r *memReader) io.ReadSeekCloser { return onlyRead{r} },
	"WriteTo": func(r *memReader) io.ReadSeekCloser { return r },
	"WriteN":  func(r *memReader) io.ReadSeekCloser { return directReader{r} },
}

func TestDownloadGivesBackEveryByteAndItsDescription(t *testing.T) {
	for kind, wrap := range readers {
		st := newStore()
		st.wrap = wrap
		s := serve(t, st)
		for _, size := range []int{0, 1, 100, 2048, 2049, writePiece, writePiece + 1, 3<<20 + 17} {
			data := kit.Data(size)
			id := s.put("a b.txt", data)
			r := s.do("GET", "/files/"+id, nil)
			sum := sha256.Sum256(data)
			if r.StatusCode != 200 || r.err != nil || !bytes.Equal(r.body, data) || r.ContentLength != int64(size) {
				t.Fatalf("%s, %d bytes: %d, %d of %d bytes, %v", kind, size, r.StatusCode, len(r.body), r.ContentLength, r.err)
			}
			for name, want := range map[string]string{
				"ETag": fmt.Sprintf(`"%x"`, sum), "Repr-Digest": httpserver.FormatDigest(sum), "Accept-Ranges": "bytes",
				"X-Content-Type-Options": "nosniff", "Content-Disposition": `inline; filename="a b.txt"`,
			} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s: %s is %q, want %q", kind, name, got, want)
				}
			}
			if !strings.HasPrefix(r.Header.Get("Content-Security-Policy"), "sandbox;") {
				t.Errorf("no sandbox: %v", r.Header)
			}
			h := s.do("HEAD", "/files/"+id, nil)
			if h.StatusCode != 200 || len(h.body) != 0 || h.ContentLength != int64(size) || h.Header.Get("ETag") != r.Header.Get("ETag") {
				t.Errorf("HEAD: %d, %d bytes, Content-Length %d", h.StatusCode, len(h.body), h.ContentLength)
			}
		}
	}
}

func TestRangesAreServed(t *testing.T) {
	data := kit.Data(1000)
	for kind, wrap := range readers {
		st := newStore()
		st.wrap = wrap
		s := serve(t, st)
		id := s.put("f", data)
		etag := s.do("HEAD", "/files/"+id, nil).Header.Get("ETag")
		for _, c := range []struct {
			header   []string
			status   int
			from, to int
		}{
			{[]string{"Range: bytes=0-0"}, 206, 0, 1},
			{[]string{"Range: bytes=10-19"}, 206, 10, 20},
			{[]string{"Range: bytes=990-"}, 206, 990, 1000},
			{[]string{"Range: bytes=-10"}, 206, 990, 1000},
			{[]string{"Range: bytes=-5000"}, 206, 0, 1000},
			{[]string{"Range: bytes=500-5000"}, 206, 500, 1000},
			{[]string{"Range: BYTES=10-19"}, 206, 10, 20},
			{[]string{"Range: lines=1-2"}, 200, 0, 1000},
			{[]string{"Range: bytes=0-999,0-999"}, 200, 0, 1000}, // more than the file: an attack or a mistake
			{[]string{"Range: bytes=10-19", "If-Range: " + etag}, 206, 10, 20},
			{[]string{"Range: bytes=10-19", `If-Range: "other"`}, 200, 0, 1000},
			{[]string{"Range: bytes=10-19", "If-Range: Wed, 21 Oct 2015 07:28:00 GMT"}, 200, 0, 1000},
			{[]string{"Range: bytes=10-19", "If-Match: " + etag}, 206, 10, 20},
			{[]string{"If-Match: *"}, 200, 0, 1000},
			{[]string{`If-Match: "a"`, "If-Match: " + etag}, 200, 0, 1000},
			{[]string{`If-None-Match: "other"`}, 200, 0, 1000},
		} {
			r := s.do("GET", "/files/"+id, nil, c.header...)
			if r.StatusCode != c.status || !bytes.Equal(r.body, data[c.from:c.to]) || r.ContentLength != int64(c.to-c.from) {
				t.Errorf("%s, %v: %d, %d bytes", kind, c.header, r.StatusCode, len(r.body))
			}
			if want := fmt.Sprintf("bytes %d-%d/1000", c.from, c.to-1); c.status == 206 && r.Header.Get("Content-Range") != want {
				t.Errorf("%s, %v: Content-Range %q", kind, c.header, r.Header.Get("Content-Range"))
			}
		}
	}
}

func TestSeveralRangesComeAsOneAnswer(t *testing.T) {
	data := kit.Data(300_000)
	s := serve(t, newStore())
	id := s.put("f", data)
	r := s.do("GET", "/files/"+id, nil, "Range: bytes=0-9, 100000-250000, -5")
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || r.StatusCode != 206 || media != "multipart/byteranges" || r.ContentLength != int64(len(r.body)) {
		t.Fatalf("%d %v %d", r.StatusCode, r.Header, r.ContentLength)
	}
	mr := multipart.NewReader(bytes.NewReader(r.body), params["boundary"])
	for _, want := range [][2]int{{0, 10}, {100000, 250001}, {299995, 300000}} {
		p, err := mr.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(p)
		if !bytes.Equal(b, data[want[0]:want[1]]) || p.Header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/300000", want[0], want[1]-1) {
			t.Errorf("%v: %d bytes, %v", want, len(b), p.Header)
		}
	}
}

func TestBadRangesAreJSON416(t *testing.T) {
	s := serve(t, newStore())
	id := s.put("f", kit.Data(1000))
	for _, h := range []string{"bytes=1000-", "bytes=2000-3000", "bytes=5-1", "bytes=x-y", "0-99", "bytes=", "bytes",
		"bytes=0-1" + strings.Repeat(",3-4", 64), "bytes=-0", "=", "bytes=9223372036854775808-"} {
		r := s.do("GET", "/files/"+id, nil, "Range: "+h)
		s.wantError(r, http.StatusRequestedRangeNotSatisfiable)
		if r.Header.Get("ETag")+r.Header.Get("Repr-Digest")+r.Header.Get("Content-Disposition") != "" {
			t.Errorf("an error that describes the file: %v", r.Header)
		}
	}
	if r := s.do("GET", "/files/"+id, nil, "Range: bytes=1000-"); r.Header.Get("Content-Range") != "bytes */1000" {
		t.Errorf("Content-Range %q", r.Header.Get("Content-Range"))
	}
	if s.store.opened != 0 {
		t.Errorf("the file was opened %d times for nothing", s.store.opened)
	}
	empty := s.put("e", nil)
	if r := s.do("GET", "/files/"+empty, nil, "Range: bytes=0-"); r.StatusCode != 200 || len(r.body) != 0 {
		t.Errorf("a range of an empty file: %d", r.StatusCode)
	}
}

func TestConditionsAnswerWithoutReading(t *testing.T) {
	s := serve(t, newStore())
	id := s.put("f", kit.Data(1000))
	etag := s.do("HEAD", "/files/"+id, nil).Header.Get("ETag")
	for _, method := range []string{"GET", "HEAD"} {
		for _, h := range []string{etag, "W/" + etag, "*", `"x", ` + etag} {
			r := s.do(method, "/files/"+id, nil, "If-None-Match: "+h)
			if r.StatusCode != http.StatusNotModified || len(r.body) != 0 || r.Header.Get("ETag") != etag {
				t.Errorf("%s If-None-Match %s: %d %v", method, h, r.StatusCode, r.Header)
			}
		}
		r := s.do(method, "/files/"+id, nil, `If-Match: "other"`)
		if r.StatusCode != http.StatusPreconditionFailed {
			t.Errorf("%s If-Match: %d", method, r.StatusCode)
		}
	}
	s.wantError(s.do("GET", "/files/"+id, nil, "If-Match: W/"+etag), http.StatusPreconditionFailed)
	if s.store.opened != 0 {
		t.Errorf("the file was opened %d times for nothing", s.store.opened)
	}
	s.wantError(s.do("DELETE", "/files/"+id, nil, `If-Match: "other", W/`+etag), http.StatusPreconditionFailed)
	s.wantError(s.do("DELETE", "/files/"+id, nil, "If-None-Match: W/"+etag), http.StatusPreconditionFailed)
	s.wantError(s.do("DELETE", "/files/99", nil, "If-Match: *"), http.StatusNotFound)
	if r := s.do("DELETE", "/files/"+id, nil, "If-Match: "+etag); r.StatusCode != 200 {
		t.Errorf("DELETE If-Match: %d %s", r.StatusCode, r.body)
	}
}

func TestReadFailureBeforeTheFirstByteIsAnAnswer(t *testing.T) {
	for err, want := range map[error]int{
		fmt.Errorf("%w: no copy can be reached", raid.ErrTooFewNodes):         503,
		fmt.Errorf("%w: no good copy: %w", raid.ErrCorrupt, raid.ErrNotFound): 500,
		raid.ErrNotFound:    404, // deleted in between
		errors.New("other"): 500,
	} {
		for kind, wrap := range readers {
			for _, ranges := range []string{"bytes=0-", "bytes=5-10", "bytes=5-10,20-30"} {
				st := newStore()
				st.wrap = wrap
				if kind == "WriteTo" {
					st.wrap = func(r *memReader) io.ReadSeekCloser { return failingWriter{r} }
				}
				st.readErr = err
				s := serve(t, st)
				id := s.put("f", kit.Data(1000))
				r := s.do("GET", "/files/"+id, nil, "Range: "+ranges)
				s.wantError(r, want)
				if r.Header.Get("ETag")+r.Header.Get("Content-Range") != "" || r.Header.Get("Content-Security-Policy") != inert[0] {
					t.Errorf("%s: an error that describes the file: %v", kind, r.Header)
				}
			}
		}
	}
}

// failingWriter has a WriteTo that fails as Read does.
type failingWriter struct{ *memReader }

func (f failingWriter) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{f.memReader})
}

func TestReadFailureLaterBreaksTheConnectionOff(t *testing.T) {
	for kind, wrap := range readers {
		for _, ranges := range []string{"", "bytes=0-700000", "bytes=0-700000,800000-800001"} {
			st := newStore()
			st.wrap = wrap
			if kind == "WriteTo" {
				st.wrap = func(r *memReader) io.ReadSeekCloser { return failingWriter{r} }
			}
			st.readErr, st.readFrom = raid.ErrCorrupt, 600_000
			s := serve(t, st)
			id := s.put("f", kit.Data(1_000_000))
			var header []string
			if ranges != "" {
				header = []string{"Range: " + ranges}
			}
			r := s.do("GET", "/files/"+id, nil, header...)
			if r.err == nil || r.StatusCode >= 400 || int64(len(r.body)) >= r.ContentLength {
				t.Errorf("%s %s: %d with %d of %d bytes, %v", kind, ranges, r.StatusCode, len(r.body), r.ContentLength, r.err)
			}
			if !strings.Contains(s.logged.String(), "broken off") {
				t.Errorf("not logged: %s", s.logged)
			}
		}
	}
}

// A client that leaves ends the reading, also when a node is silent: after the time
// for which a connection may stand still, since a client that only waits looks the same.
func TestClientThatLeavesEndsTheReading(t *testing.T) {
	for _, ranges := range []string{"bytes=0-", "bytes=0-4,600000-"} {
		st := newStore()
		reached := make(chan struct{}, 10)
		st.onRead = func(ctx context.Context, off int64) {
			if off >= 600_000 {
				reached <- struct{}{}
				<-ctx.Done()
			}
		}
		s := serve(t, st, func(c *Config) { c.Stall = 300 * time.Millisecond })
		id := s.put("f", kit.Data(1_000_000))
		ctx, cancel := context.WithCancel(context.Background())
		req, _ := http.NewRequestWithContext(ctx, "GET", s.url+"/files/"+id, nil)
		req.Header.Set("Range", ranges)
		go func() {
			<-reached
			cancel()
		}()
		if res, err := s.client.Do(req); err == nil {
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		cancel()
	} // the server's cleanup fails when a reader stays open
}

func TestDownloadParameterMakesAnAttachment(t *testing.T) {
	s := serve(t, newStore())
	id := s.put("Zürich.pdf", []byte("%PDF"))
	r := s.do("GET", "/files/"+id+"?download", nil)
	if got := r.Header.Get("Content-Disposition"); got != `attachment; filename="Z_rich.pdf"; filename*=UTF-8''Z%C3%BCrich.pdf` {
		t.Error(got)
	}
	long := s.put(strings.Repeat("ü", 5000), []byte("x"))
	if r = s.do("GET", "/files/"+long, nil); r.Header.Get("Content-Disposition") != "" {
		t.Error("a header of 30 kB that nobody asked for")
	}
	req, _ := http.NewRequest("POST", s.url+"/files?filename=p.pdf", strings.NewReader("%PDF"))
	req.Header.Set("Content-Type", "application/pdf")
	r = s.do("GET", s.send(req).Header.Get("Location"), nil)
	if r.Header.Get("Content-Security-Policy") != "" {
		t.Error("a sandbox in which no browser shows a PDF")
	}
}

func TestBadIDsAreNotFound(t *testing.T) {
	s := serve(t, newStore())
	s.put("f", nil)
	for _, id := range []string{"2", "0", "-1", "+1", "x", "1.0", "9223372036854775807", "9223372036854775808", "99999999999999999999999", "%20", "1%00", "%ff", strings.Repeat("9", 3000)} {
		for _, c := range [][2]string{{"GET", ""}, {"GET", "/info"}, {"DELETE", ""}} {
			s.wantError(s.do(c[0], "/files/"+id+c[1], nil), http.StatusNotFound)
		}
	}
}
