package raidctl

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/raidpi/raidpi/test/kit"
)

// binary is raidctl, built once.
var binary string

func TestMain(m *testing.M) {
	code := kit.RunWithProgram(m, "../../cmd/raidctl", func(built string) {
		binary = built
		os.Setenv("XDG_CONFIG_HOME", filepath.Join(filepath.Dir(built), "config")) // not the logins of whoever runs the tests
	})
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// fake is a controller as the REST contract describes it, with files in memory.
type fake struct {
	*httptest.Server
	mu     sync.Mutex
	files  map[int]record
	last   int
	ready  bool
	ranges []string     // the Range of each GET of a file
	before http.Handler // asked first; true when it answered; see fault
}

type record struct {
	ID          int    `json:"id"`
	Filename    string `json:"filename"`
	Size        int    `json:"size"`
	ContentType string `json:"content_type"`
	Created     string `json:"created"`
	SHA256      string `json:"sha256"`
	Stripes     int    `json:"stripes"`
	Degraded    bool   `json:"degraded"`
	Lab         bool   `json:"lab"`
	Part1       string `json:"part1_filenames"`
	Part2       string `json:"part2_filenames"`
	data        []byte
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{files: map[int]record{}, ready: true}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /files", f.post)
	mux.HandleFunc("GET /files", f.list)
	mux.HandleFunc("GET /files/{id}", f.get)
	mux.HandleFunc("GET /files/{id}/info", f.info)
	mux.HandleFunc("DELETE /files/{id}", f.remove)
	mux.HandleFunc("GET /nodes", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, fakeNodes) })
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, fakeStatus, f.ready) })
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		h := f.before
		f.mu.Unlock()
		if h == nil {
			h = mux
		} else {
			r = r.WithContext(context.WithValue(r.Context(), nextKey{}, mux))
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		f.CloseClientConnections()
		f.Server.Close()
	})
	return f
}

type nextKey struct{}

// fault puts a handler before the fake; next is the fake itself.
func (f *fake) fault(h func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.before = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h(w, r, r.Context().Value(nextKey{}).(http.Handler))
	})
}

func (f *fake) put(name string, data []byte) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	f.files[f.last] = record{ID: f.last, Filename: name, Size: len(data), ContentType: "text/plain", Created: "2026-01-02 03:04:05",
		SHA256: fmt.Sprintf("%x", sha256.Sum256(data)), Stripes: 1, Part1: "aaa,bbb", Part2: "ccc,ddd", data: data}
	return f.last
}

func (f *fake) find(w http.ResponseWriter, r *http.Request) (record, bool) {
	id, _ := strconv.Atoi(r.PathValue("id"))
	f.mu.Lock()
	defer f.mu.Unlock()
	rec, ok := f.files[id]
	if !ok {
		refuse(w, 404, fmt.Sprintf("there is no file %d", id))
	}
	return rec, ok
}

func refuse(w http.ResponseWriter, status int, message string) {
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"message": message})
}

func (f *fake) post(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	id := f.put(r.URL.Query().Get("filename"), data)
	f.mu.Lock()
	defer f.mu.Unlock()
	rec := f.files[id]
	rec.ContentType = r.Header.Get("Content-Type")
	f.files[id] = rec
	w.Header().Set("ETag", strconv.Quote(rec.SHA256))
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"id": %d}`, id)
}

func (f *fake) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit, _ := strconv.Atoi(q.Get("limit"))
	after, _ := strconv.Atoi(q.Get("after"))
	f.mu.Lock()
	defer f.mu.Unlock()
	list := []record{}
	for id := after + 1; id <= f.last && (limit == 0 || len(list) < limit); id++ {
		if rec, ok := f.files[id]; ok && strings.Contains(rec.Filename, q.Get("q")) {
			list = append(list, rec)
		}
	}
	json.NewEncoder(w).Encode(map[string]any{"files": list})
}

func (f *fake) get(w http.ResponseWriter, r *http.Request) {
	rec, ok := f.find(w, r)
	if !ok {
		return
	}
	if r.Method == http.MethodGet {
		f.mu.Lock()
		f.ranges = append(f.ranges, r.Header.Get("Range"))
		f.mu.Unlock()
	}
	sum := sha256.Sum256(rec.data)
	w.Header().Set("ETag", strconv.Quote(rec.SHA256))
	w.Header().Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":")
	w.Header().Set("Content-Type", rec.ContentType)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(rec.data))
}

func (f *fake) info(w http.ResponseWriter, r *http.Request) {
	if rec, ok := f.find(w, r); ok {
		json.NewEncoder(w).Encode(rec)
	}
}

func (f *fake) remove(w http.ResponseWriter, r *http.Request) {
	if rec, ok := f.find(w, r); ok {
		f.mu.Lock()
		delete(f.files, rec.ID)
		f.mu.Unlock()
	}
}

const fakeNodes = `{"nodes": [
 {"id": "AbCdEfGhIjKlMnOpQrStUv", "name": "pi-2", "kind": "native", "state": "up", "address": "192.168.1.11:40000", "zone": "attic",
  "total_bytes": 32000000000, "free_bytes": 12345678, "chunks": 42, "version": "0.1.0", "read_only": false, "last_seen": "2026-01-02 03:04:05"},
 {"id": "lab-127.0.0.1:5000", "kind": "lab", "state": "down", "address": "127.0.0.1:5000", "zone": "", "total_bytes": 0,
  "free_bytes": 0, "chunks": 0, "version": "", "read_only": true, "last_seen": null}]}`

const fakeUnplug = `{"node": "AbCdEfGhIjKlMnOpQrStUv", "safe": true, "text": "pi-2 may be unplugged", "unreadable_files": 0, "unprotected_files": 3, "at_most": false,
 "uploads": 0, "wait_for": "", "seconds": 0}`

const fakeStatus = `{"array": "TIzPgsHtLSx9sOLUYazQs6", "version": "0.1.0", "ready": %v, "message": "", "uptime_seconds": 93784,
 "nodes": {"up": 3, "suspect": 0, "down": 1, "draining": 0, "lab": 1}, "total_bytes": 32000000000, "free_bytes": 12345678,
 "files": 12, "file_bytes": 1536, "degraded_files": 2, "removals_queued": 1, "commit": 77, "transfers": 0,
 "clones": [{"node": "AbCdEfGhIjKlMnOpQrStUv", "address": "192.168.1.99:40000", "last_refused": "2026-01-02 03:04:05"}]}`

// result is how a run of raidctl ended.
type result struct {
	status         int
	stdout, stderr string
}

// raidctl runs the program in this process.
func (f *fake) raidctl(t *testing.T, args ...string) result {
	t.Helper()
	return f.withInput(t, strings.NewReader(""), args...)
}

func (f *fake) withInput(t *testing.T, stdin io.Reader, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := Run(t.Context(), Process{
		Args: args, Env: []string{"RAID_CONTROLLER_URL=" + f.URL}, Stdin: stdin, Stdout: &stdout, Stderr: &stderr,
	})
	return result{status, stdout.String(), stderr.String()}
}

// want checks a run's end; stdout and stderr must be equal, or for stderr
// contain each of the texts.
func (r result) want(t *testing.T, status int, stdout string, stderr ...string) {
	t.Helper()
	if r.status != status || r.stdout != stdout || len(stderr) == 0 && r.stderr != "" {
		t.Errorf("status %d, want %d\nstdout %q\n  want %q\nstderr %q", r.status, status, r.stdout, stdout, r.stderr)
	}
	for _, s := range stderr {
		if !strings.Contains(r.stderr, s) {
			t.Errorf("stderr %q does not say %q", r.stderr, s)
		}
	}
}
