package catalog

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/raidpi/raidpi/internal/raid"
)

// The tests of this file run this program again, as a process that is killed or
// that the system refuses something.
const (
	childJob  = "RAIDPI_CATALOG_CHILD"
	childPath = "RAIDPI_CATALOG_PATH"
)

func child(job, path string) int {
	switch job {
	case "migrate":
		return childMigrates(path)
	case "room":
		return childMigratesWithoutRoom(path)
	case "full":
		return childOnAFullDisk(path)
	}
	c, err := Open(bg, config(path))
	if err != nil {
		fmt.Println("open:", err)
		return 2
	}
	defer c.Close()
	switch job {
	case "upload":
		return childUploads(c)
	case "notes":
		return childNotes(c)
	case "limit":
		return childWithoutRoom(c, path)
	}
	return 2
}

// childUploads stores files until it is killed, and says which.
func childUploads(c *Catalog) int {
	if _, err := c.AbandonUnfinished(bg); err != nil {
		fmt.Println("error:", err)
		return 2
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	for i := range 8 {
		wg.Go(func() {
			for n := int64(i); ; n++ {
				fin, err := makeFile(c, 1+n%3)
				if err == nil && n%4 == 0 { // as a long upload does it
					fin.Begun = true
					err = errors.Join(c.Begin(bg, fin.File), c.Append(bg, fin.File.ID, fin.Parts))
					fin.Parts = nil
				}
				if err == nil {
					_, err = c.Finish(bg, fin)
				}
				mu.Lock()
				if err != nil {
					fmt.Println("error:", err)
				} else {
					fmt.Println("stored", fin.File.ID)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return 0
}

// childWithoutRoom has every file limited to a little more than the log's size,
// so that the system refuses a write in the middle of a COMMIT.
func childWithoutRoom(c *Catalog, path string) int {
	signal.Ignore(syscall.SIGXFSZ)
	st, err := os.Stat(path + "-wal")
	if err != nil {
		fmt.Println("error:", err)
		return 2
	}
	limit := uint64(st.Size()) + 100_000
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
		fmt.Println("error:", err)
		return 2
	}
	for range 1000 {
		fin, err := makeFile(c, 2)
		if err == nil {
			_, err = c.Finish(bg, fin)
		}
		if err != nil {
			fmt.Println("refused:", errors.Is(err, raid.ErrCatalogBroken), isClosed(c.Broken()), err)
			return 0
		}
		fmt.Println("stored", fin.File.ID)
	}
	return 2
}

// spawn starts this program as a child that does job. lines gets what it prints
// and is closed when it ended.
func spawn(t *testing.T, job, path string) (cmd *exec.Cmd, lines <-chan string) {
	t.Helper()
	cmd = exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childJob+"="+job, childPath+"="+path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	ch := make(chan string, 1000)
	go func() {
		defer close(ch)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			ch <- sc.Text()
		}
		_ = cmd.Wait()
		if stderr.Len() > 0 {
			ch <- "error: " + stderr.String()
		}
	}()
	return cmd, ch
}

// Promise 1, and no half file: the process is killed in the middle of concurrent
// uploads, again and again.
func TestFinishedFilesSurviveKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	stored := map[raid.FileID]raid.File{}
	var seen raid.FileID
	for round := range 4 {
		cmd, lines := spawn(t, "upload", path)
		fresh := 0
		for line := range lines {
			id, ok := strings.CutPrefix(line, "stored ")
			if !ok {
				t.Fatal(line)
			}
			n, err := strconv.ParseInt(id, 10, 64)
			must(t, err)
			if _, twice := stored[raid.FileID(n)]; twice || n <= int64(seen) {
				t.Errorf("file id %d is given out again", n)
			}
			stored[raid.FileID(n)] = raid.File{}
			if fresh++; fresh == 40+round*35 {
				must(t, cmd.Process.Kill())
			}
		}
		for id := range stored {
			seen = max(seen, id)
		}
	}
	c := openTest(t, path)
	_, err := c.AbandonUnfinished(bg)
	must(t, err)
	checkWholeFiles(t, c, stored)
	sweepAll(t, c, 1000)
	if n := sqlInt(t, c, "SELECT count(*) FROM upload WHERE state <> 1"); n != 0 {
		t.Errorf("%d uploads that were cut off are left", n)
	}
	if n := sqlInt(t, c, "SELECT count(*) FROM part WHERE file NOT IN (SELECT id FROM upload)"); n != 0 {
		t.Errorf("%d parts of no upload", n)
	}
	if c.Run() != 5 {
		t.Errorf("run %d after four others", c.Run())
	}
}

// A real write error in COMMIT, not one of ours.
func TestRefusedWriteBreaksTheCatalog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	_, lines := spawn(t, "limit", path)
	stored := map[raid.FileID]raid.File{}
	refused := ""
	for line := range lines {
		if id, ok := strings.CutPrefix(line, "stored "); ok {
			n, err := strconv.ParseInt(id, 10, 64)
			must(t, err)
			stored[raid.FileID(n)] = raid.File{}
			continue
		}
		refused += line
	}
	if !strings.HasPrefix(refused, "refused: true true") || len(stored) == 0 {
		t.Errorf("after %d files: %s", len(stored), refused)
	}
	checkWholeFiles(t, openTest(t, path), stored)
}

func yield() { time.Sleep(time.Millisecond) }

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
