package main

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

func TestDemoSparesFoldersThatAreNotItsOwn(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "thesis.txt")
	if err := os.WriteFile(precious, []byte("years of work"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := (&demo{dir: dir, out: &bytes.Buffer{}}).emptyDir(); err == nil {
		t.Error("a folder of somebody else's was emptied")
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
	own := &demo{dir: filepath.Join(dir, "demo"), out: &bytes.Buffer{}}
	for range 2 { // it empties what it made
		if err := own.emptyDir(); err != nil {
			t.Error(err)
		}
	}
}

func TestDemoSaysThatItsPortIsTaken(t *testing.T) {
	ports, err := cluster.Free(1)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", cluster.Loopback(ports[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var out, errs bytes.Buffer
	code := run(context.Background(), []string{"-port", strconv.Itoa(ports[0]), "-dir", t.TempDir(), "-once"}, &out, &errs)
	if code != 1 || !strings.Contains(errs.String(), "port "+strconv.Itoa(ports[0])+" is in use") {
		t.Errorf("status %d, it says %q", code, errs.String())
	}
}

// A node's plug is pulled for good in the demo's array. Nobody does anything: every file is
// on two nodes again, and raidctl status says healthy. The node comes back, and what is
// surplus goes. The demo looks at the nodes' folders for that, and fails otherwise.
func TestDemoShowsThatADeadNodeIsHealed(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	if err := (cluster.Build{Dir: bin}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	ports, err := cluster.Free(1)
	if err != nil {
		t.Fatal(err)
	}
	// Somebody tries it meanwhile, with a file of several stripes.
	looksOn := make(chan struct{})
	go func() {
		defer close(looksOn)
		url := "http://" + cluster.Loopback(ports[0]) + "/files?filename=own.bin"
		for status := 0; status != http.StatusCreated && t.Context().Err() == nil; time.Sleep(100 * time.Millisecond) {
			resp, err := http.Post(url, "application/octet-stream", bytes.NewReader(make([]byte, 9<<20)))
			if err == nil {
				status = resp.StatusCode
				resp.Body.Close()
			}
		}
	}()
	defer func() { <-looksOn }()
	var out, errs bytes.Buffer
	args := []string{"-port", strconv.Itoa(ports[0]), "-bin", bin, "-dir", filepath.Join(t.TempDir(), "demo"), "-grace", "10s", "-once"}
	if code := run(t.Context(), args, &out, &errs); code != 0 {
		t.Fatalf("status %d: %s\n%s", code, errs.String(), out.String())
	}
	shown := out.String()
	for _, want := range []string{
		"| state      degraded: ", "every file is on two of the 3 others",
		"| state      healthy: ", "every file has its copies on other nodes", "not needed any more is gone", "| state      healthy\n", "All of it worked",
	} {
		_, after, found := strings.Cut(shown, want)
		if !found {
			t.Errorf("the demo does not show %q, or too early:\n%s", want, out.String())
		}
		shown = after
	}
}
