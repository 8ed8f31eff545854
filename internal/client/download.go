package client

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/raidpi/raidpi/internal/raid"
)

// Download says what to fetch, and where to.
type Download struct {
	ID raid.FileID
	To io.Writer // gets the bytes in order

	// Prefix is the beginning of the file, which To already holds. It is read to
	// its end and checked, not fetched. nil: nothing is there yet.
	Prefix io.Reader

	// Progress is told the bytes that To holds and the file's size. May be nil.
	Progress func(have, size int64)
}

// Fetched is a file that was downloaded whole and found to be right.
type Fetched struct {
	Size   int64
	SHA256 [32]byte
}

// copyBuffer is the number of bytes that a transfer moves at once.
const copyBuffer = 256 << 10

// Download fetches a file, going on where a connection broke off. Without an
// error To holds exactly the file; after a [*DigestError] it holds something
// else.
func (c *Client) Download(ctx context.Context, d Download) (Fetched, error) {
	f := &fetch{c: c, d: d, sum: sha256.New(), size: -1, buf: make([]byte, copyBuffer)}
	if err := f.hashPrefix(); err != nil {
		return Fetched{}, err
	}
	if f.have > 0 {
		if err := f.describe(ctx); err != nil {
			return Fetched{}, err
		}
	}
	for attempt := 1; f.size < 0 || f.have < f.size; {
		before := f.have
		err := f.more(ctx)
		if f.have > before {
			attempt = 1 // the connection works, it just does not last
		}
		if err == nil {
			continue
		}
		if attempt >= c.attempts || !passing(err) || pause(ctx, attempt, err) != nil {
			return Fetched{}, err
		}
		attempt++
	}
	return f.check()
}

// fetch is a download under way.
type fetch struct {
	c    *Client
	d    Download
	sum  hash.Hash // of what To holds
	have int64     // how much that is
	buf  []byte

	size int64    // of the file, -1 until an answer told
	etag string   // of the file
	want [32]byte // the file's digest
}

func (f *fetch) hashPrefix() (err error) {
	if f.d.Prefix == nil {
		return nil
	}
	if f.have, err = io.CopyBuffer(f.sum, f.d.Prefix, f.buf); err != nil {
		return fmt.Errorf("read what was downloaded before: %w", err)
	}
	return nil
}

// describe learns the file's size and digest without its bytes.
func (f *fetch) describe(ctx context.Context) error {
	return f.c.retry(ctx, nil, func() error {
		w := newWatch(ctx, f.c.stall)
		defer w.stop()
		resp, err := f.send(w, http.MethodHead)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		return f.learn(resp, resp.ContentLength)
	})
}

// more fetches what is missing, up to where the connection breaks off.
func (f *fetch) more(ctx context.Context) error {
	w := newWatch(ctx, f.c.stall)
	defer w.stop()
	resp, err := f.send(w, http.MethodGet)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	from, size := int64(0), resp.ContentLength
	if resp.StatusCode == http.StatusPartialContent {
		if from, size, err = contentRange(resp.Header.Get("Content-Range")); err != nil {
			return err
		}
	}
	if err := f.learn(resp, size); err != nil {
		return err
	}
	body := w.reader(resp.Body)
	if from < f.have { // a server that does not know ranges
		if _, err := io.CopyN(io.Discard, body, f.have-from); err != nil {
			return f.c.explain(err, w)
		}
	} else if from > f.have {
		return fmt.Errorf("another part of the file came than was asked for: %w", errNotOurs)
	}
	return f.copy(body, w)
}

func (f *fetch) send(w *watch, method string) (*http.Response, error) {
	req, err := f.c.request(w, method, fmt.Sprintf("/files/%d", f.d.ID), nil)
	if err != nil {
		return nil, err
	}
	if f.etag != "" {
		req.Header.Set("If-Match", f.etag)
	}
	if method == http.MethodGet && f.have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", f.have))
	}
	resp, err := f.c.do(req, w)
	if StatusOf(err) == http.StatusPreconditionFailed {
		return nil, ErrChanged
	}
	return resp, err
}

// learn notes what an answer says of the whole file, which must not change from
// one answer to the next.
func (f *fetch) learn(resp *http.Response, size int64) error {
	want, ok := digestOf(resp.Header)
	if !ok || size < 0 {
		return fmt.Errorf("no SHA-256 or no length came with the file: %w", errNotOurs)
	}
	if f.size >= 0 && (f.size != size || f.want != want) {
		return ErrChanged
	}
	f.size, f.want, f.etag = size, want, resp.Header.Get("ETag")
	if strings.HasPrefix(f.etag, "W/") {
		f.etag = "" // no good for If-Match
	}
	return nil
}

func (f *fetch) copy(body io.Reader, w *watch) error {
	for f.have < f.size {
		n, err := body.Read(f.buf[:min(int64(len(f.buf)), f.size-f.have)])
		if n > 0 {
			w.pause() // the destination may take its time
			if _, err := f.d.To.Write(f.buf[:n]); err != nil {
				return fmt.Errorf("%w: %w", ErrDestination, err)
			}
			w.touch()
			f.sum.Write(f.buf[:n])
			f.have += int64(n)
			if f.d.Progress != nil {
				f.d.Progress(f.have, f.size)
			}
		}
		if err != nil && f.have < f.size {
			return f.c.explain(err, w)
		}
	}
	return nil
}

// check compares what To holds with what the controller says of the file.
func (f *fetch) check() (Fetched, error) {
	got := Fetched{Size: f.have}
	f.sum.Sum(got.SHA256[:0])
	if f.have != f.size || got.SHA256 != f.want {
		return got, &DigestError{What: fmt.Sprintf("what was downloaded of file %d (%d of %d bytes)", f.d.ID, f.have, f.size),
			Got: got.SHA256, Want: f.want}
	}
	return got, nil
}

var errContentRange = errors.New("it is not said which part of the file came")

// contentRange reads "bytes FROM-TO/SIZE" (RFC 9110 section 14.4).
func contentRange(s string) (from, size int64, err error) {
	bad := fmt.Errorf("%w: %w", errContentRange, errNotOurs)
	set, ok := strings.CutPrefix(s, "bytes ")
	span, total, ok2 := strings.Cut(set, "/")
	first, last, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, bad
	}
	from, err1 := strconv.ParseInt(first, 10, 64)
	to, err2 := strconv.ParseInt(last, 10, 64)
	size, err3 := strconv.ParseInt(total, 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || from < 0 || to < from || size <= to {
		return 0, 0, bad
	}
	return from, size, nil
}
