package raidctl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/raidpi/raidpi/internal/client"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/service"
)

func TestLsAlignsAndSanitises(t *testing.T) {
	f := newFake(t)
	f.raidctl(t, "ls").want(t, 0, "      ID        SIZE  CREATED (UTC)        STATE     NAME\n")
	f.put("photo ü.jpg", make([]byte, 1536))
	f.put("evil\x1b[2J\nname\u202e", nil)
	f.put("x", nil)
	for id, mark := range map[int]func(*record){2: func(r *record) { r.Degraded = true }, 3: func(r *record) { r.Lab = true }} {
		r := f.files[id]
		mark(&r)
		f.files[id] = r
	}
	f.raidctl(t, "ls").want(t, 0, `      ID        SIZE  CREATED (UTC)        STATE     NAME
       1     1.5 KiB  2026-01-02 03:04:05  ok        photo ü.jpg
       2         0 B  2026-01-02 03:04:05  degraded  evil\x1b[2J\nname\u202e
       3         0 B  2026-01-02 03:04:05  lab       x
`)
	if r := f.raidctl(t, "ls", "--filter", "photo", "--limit", "5"); strings.Count(r.stdout, "\n") != 2 {
		t.Errorf("filtered: %q", r.stdout)
	}
	if r := f.raidctl(t, "ls", "--limit", "2"); strings.Count(r.stdout, "\n") != 3 {
		t.Errorf("limited: %q", r.stdout)
	}
	f.raidctl(t, "ls", "--limit=-1").want(t, exitUsage, "", "--limit")
	r := f.raidctl(t, "ls", "--json")
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	var second record
	if len(lines) != 3 || json.Unmarshal([]byte(lines[1]), &second) != nil || second.Filename != "evil\x1b[2J\nname\u202e" || !second.Degraded {
		t.Errorf("in JSON: %q", r.stdout)
	}
}

func TestInfoDescribesAFile(t *testing.T) {
	f := newFake(t)
	f.put("a\tb", []byte("x"))
	f.raidctl(t, "info", "1").want(t, 0, `id            1
name          a\tb
size          1 B (1 byte)
content type  text/plain
created       2026-01-02 03:04:05 UTC
sha256        2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881
state         ok
stripes       1
half 1        aaa bbb
half 2        ccc ddd
`)
	f.put("c", nil)
	r := f.files[2]
	r.Part1, r.Part2 = strings.Repeat("abc,", 99)+"abc", ""
	f.files[2] = r
	if r := f.raidctl(t, "info", "2"); !strings.Contains(r.stdout, "half 1        100 chunks (--json names them)\nhalf 2        -\n") {
		t.Errorf("long: %q", r.stdout)
	}
	if r := f.raidctl(t, "info", "1", "9", "2"); r.status != exitNotFound || strings.Count(r.stdout, "\n\nid ") != 1 {
		t.Errorf("several: %+v", r)
	}
}

func TestRmDeletesAndIsQuiet(t *testing.T) {
	f := newFake(t)
	f.put("a", nil)
	f.put("b", nil)
	f.put("c", nil)
	f.raidctl(t, "rm", "1").want(t, 0, "")
	f.raidctl(t, "rm", "1", "2").want(t, exitNotFound, "", "there is no file 1")
	f.raidctl(t, "rm", "--json", "3").want(t, 0, `{"deleted":true,"id":3}`+"\n")
	if len(f.files) != 0 {
		t.Errorf("%d files are left", len(f.files))
	}
	for _, bad := range []string{"x", "0", "1.5", "99999999999999999999"} {
		f.raidctl(t, "rm", bad).want(t, exitUsage, "", fmt.Sprintf("%q is no id", bad))
	}
}

func TestStatusShowsTheArray(t *testing.T) {
	f := newFake(t)
	const table = `array      TIzPgsHtLSx9sOLUYazQs6
controller raid-controller 0.1.0, up for 1 d 2 h
state      %s
nodes      3 up, 1 down (1 of them lab peers)
clone      of node AbCdEfGhIjKlMnOpQrStUv at 192.168.1.99:40000, refused (last 2026-01-02 03:04:05 UTC): run sudo raid-node reset-identity there, then join
space      11.8 MiB free of 29.8 GiB
files      12 files, 1.5 KiB; 2 degraded, to be repaired
removals   1 chunk queued
transfers  0 transfers under way
`
	f.raidctl(t, "status").want(t, 0, fmt.Sprintf(table, "ready"))
	f.ready = false
	f.raidctl(t, "status").want(t, exitUnavailable, fmt.Sprintf(table, "not ready"))
	if r := f.raidctl(t, "status", "--json"); r.status != exitUnavailable || !strings.Contains(r.stdout, `"free_bytes":12345678`) {
		t.Errorf("in JSON: %+v", r)
	}
}

func TestNodesAreListed(t *testing.T) {
	f := newFake(t)
	f.raidctl(t, "nodes").want(t, 0, `NAME              STATE  FREE      TOTAL     CHUNKS  ZONE   ID
pi-2              up     11.8 MiB  29.8 GiB  42      attic  AbCdEf
lab-127.0.0.1:5…  down   -         -         -       -      lab-12
`)
	f.raidctl(t, "nodes", "--wide").want(t, 0, `NAME                STATE  FREE      TOTAL     CHUNKS  ZONE   ID                      KIND    ADDRESS             VERSION  LAST SEEN (UTC)
pi-2                up     11.8 MiB  29.8 GiB  42      attic  AbCdEfGhIjKlMnOpQrStUv  native  192.168.1.11:40000  0.1.0    2026-01-02 03:04:05
lab-127.0.0.1:5000  down   -         -         -       -      lab-127.0.0.1:5000      lab     127.0.0.1:5000      -        -
`)
	r := invocation{args: []string{"nodes", "--controller", f.URL}, watched: true}.run(t)
	if r.status != 0 || r.stderr != "pi-2 is nearly full: add a node soon, or delete files\n" {
		t.Errorf("at a terminal: %+v", r)
	}
	if r := f.raidctl(t, "nodes", "--json"); strings.Count(r.stdout, "\n") != 2 || !strings.Contains(r.stdout, `"last_seen":null`) {
		t.Errorf("in JSON: %q", r.stdout)
	}
}

func TestNodesAreListedByTheirNames(t *testing.T) {
	var out bytes.Buffer
	if err := nodeTable(&out, []client.Node{{ID: "lab-1"}, {ID: "a", Name: "pi-3"}, {ID: "c", Name: "pi-1"}, {ID: "b", Name: "pi-2"}}, false); err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(out.String()) {
		names = append(names, strings.Fields(line)[0])
	}
	if got := strings.Join(names, " "); got != "NAME pi-1 pi-2 pi-3 lab-1" {
		t.Errorf("listed: %s", got)
	}
}

func TestNodesFitEightyColumnsWithTheNameFirst(t *testing.T) {
	seen := "2026-01-02 03:04:05"
	worst := client.Node{ID: "AbCdEfGhIjKlMnOpQrStUv", Name: strings.Repeat("ä", 63), Kind: raid.Native, State: raid.Draining, Address: "[fd00::1]:50000",
		Zone: strings.Repeat("attic", 12), TotalBytes: 1<<50 - 1, FreeBytes: 1<<50 - 1, Chunks: 999_999_999, Version: "1.2.3", ReadOnly: true, LastSeen: &seen}
	second := worst
	second.State, second.Name = raid.Up, "pi"
	var out bytes.Buffer
	if err := nodeTable(&out, []client.Node{worst, second}, false); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if lines := strings.Split(out.String(), "\n"); !strings.HasPrefix(lines[0], "NAME ") || !strings.HasPrefix(lines[1], "pi ") || !strings.Contains(lines[1], "read-only") {
		t.Errorf("%s", out.String())
	}
	second.Problem = "it lists\x1b chunks that it can't have"
	out.Reset()
	if err := nodeTable(&out, []client.Node{second}, false); err != nil || !strings.HasSuffix(out.String(), "\npi: it lists\\x1b chunks that it can't have\n") {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	f := newFake(t)
	for _, c := range []struct {
		status  int
		exit    int
		message string
	}{
		{507, exitUnavailable, "raidctl: injected\n"},
		{500, exitFailed, "raidctl: injected\n"},
		{403, exitNotAllowed, "raidctl: injected\n"},
	} {
		f.fault(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			refuse(w, c.status, "injected")
		})
		f.raidctl(t, "rm", "1").want(t, c.exit, "", c.message)
	}
}

func TestUnreachableControllerSaysWhatToDo(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + ln.Addr().String()
	ln.Close()
	f := newFake(t)
	f.raidctl(t, "status", "--controller", url).want(t, exitUnreachable, "", "raidctl: connect to "+url+": connection refused. Is raid-controller running there? "+
		"systemctl status raid-controller; another address: --controller or RAID_CONTROLLER_URL\n")
	dir := t.TempDir()
	f.raidctl(t, "upload", "--controller", url, writeFile(t, dir, "a", ""), writeFile(t, dir, "b", "")).want(t, exitUnreachable, "", "a: connect to")
	for _, bad := range []string{"ftp://x", "http://", "a b"} {
		f.raidctl(t, "status", "--controller", bad).want(t, exitUsage, "", "is no address of a controller")
	}
	f.raidctl(t, "version", "--controller", "ftp://x").want(t, 0, service.VersionLine("raidctl", "")+"\n")
}

func TestUsageErrors(t *testing.T) {
	f := newFake(t)
	for _, args := range [][]string{{"nope"}, {"upload"}, {"ls", "x"}, {"status", "--nope"}, {"rm"}, {"info", "x"}, {"download"}} {
		f.raidctl(t, args...).want(t, exitUsage, "", "raidctl: ", "--help")
	}
	if r := f.raidctl(t, "--help"); r.status != 0 || !strings.Contains(r.stdout, "download") || r.stderr != "" {
		t.Errorf("help: %+v", r)
	}
}

func TestProgressIsForTerminalsOnly(t *testing.T) {
	f := newFake(t)
	id := f.put("f", bytes.Repeat([]byte("x"), 5<<20))
	for _, watched := range []bool{false, true} {
		var out, bar bytes.Buffer
		a := &app{stdout: &out, stderr: &bar, watched: watched, flags: flags{url: f.URL}, getenv: func(string) string { return "" }}
		if err := a.connect(); err != nil {
			t.Fatal(err)
		}
		m := a.meter("f\x1b", 0)
		m.at(1<<20, 5<<20)
		m.at(2<<20, 5<<20)
		m.at(0, 5<<20) // begun again
		m.done()
		d := &download{app: a, output: "-"}
		if err := d.one(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		a.client.Close()
		if out.Len() != 5<<20 || (bar.Len() > 0) != watched || strings.Contains(bar.String(), "f\x1b") {
			t.Errorf("watched %v, file %d: %d bytes out, %q", watched, id, out.Len(), bar.String())
		}
	}
}

// process runs the built program.
func process(t *testing.T, url string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = append(os.Environ(), "RAID_CONTROLLER_URL="+url)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.Dir = t.TempDir()
	return cmd, &stderr
}

func TestExitStatusesOfTheProcess(t *testing.T) {
	f := newFake(t)
	f.put("f", []byte("x"))
	unavailable := func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Retry-After", "1")
		refuse(w, 503, "too few nodes")
	}
	for _, c := range []struct {
		args  string
		fault func(http.ResponseWriter, *http.Request, http.Handler)
		want  int
	}{
		{"version", nil, 0}, {"ls", nil, 0}, {"download 1", nil, 0}, {"nope", nil, 2}, {"info 9", nil, 3},
		{"ls --controller 127.0.0.1:1", nil, 4}, {"rm 1", unavailable, 5},
	} {
		if c.fault != nil {
			f.fault(c.fault)
		}
		cmd, stderr := process(t, f.URL, strings.Fields(c.args)...)
		err := cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != c.want || (stderr.Len() > 0) != (c.want != 0) {
			t.Errorf("%s: status %d, want %d (%v, %s)", c.args, got, c.want, err, stderr)
		}
		if c.want == 5 && !strings.Contains(stderr.String(), "Try again in 1s.") {
			t.Errorf("%s says %q", c.args, stderr)
		}
	}
}

func TestInterruptEndsTheProcessAndKeepsThePart(t *testing.T) {
	f := newFake(t)
	f.put("f", bytes.Repeat([]byte("x"), 1<<20))
	halfway := make(chan struct{})
	f.fault(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, "/info") {
			next.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(&hanging{w, 100_000, halfway, r.Context()}, r)
	})
	cmd, stderr := process(t, f.URL, "download", "1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-halfway
	part := cmd.Dir + "/f.part"
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) { // until the bytes have come through
		if info, err := os.Stat(part); err == nil && info.Size() == 100_000 || time.Now().After(end) {
			break
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err := cmd.Wait()
	var ee *exec.ExitError
	if !errors.As(err, &ee) || ee.ExitCode() != exitInterrupted || !strings.Contains(stderr.String(), "interrupted") || !strings.Contains(stderr.String(), "goes on from there") {
		t.Errorf("%v: %s", err, stderr)
	}
	if info, err := os.Stat(part); err != nil || info.Size() != 100_000 {
		t.Errorf("part: %v, %v", info, err)
	}
}

// hanging sends so many bytes and then nothing more.
type hanging struct {
	http.ResponseWriter
	left    int
	reached chan struct{}
	ctx     context.Context
}

func (h *hanging) Write(p []byte) (int, error) {
	if n := min(len(p), h.left); n > 0 {
		_, _ = h.ResponseWriter.Write(p[:n])
		h.left -= n
		if n == len(p) {
			return n, nil
		}
	}
	h.ResponseWriter.(http.Flusher).Flush()
	close(h.reached)
	<-h.ctx.Done()
	return 0, io.ErrClosedPipe
}

func TestPipeThatClosesEarlyEndsTheProcess(t *testing.T) {
	f := newFake(t)
	f.put("f", bytes.Repeat([]byte("x"), 4<<20))
	cmd, _ := process(t, f.URL, "download", "1", "-o", "-")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadFull(out, make([]byte, 10))
	out.Close()
	err = cmd.Wait()
	var ee *exec.ExitError
	if !errors.As(err, &ee) || !ee.Sys().(syscall.WaitStatus).Signaled() || ee.Sys().(syscall.WaitStatus).Signal() != syscall.SIGPIPE {
		t.Errorf("ended with %v, want SIGPIPE", err)
	}
}

func TestSizesAndDurationsForPeople(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1<<20 - 1: "1.0 MiB", 1 << 20: "1.0 MiB", 5 << 40: "5.0 TiB", 1<<63 - 1: "8.0 EiB",
	} {
		if got := humanSize(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0 s", 59 * time.Second: "59 s", 61 * time.Second: "1 min 1 s", time.Hour: "1 h", 25 * time.Hour: "1 d 1 h", 24*time.Hour + time.Minute: "1 d",
	} {
		if got := humanDuration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestStartsWithoutADatabase(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "../../cmd/raidctl", "../../cmd/raid-node").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.Lines(string(out)) {
		if dep = strings.TrimSpace(dep); strings.HasPrefix(dep, "modernc.org/") || dep == "database/sql" {
			t.Errorf("raidctl or raid-node links %s", dep)
		}
	}
}
