package raidctl

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// diary is a controller's events as the REST contract describes them.
type diary struct {
	mu      sync.Mutex
	all     []string // JSON, of the numbers 1, 2, …
	changed chan struct{}
	streams int           // that were begun
	cut     chan struct{} // ends the streams
}

func newDiary() *diary { return &diary{changed: make(chan struct{}), cut: make(chan struct{})} }

func (d *diary) add(at, kind, text, advice string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, _ := json.Marshal(map[string]any{"seq": len(d.all) + 1, "at": at, "kind": kind, "node": "n1", "file": nil, "text": text, "advice": advice})
	d.all = append(d.all, string(e))
	close(d.changed)
	d.changed = make(chan struct{})
}

// cutAll breaks the connections of those who follow.
func (d *diary) cutAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.cut)
	d.cut = make(chan struct{})
}

func (d *diary) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if r.URL.Path != "/events" {
		next.ServeHTTP(w, r)
		return
	}
	q := r.URL.Query()
	after, _ := strconv.Atoi(q.Get("after"))
	limit, _ := strconv.Atoi(q.Get("limit"))
	if q.Get("follow") == "" {
		d.mu.Lock()
		defer d.mu.Unlock()
		some := d.all[after:]
		switch {
		case q.Has("after"):
			some = some[:min(limit, len(some))]
		default:
			some = some[max(0, len(some)-limit):]
		}
		fmt.Fprintf(w, `{"events": [%s]}`, strings.Join(some, ","))
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	io.WriteString(w, "retry: 3000\n\n")
	d.mu.Lock()
	d.streams++
	cut := d.cut
	d.mu.Unlock()
	for {
		d.mu.Lock()
		some, changed := d.all[after:], d.changed
		d.mu.Unlock()
		for _, e := range some {
			after++
			fmt.Fprintf(w, "id: %d\ndata: %s\n\n", after, e)
		}
		w.(http.Flusher).Flush()
		select {
		case <-changed:
		case <-cut:
			panic(http.ErrAbortHandler)
		case <-r.Context().Done():
			return
		}
	}
}

func ago(d time.Duration) string { return time.Now().UTC().Add(-d).Format(time.DateTime) }

func TestEventsAreShownWithWhatToDo(t *testing.T) {
	f, d := newFake(t), newDiary()
	f.fault(d.serve)
	d.add("2026-01-02 03:04:05", "node-down", "pi2 is away\x1b[2J", "look at its power")
	d.add(ago(time.Hour), "node-up", "pi2 is back", "")
	d.add(ago(time.Minute), "token-made", "a token", "")
	for line, want := range map[string][]string{
		"events":                                   {"pi2 is away", "pi2 is back", "a token"},
		"events -n 2":                              {"pi2 is back", "a token"},
		"events --since 2h":                        {"pi2 is back", "a token"},
		"events --since 2h --limit 1":              {"a token"},
		"events --since 2026-01-01":                {"pi2 is away", "pi2 is back", "a token"},
		"events --since 2026-01-02T04:04:06+01:00": {"pi2 is back", "a token"},
		"events --kind node-up,node-down":          {"pi2 is away", "pi2 is back"},
		"events --kind node-up --since 30m":        {},
	} {
		r := f.raidctl(t, strings.Fields(line)...)
		got := 0
		for _, text := range want {
			got += strings.Count(r.stdout, text)
		}
		if r.status != 0 || got != len(want) || strings.Count(r.stdout, "\n") != len(want)+strings.Count(r.stdout, "look at") {
			t.Errorf("%s: %d %s\n%s", line, r.status, r.stderr, r.stdout)
		}
	}
	r := f.raidctl(t, "events", "-n", "3")
	if !strings.HasPrefix(r.stdout, "2026-01-02 03:04:05  node-down        pi2 is away\\x1b[2J\n"+strings.Repeat(" ", 38)+"look at its power\n") {
		t.Errorf("%q", r.stdout)
	}
	r = f.raidctl(t, "events", "--json", "-n", "1")
	var e map[string]any
	if err := json.Unmarshal([]byte(r.stdout), &e); err != nil || e["kind"] != "token-made" || e["seq"] != 3.0 {
		t.Errorf("%q, %v", r.stdout, err)
	}
}

func TestEventsAreReadPageByPage(t *testing.T) {
	f, d := newFake(t), newDiary()
	f.fault(d.serve)
	for i := range 2500 {
		d.add("2026-01-02 03:04:05", "node-up", fmt.Sprint("text", i), "")
	}
	if r := f.raidctl(t, "events", "-n", "0"); strings.Count(r.stdout, "\n") != 2500 || !strings.HasSuffix(r.stdout, "text2499\n") {
		t.Errorf("%d lines, %s", strings.Count(r.stdout, "\n"), r.stderr)
	}
}

// A controller that is restarted, or a network that is away, ends it not, and nothing
// is missed or told twice.
func TestFollowedEventsGoOnOverLostConnections(t *testing.T) {
	f, d := newFake(t), newDiary()
	f.fault(d.serve)
	d.add("2026-01-02 03:04:05", "node-up", "text0", "")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "events", "--follow", "--controller", f.URL)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for i := range 6 {
		if !lines.Scan() || !strings.HasSuffix(lines.Text(), fmt.Sprint("text", i)) {
			t.Fatalf("line %d is %q, %v", i, lines.Text(), lines.Err())
		}
		if i%2 == 1 {
			d.cutAll()
		}
		d.add("2026-01-02 03:04:05", "node-up", fmt.Sprint("text", i+1), "")
	}
	cancel()
	_ = cmd.Wait() // it was killed
	if d.mu.Lock(); d.streams < 3 {
		t.Errorf("%d streams", d.streams)
	}
	d.mu.Unlock()
}

func TestFollowEndsWhereTheControllerRefuses(t *testing.T) {
	f := newFake(t)
	f.fault(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		if r.URL.Query().Has("follow") {
			refuse(w, 401, "this token has been revoked")
			return
		}
		io.WriteString(w, `{"events": []}`)
	})
	if r := f.raidctl(t, "events", "-f"); r.status != exitNotAllowed || !strings.Contains(r.stderr, "revoked") {
		t.Errorf("%d %s", r.status, r.stderr)
	}
}
