package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

func (a *array) download(t *testing.T, id raid.FileID, prefix []byte) ([]byte, Fetched, error) {
	t.Helper()
	to := bytes.NewBuffer(bytes.Clone(prefix))
	d := Download{ID: id, To: to}
	if prefix != nil {
		d.Prefix = bytes.NewReader(prefix)
	}
	f, err := a.client.Download(t.Context(), d)
	return to.Bytes(), f, err
}

func TestDownloadGivesTheFile(t *testing.T) {
	a := newArray(t)
	for _, size := range []int{0, 1, copyBuffer, 3 << 20} {
		data := content(size)
		id := a.put("f", data)
		got, f, err := a.download(t, id, nil)
		if err != nil || !bytes.Equal(got, data) || f.Size != int64(size) || f.SHA256 != sha256.Sum256(data) {
			t.Errorf("%d bytes: got %d, %+v, %v", size, len(got), f, err)
		}
	}
}

func TestDownloadGoesOnWhereItBrokeOff(t *testing.T) {
	data := content(3 << 20)
	a := newArray(t, cutAnswer(1<<20), status(503, "Retry-After", "0"), cutAnswer(1<<20), cutAnswer(1), cutAnswer(1), cutAnswer(1))
	id := a.put("f", data)
	got, _, err := a.download(t, id, nil)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("got %d bytes, %v", len(got), err)
	}
	want := "GET /files/1\nGET /files/1 bytes=1048576-\nGET /files/1 bytes=1048576-\nGET /files/1 bytes=2097152-\n" +
		"GET /files/1 bytes=2097153-\nGET /files/1 bytes=2097154-\nGET /files/1 bytes=2097155-"
	if a.seen() != want {
		t.Errorf("asked\n%s\nwant\n%s", a.seen(), want)
	}
}

func TestDownloadGivesUpWithoutProgress(t *testing.T) {
	a := newArray(t, cutAnswer(0), cutAnswer(0), cutAnswer(0), cutAnswer(0))
	id := a.put("f", content(1000))
	_, _, err := a.download(t, id, nil)
	if err == nil || strings.Count(a.seen(), "GET") != 3 {
		t.Errorf("%v after\n%s", err, a.seen())
	}
}

func TestDownloadFetchesOnlyWhatIsMissing(t *testing.T) {
	data := content(100_000)
	for _, have := range []int{0, 1, 99_999, 100_000} {
		a := newArray(t)
		id := a.put("f", data)
		got, f, err := a.download(t, id, data[:have])
		if err != nil || !bytes.Equal(got, data) || f.SHA256 != sha256.Sum256(data) {
			t.Errorf("%d bytes there: got %d, %v", have, len(got), err)
		}
		want := map[int]string{
			0: "GET /files/1", 100_000: "HEAD /files/1",
		}[have]
		if want == "" {
			want = fmt.Sprintf("HEAD /files/1\nGET /files/1 bytes=%d-", have)
		}
		if a.seen() != want {
			t.Errorf("%d bytes there: asked\n%s\nwant\n%s", have, a.seen(), want)
		}
	}
}

func TestDownloadNoticesWrongBytes(t *testing.T) {
	data := content(100_000)
	long := append(bytes.Clone(data), 'x')
	wrong := bytes.Clone(data[:5000])
	wrong[0]++
	for name, c := range map[string]struct {
		prefix []byte
		fault  fault
	}{
		"damaged on the way": {nil, flip(77_777)},
		"wrong beginning":    {wrong, nil},
		"too much there":     {long, nil},
	} {
		a := newArray(t, c.fault)
		id := a.put("f", data)
		_, _, err := a.download(t, id, c.prefix)
		var d *DigestError
		if !errors.As(err, &d) || d.Want != sha256.Sum256(data) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDownloadRefusesAFileThatChanged(t *testing.T) {
	a := newArray(t, cutAnswer(1000))
	id := a.put("f", content(5000))
	a.faults = append(a.faults, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Header.Get("If-Match") == "" {
			t.Error("the rest was asked for without If-Match")
		}
		a.mu.Lock()
		f := a.files[id]
		f.SHA256[0]++
		a.files[id] = f
		a.mu.Unlock()
		next.ServeHTTP(w, r)
	})
	if _, _, err := a.download(t, id, nil); !errors.Is(err, ErrChanged) {
		t.Error(err)
	}
}

func TestDownloadCopesWithAServerWithoutRanges(t *testing.T) {
	data := content(50_000)
	noRange := func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Del("Range")
		next.ServeHTTP(w, r)
	}
	a := newArray(t, cutAnswer(20_000), noRange)
	id := a.put("f", data)
	got, _, err := a.download(t, id, nil)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func TestDownloadOfNoSuchFile(t *testing.T) {
	a := newArray(t)
	_, _, err := a.download(t, 7, nil)
	var e *Error
	if !errors.As(err, &e) || e.Status != 404 || strings.Count(a.seen(), "GET") != 1 {
		t.Errorf("%v after\n%s", err, a.seen())
	}
}

type fullDisk struct{ n int }

func (f *fullDisk) Write(p []byte) (int, error) {
	if f.n -= len(p); f.n < 0 {
		return 0, errors.New("no space left on device")
	}
	return len(p), nil
}

func TestDownloadTellsWhatIsWrongWithItsDestination(t *testing.T) {
	a := newArray(t)
	id := a.put("f", content(1<<20))
	_, err := a.client.Download(t.Context(), Download{ID: id, To: &fullDisk{1 << 19}})
	if !errors.Is(err, ErrDestination) || strings.Count(a.seen(), "GET") != 1 {
		t.Errorf("%v after\n%s", err, a.seen())
	}
}

func TestStalledDownloadEnds(t *testing.T) {
	a := newArray(t, hang)
	a.client.stall = 300 * time.Millisecond
	if _, _, err := a.download(t, a.put("f", nil), nil); !errors.Is(err, ErrStalled) {
		t.Error(err)
	}
}

func TestCancelledDownloadEnds(t *testing.T) {
	a := newArray(t, hang)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := a.client.Download(ctx, Download{ID: a.put("f", nil), To: &bytes.Buffer{}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestForeignAnswersAreRecognised(t *testing.T) {
	for name, f := range map[string]fault{
		"no digest": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.Write([]byte("hello")) },
		"HTML": func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			w.WriteHeader(404)
			w.Write([]byte("<html>"))
		},
		"elsewhere": func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			http.Redirect(w, r, "/login", http.StatusFound)
		},
	} {
		a := newArray(t, f, f, f)
		_, _, err := a.download(t, 1, nil)
		if err == nil || strings.Count(a.seen(), "GET") != 1 {
			t.Errorf("%s: %v after\n%s", name, err, a.seen())
		}
	}
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-0/1", "bytes 5-9/10", "bytes */10", "bytes 9-5/10", "bytes 0-9/5", "", "bytes 1-2/*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		from, size, err := contentRange(s)
		if err == nil && (from < 0 || size <= from) {
			t.Errorf("%q: from %d of %d", s, from, size)
		}
	})
}

func FuzzDigestOf(f *testing.F) {
	f.Add("sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:", `"x"`)
	f.Add("md5=:x:, SHA-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:", "")
	f.Add("sha-256=:", `"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"`)
	f.Fuzz(func(t *testing.T, digest, etag string) {
		h := http.Header{"Repr-Digest": {digest}, "Etag": {etag}}
		sum, ok := digestOf(h)
		if again, ok2 := digestOf(http.Header{"Repr-Digest": {formatDigest(sum[:])}}); ok && (!ok2 || again != sum) {
			t.Errorf("%x does not survive the round trip", sum)
		}
	})
}
