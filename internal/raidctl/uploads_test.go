package raidctl

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/service"
)

// filesOf makes so many files, whose contents are their names.
func filesOf(t *testing.T, n int) (paths []string) {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		name := fmt.Sprintf("file-%02d", i)
		paths = append(paths, writeFile(t, dir, name, name))
	}
	return paths
}

func TestUploadsAtOncePrintTheirIDsInTheOrderOfTheFiles(t *testing.T) {
	f := newFake(t)
	const jobs = 8
	paths := filesOf(t, 3*jobs)
	var together sync.WaitGroup
	together.Add(jobs)
	first := make(chan struct{}, jobs)
	for range jobs {
		first <- struct{}{}
	}
	f.fault(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		select {
		case <-first: // nobody is answered before eight have asked
			together.Done()
			together.Wait()
		default:
		}
		next.ServeHTTP(w, r)
	})
	r := f.raidctl(t, append([]string{"upload", "-j", fmt.Sprint(jobs)}, paths...)...)
	if r.status != 0 || r.stderr != "" {
		t.Fatalf("%+v", r)
	}
	ids := strings.Fields(r.stdout)
	if len(ids) != len(paths) {
		t.Fatalf("%d ids: %q", len(ids), ids)
	}
	for i, id := range ids {
		var n int
		fmt.Sscan(id, &n)
		if got := string(f.files[n].data); got != filepath.Base(paths[i]) {
			t.Errorf("id %s in the place of %s is of %s", id, paths[i], got)
		}
	}
}

func TestUploadsThatFailAreToldAtTheEnd(t *testing.T) {
	for _, jobs := range []string{"1", "4"} {
		f := newFake(t)
		f.fault(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if name := r.URL.Query().Get("filename"); name == "file-02" || name == "file-05" {
				refuse(w, 507, "there is no room for "+name)
				return
			}
			next.ServeHTTP(w, r)
		})
		paths := filesOf(t, 7)
		os.Remove(paths[6])
		r := f.raidctl(t, append([]string{"upload", "-j", jobs}, paths...)...)
		if r.status != exitUnavailable || strings.Count(r.stdout, "\n") != 4 {
			t.Errorf("-j %s: %+v", jobs, r)
		}
		want := fmt.Sprintf("raidctl: upload %s: there is no room for file-02\nraidctl: upload %s: there is no room for file-05\nraidctl: upload %s: no such file or directory\n"+
			"raidctl: 4 of 7 files are stored, 28 B; 3 are not. To go on, upload those alone\n", paths[2], paths[5], paths[6])
		if r.stderr != want {
			t.Errorf("-j %s: %q\nwant %q", jobs, r.stderr, want)
		}
	}
}

func TestUploadsWithoutAControllerEndAtOnce(t *testing.T) {
	paths := filesOf(t, 50)
	f := newFake(t)
	for _, jobs := range []string{"1", "8"} {
		r := f.raidctl(t, append([]string{"upload", "-j", jobs, "--controller", "http://127.0.0.1:1"}, paths...)...)
		r.want(t, exitUnreachable, "", "connect to http://127.0.0.1:1: connection refused", "0 of 50 files are stored", "and 29 more")
		if n := strings.Count(r.stderr, "connect to"); n != 1 {
			t.Errorf("-j %s: said %d times: %s", jobs, n, r.stderr)
		}
	}
}

// interrupted runs an upload, of which only so many files get through, and ends it.
func interrupted(t *testing.T, through int, args ...string) (string, int) {
	t.Helper()
	f := newFake(t)
	var mu sync.Mutex
	posts, reached, ended := 0, make(chan struct{}), make(chan struct{})
	f.fault(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		mu.Lock()
		posts++
		n := posts
		mu.Unlock()
		if n <= through {
			next.ServeHTTP(w, r)
			return
		}
		if n == through+1 {
			_, _ = io.ReadFull(r.Body, make([]byte, 1)) // the client has begun to send
			close(reached)
		}
		<-ended
		panic(http.ErrAbortHandler)
	})
	cmd, stderr := process(t, f.URL, append([]string{"upload"}, args...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-reached
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	close(ended)
	return stderr.String(), cmd.ProcessState.ExitCode()
}

func TestInterruptedUploadSaysWhatIsStoredAndHowToGoOn(t *testing.T) {
	big := writeFile(t, t.TempDir(), "big", "")
	if err := os.Truncate(big, 64<<20); err != nil { // more than the buffers of a connection take
		t.Fatal(err)
	}
	text, status := interrupted(t, 0, big)
	if status != exitInterrupted || text != "raidctl: interrupted: upload "+big+": nothing of it was stored; the same command begins anew\n" {
		t.Errorf("one file: %d, %q", status, text)
	}
	paths := filesOf(t, 2)
	text, status = interrupted(t, 2, append(paths, big, "never")...)
	want := "raidctl: interrupted: 2 of 4 files are stored, 14 B; 2 are not. To go on, upload those alone\nnot stored: " + big + "\nnot stored: never\n"
	if status != exitInterrupted || text != want {
		t.Errorf("several files: %d, %q", status, text)
	}
	small := writeFile(t, t.TempDir(), "small", "x")
	if text, status = interrupted(t, 0, small); status != exitInterrupted || !strings.Contains(text, `all of it was sent, so it may be stored: raidctl ls --filter "small" shows it`) {
		t.Errorf("sent whole: %d, %q", status, text)
	}
}

func TestProgressOfSeveralFilesIsOne(t *testing.T) {
	f := newFake(t)
	var out, screen bytes.Buffer
	dir := t.TempDir()
	args := []string{"upload", "-j", "2", "--controller", f.URL}
	for i := range 3 {
		args = append(args, writeFile(t, dir, fmt.Sprint(i), strings.Repeat("x", 3<<20)))
	}
	f.fault(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		time.Sleep(150 * time.Millisecond) // longer than the bar takes to be drawn anew
		next.ServeHTTP(w, r)
	})
	a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: &screen, watched: true, getenv: service.Getenv(nil)}
	if status := a.run(t.Context(), args); status != 0 {
		t.Fatalf("status %d: %s", status, screen.String())
	}
	for _, says := range []string{"of 3", "/9.0 MiB", "raidctl: 3 of 3 files are stored, 9.0 MiB\n"} {
		if !strings.Contains(screen.String(), says) {
			t.Errorf("%q is not in %q", says, screen.String())
		}
	}
	if out.String() != "1\n2\n3\n" && strings.Count(out.String(), "\n") != 3 {
		t.Errorf("ids: %q", out.String())
	}
}
