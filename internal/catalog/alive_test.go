package catalog

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestWriterMovesWhenIdleAndBetweenSteps(t *testing.T) {
	dir := t.TempDir()
	c := openTest(t, dir+"/catalog.db")
	must(t, c.WriterMoves(bg))

	release, entered := make(chan struct{}), make(chan struct{})
	go func() {
		_ = c.writer.do(bg, &op{name: "hang", rows: 1, run: func(*tx) error { // its error is of no interest
			close(entered)
			<-release
			return nil
		}})
	}()
	<-entered
	short, cancel := context.WithTimeout(bg, 50*time.Millisecond)
	defer cancel()
	if err := c.WriterMoves(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while the writer hangs: %v", err)
	}
	time.AfterFunc(20*time.Millisecond, func() { close(release) })
	must(t, c.WriterMoves(bg))
}

func TestReaderMovesUnlessAllHang(t *testing.T) {
	c := openTest(t, t.TempDir()+"/catalog.db")
	must(t, c.ReaderMoves(bg))
	var taken []*conn
	for range readers {
		taken = append(taken, <-c.readers)
	}
	short, cancel := context.WithTimeout(bg, 50*time.Millisecond)
	defer cancel()
	if err := c.ReaderMoves(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a reader: %v", err)
	}
	for _, r := range taken {
		c.readers <- r
	}
}

// An idle array leaves its card alone, and is asked three times a minute.
func TestAskingTheCatalogWritesNothing(t *testing.T) {
	dir := t.TempDir()
	c := openTest(t, dir+"/catalog.db")
	store(t, c, 1)
	must(t, c.ReaderMoves(bg))
	before := stamps(t, dir)
	time.Sleep(20 * time.Millisecond)
	for range 50 {
		must(t, c.WriterMoves(bg))
		must(t, c.ReaderMoves(bg))
	}
	for name, at := range stamps(t, dir) {
		if at != before[name] {
			t.Errorf("%s was written", name)
		}
	}
}

// stamps are the times and sizes of the files in a folder.
func stamps(t *testing.T, dir string) map[string][2]int64 {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	all := map[string][2]int64{}
	for _, e := range entries {
		st, err := os.Stat(filepath.Join(dir, e.Name()))
		must(t, err)
		all[e.Name()] = [2]int64{st.ModTime().UnixNano(), st.Size()}
	}
	return all
}

func TestAClosedCatalogIsNoHangingOne(t *testing.T) {
	c := openTest(t, t.TempDir()+"/catalog.db")
	must(t, c.Close())
	short, cancel := context.WithTimeout(bg, 5*time.Second)
	defer cancel()
	must(t, c.WriterMoves(short))
	must(t, c.ReaderMoves(short))
}
