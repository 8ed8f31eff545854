package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

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
