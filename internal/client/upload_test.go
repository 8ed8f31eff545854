package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// once hides everything but Read.
type once struct{ io.Reader }

func (a *array) upload(t *testing.T, u Upload) (Stored, error) {
	t.Helper()
	if u.Filename == "" {
		u.Filename = "f"
	}
	return a.client.Upload(t.Context(), u)
}

func TestUploadStoresWhatWasRead(t *testing.T) {
	a := newArray(t)
	for _, size := range []int{0, 1, 1000, expectFrom, 3 << 20} {
		data := content(size)
		for name, u := range map[string]Upload{
			"file":   {Body: bytes.NewReader(data), Size: int64(size)},
			"pipe":   {Body: once{bytes.NewReader(data)}, Size: -1},
			"seeker": {Body: bytes.NewReader(data), Size: -1},
			"part":   {Body: io.MultiReader(bytes.NewReader(data), strings.NewReader("beyond")), Size: int64(size)},
		} {
			u.Filename, u.ContentType = "a/b\n\"ü\" &+%.txt", "text/x; a=b"
			var sent atomic.Int64
			u.Progress = sent.Store
			s, err := a.client.Upload(t.Context(), u)
			if err != nil {
				t.Fatalf("%s of %d bytes: %v", name, size, err)
			}
			f := a.files[s.ID]
			if !bytes.Equal(a.data[s.ID], data) || f.Filename != u.Filename || f.ContentType != u.ContentType {
				t.Errorf("%s of %d bytes: stored %d bytes as %q, %q", name, size, len(a.data[s.ID]), f.Filename, f.ContentType)
			}
			if s.Size != int64(size) || s.SHA256 != sha256.Sum256(data) || sent.Load() != int64(size) {
				t.Errorf("%s of %d bytes: told %d bytes, %d sent, digest right: %v", name, size, s.Size, sent.Load(), s.SHA256 == sha256.Sum256(data))
			}
		}
	}
}

func TestUploadBeginsWhereItsBodyStands(t *testing.T) {
	a := newArray(t, cutBody(10))
	r := bytes.NewReader([]byte("skipped, kept"))
	if _, err := r.Seek(9, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	s, err := a.upload(t, Upload{Body: r, Size: 4})
	if err != nil || string(a.data[s.ID]) != "kept" {
		t.Errorf("stored %q, %v", a.data[s.ID], err)
	}
}

func TestUploadSurvivesABrokenConnection(t *testing.T) {
	data := content(2 << 20)
	a := newArray(t, cutBody(1<<20), status(http.StatusServiceUnavailable, "Retry-After", "0"))
	s, err := a.upload(t, Upload{Body: bytes.NewReader(data), Size: int64(len(data))})
	if err != nil || !bytes.Equal(a.data[s.ID], data) {
		t.Fatalf("stored %d bytes, %v", len(a.data[s.ID]), err)
	}
	if s.SHA256 != sha256.Sum256(data) {
		t.Error("the digest is not that of the file")
	}
}

func TestRepeatedUploadMakesOneFile(t *testing.T) {
	for _, size := range []int{10, 2 << 20} {
		data := content(size)
		a := newArray(t, loseAnswer)
		s, err := a.upload(t, Upload{Body: bytes.NewReader(data), Size: int64(size)})
		if err != nil || len(a.files) != 1 || s.ID != 1 {
			t.Errorf("%d bytes: file %d of %d, %v", size, s.ID, len(a.files), err)
		}
		if s.Size != int64(size) || s.SHA256 != sha256.Sum256(data) {
			t.Errorf("%d bytes: told %d and digest %x", size, s.Size, s.SHA256)
		}
	}
}

func TestUploadFromAPipeIsNotRepeatedOnceRead(t *testing.T) {
	a := newArray(t, cutBody(100))
	_, err := a.upload(t, Upload{Body: once{bytes.NewReader(content(1 << 20))}, Size: -1})
	if err == nil || strings.Count(a.seen(), "POST") != 1 {
		t.Errorf("%v after\n%s", err, a.seen())
	}
}

func TestUploadFromAPipeIsRepeatedWhileUnread(t *testing.T) {
	data := content(1 << 20)
	// Refused before the body was asked for: 100 Continue never came.
	a := newArray(t, status(http.StatusServiceUnavailable, "Retry-After", "0"))
	s, err := a.upload(t, Upload{Body: once{bytes.NewReader(data)}, Size: -1})
	if err != nil || !bytes.Equal(a.data[s.ID], data) {
		t.Errorf("stored %d bytes, %v", len(a.data[s.ID]), err)
	}
}

func TestRefusedUploadIsNotRepeated(t *testing.T) {
	for _, code := range []int{400, 409, 413, 422, 500, 507} {
		a := newArray(t, status(code))
		_, err := a.upload(t, Upload{Body: bytes.NewReader(content(1 << 20)), Size: 1 << 20})
		var e *Error
		if !errors.As(err, &e) || e.Status != code || e.Message == "" || strings.Count(a.seen(), "POST") != 1 {
			t.Errorf("%d: %v after\n%s", code, err, a.seen())
		}
	}
}

func TestDamagedUploadIsNoticed(t *testing.T) {
	// The array stored other bytes than were sent, and says so honestly.
	a := newArray(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Body = io.NopCloser(io.MultiReader(io.LimitReader(r.Body, 9), strings.NewReader("X")))
		next.ServeHTTP(w, r)
	})
	s, err := a.upload(t, Upload{Body: strings.NewReader("0123456789"), Size: 10})
	var d *DigestError
	if !errors.As(err, &d) || s.ID != 1 || strings.Count(a.seen(), "POST") != 1 || d.Want != sha256.Sum256([]byte("0123456789")) || d.Got != sha256.Sum256([]byte("012345678X")) {
		t.Errorf("file %d, %v", s.ID, err)
	}
}

func TestDamagedPipeIsNotStored(t *testing.T) {
	a := newArray(t, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Body = &flipper{ReadCloser: r.Body}
		next.ServeHTTP(w, r)
	})
	_, err := a.upload(t, Upload{Body: once{strings.NewReader("0123456789")}, Size: -1})
	if StatusOf(err) != http.StatusBadRequest || len(a.files) != 0 {
		t.Errorf("%v, %d files", err, len(a.files))
	}
}

type flipper struct{ io.ReadCloser }

func (f *flipper) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if n > 0 {
		p[0] ^= 1
	}
	return n, err
}

func TestUploadTellsWhatIsWrongWithItsSource(t *testing.T) {
	for name, u := range map[string]Upload{
		"shrunk": {Body: bytes.NewReader(content(1000)), Size: 5000},
		"fails":  {Body: io.MultiReader(bytes.NewReader(content(1<<20)), failing{}), Size: -1},
		"size":   {Body: bytes.NewReader(nil), Size: -2},
	} {
		a := newArray(t)
		_, err := a.upload(t, u)
		if !errors.Is(err, ErrSource) || len(a.files) != 0 {
			t.Errorf("%s: %v, %d files", name, err, len(a.files))
		}
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, os.ErrPermission }

func TestCancelledUploadEndsWhileItsPipeIsSilent(t *testing.T) {
	a := newArray(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := w.WriteString("beginning"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_, err = a.client.Upload(ctx, Upload{Filename: "f", Body: r, Size: -1})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 15*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

func TestStalledUploadEnds(t *testing.T) {
	a := newArray(t, hang, hang, hang)
	a.client.stall = 300 * time.Millisecond
	_, err := a.upload(t, Upload{Body: bytes.NewReader(content(1000)), Size: 1000})
	if !errors.Is(err, ErrStalled) || strings.Count(a.seen(), "POST") != 1 {
		t.Errorf("%v after\n%s", err, a.seen())
	}
}

func TestSlowPipeIsNoStall(t *testing.T) {
	a := newArray(t)
	a.client.stall = 200 * time.Millisecond
	r, w := io.Pipe()
	go func() {
		for range 3 {
			time.Sleep(400 * time.Millisecond)
			_, _ = w.Write([]byte("slow "))
		}
		w.Close()
	}()
	s, err := a.upload(t, Upload{Body: r, Size: -1})
	if err != nil || string(a.data[s.ID]) != "slow slow slow " {
		t.Errorf("stored %q, %v", a.data[s.ID], err)
	}
}
