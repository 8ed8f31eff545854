package client

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/raidpi/raidpi/internal/httpapi"
	"github.com/raidpi/raidpi/internal/object"
	"github.com/raidpi/raidpi/internal/raid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// array is the real REST API over files in memory, behind faults.
type array struct {
	*httptest.Server
	client *Client

	mu     sync.Mutex
	last   raid.FileID
	files  map[raid.FileID]raid.File
	data   map[raid.FileID][]byte
	keys   map[string]raid.FileID
	prints map[string][32]byte

	requests []string // "GET /files/1 bytes=5-"
	faults   []fault  // one for each request, in order; nil or missing: none
}

// fault stands between a request and the API; next is the API.
type fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

func newArray(t *testing.T, faults ...fault) *array {
	t.Helper()
	a := &array{
		files: map[raid.FileID]raid.File{}, data: map[raid.FileID][]byte{}, keys: map[string]raid.FileID{},
		prints: map[string][32]byte{}, faults: faults,
	}
	api := httpapi.New(httpapi.Config{
		Files: a, Index: a, Version: "1.2.3",
		Nodes: func() []raid.NodeInfo {
			return []raid.NodeInfo{{ID: "n1", Kind: raid.Native, State: raid.Up, Seen: true, TotalBytes: 10}, {ID: "lab-x", Kind: raid.Lab, State: raid.Down}}
		},
		Status: func(context.Context) (httpapi.Status, error) {
			return httpapi.Status{Array: "theArray", Commit: 1 << 63, Clones: []httpapi.Clone{{Node: "n1", Address: "a:1", LastRefused: "2026-01-02 03:04:05"}}}, nil
		},
		Ready: func() error { return nil },
		Log:   slog.New(slog.DiscardHandler),
	}).Handler()
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.requests = append(a.requests, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+r.Header.Get("Range")))
		var f fault
		if len(a.faults) > 0 {
			f, a.faults = a.faults[0], a.faults[1:]
		}
		a.mu.Unlock()
		if f != nil {
			f(w, r, api)
			return
		}
		api.ServeHTTP(w, r)
	}))
	a.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	c, err := New(Config{URL: a.URL, Stall: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	a.client = c
	t.Cleanup(func() {
		c.Close()
		a.CloseClientConnections()
		a.Server.Close()
	})
	return a
}

// seen are the requests that came so far.
func (a *array) seen() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.requests, "\n")
}

// put stores a file past the API.
func (a *array) put(name string, data []byte) raid.FileID {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last++
	a.files[a.last] = raid.File{ID: a.last, Filename: name, Size: int64(len(data)), ContentType: "text/plain",
		Created: "2026-01-02 03:04:05", SHA256: sha256.Sum256(data), Stripes: 1}
	a.data[a.last] = data
	return a.last
}

func (a *array) CheckRoom(int64) error { return nil }

func (a *array) Upload(_ context.Context, u object.Upload) (raid.File, error) {
	data, err := io.ReadAll(u.Body)
	if err != nil {
		return raid.File{}, fmt.Errorf("read upload: %w", err)
	}
	d, err := u.Describe()
	if err != nil {
		return raid.File{}, err
	}
	if d.SHA256 != nil && *d.SHA256 != sha256.Sum256(data) {
		return raid.File{}, fmt.Errorf("%w: digest", raid.ErrInvalid)
	}
	id := a.put(d.Filename, data)
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.files[id]
	f.ContentType = d.ContentType
	a.files[id] = f
	if u.Idempotency != nil {
		a.keys[u.Idempotency.Key], a.prints[u.Idempotency.Key] = id, u.Idempotency.Fingerprint
	}
	return f, nil
}

type memoryReader struct{ *bytes.Reader }

func (memoryReader) Close() error { return nil }

func (a *array) Open(_ context.Context, f raid.File) (io.ReadSeekCloser, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return memoryReader{bytes.NewReader(a.data[f.ID])}, nil
}

func (a *array) Delete(_ context.Context, id raid.FileID) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.files[id]; !ok {
		return fmt.Errorf("file %d: %w", id, raid.ErrNotFound)
	}
	delete(a.files, id)
	return nil
}

func (a *array) File(_ context.Context, id raid.FileID) (raid.File, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f, ok := a.files[id]
	if !ok {
		return f, fmt.Errorf("file %d: %w", id, raid.ErrNotFound)
	}
	return f, nil
}

func (a *array) Names(_ context.Context, _ raid.File, part int) iter.Seq2[raid.ChunkName, error] {
	return func(yield func(raid.ChunkName, error) bool) {
		for _, n := range [][]raid.ChunkName{{"aaa", "bbb"}, {"ccc", "ddd"}}[part-1] {
			if !yield(n, nil) {
				return
			}
		}
	}
}

func (a *array) Files(_ context.Context, q raid.FileQuery) iter.Seq2[raid.File, error] {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := slices.SortedFunc(maps.Values(a.files), func(x, y raid.File) int { return cmp.Compare(x.ID, y.ID) })
	return func(yield func(raid.File, error) bool) {
		n := 0
		for _, f := range all {
			if f.ID <= q.After || !strings.Contains(f.Filename, q.Filename) {
				continue
			}
			if n++; q.Limit > 0 && n > q.Limit || !yield(f, nil) {
				return
			}
		}
	}
}

func (a *array) FindKey(_ context.Context, key string) (raid.FileID, [32]byte, bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id, ok := a.keys[key]
	return id, a.prints[key], ok, nil
}

// Faults.

// status answers without the API.
func status(code int, header ...string) fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"message": "injected %d"}`, code)
	}
}

// cutAnswer breaks the connection off after n bytes of the answer's body.
func cutAnswer(n int) fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&tampered{ResponseWriter: w, left: n, at: -1}, r)
		panic(http.ErrAbortHandler) // an answer shorter than that is lost whole
	}
}

// flip changes the byte at an offset of the answer's body.
func flip(at int) fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&tampered{ResponseWriter: w, left: math.MaxInt, at: at}, r)
	}
}

// loseAnswer lets the API do its work and then tells nobody.
func loseAnswer(_ http.ResponseWriter, r *http.Request, next http.Handler) {
	next.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// cutBody reads some of the request and breaks the connection off.
func cutBody(n int64) fault {
	return func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.CopyN(io.Discard, r.Body, n)
		panic(http.ErrAbortHandler)
	}
}

// hang answers nothing until the client gives up.
func hang(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// tampered is an answer that is cut or changed on its way.
type tampered struct {
	http.ResponseWriter
	left int
	at   int
	n    int
}

func (t *tampered) Write(p []byte) (int, error) {
	p = bytes.Clone(p)
	if i := t.at - t.n; i >= 0 && i < len(p) {
		p[i] ^= 1
	}
	if len(p) >= t.left {
		_, _ = t.ResponseWriter.Write(p[:t.left])
		t.Unwrap().(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	t.left -= len(p)
	n, err := t.ResponseWriter.Write(p)
	t.n += n
	return n, err
}

func (t *tampered) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// content is n bytes that differ from place to place.
func content(n int) []byte {
	b := make([]byte, n)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}
