package catalog

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// waiting stands for whoever keeps events until they are written.
type waiting struct {
	mu      sync.Mutex
	events  []raid.Event
	written int64
}

func (w *waiting) add(e ...raid.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e...)
}

func (w *waiting) carry(c *Catalog) {
	c.CarryEvents(func() []raid.Event {
		w.mu.Lock()
		defer w.mu.Unlock()
		var left []raid.Event
		for _, e := range w.events {
			if e.Seq > w.written {
				left = append(left, e)
			}
		}
		return left
	}, func(upTo int64) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.written = upTo
	})
}

// happened makes an event with a number of its own.
func happened(t testing.TB, c *Catalog, text string) raid.Event {
	t.Helper()
	seq, ok := c.NextEvent()
	if !ok {
		t.Fatal("there is no number for an event")
	}
	return raid.Event{Seq: seq, At: date("2026-01-02 03:04:05").UTC(), Kind: raid.NodeDown, Node: "n1", File: 7, Text: text, Advice: "look"}
}

func TestEventsAreWrittenWithTheNextTransaction(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openTest(t, path)
	var w waiting
	w.carry(c)
	want := []raid.Event{happened(t, c, "one"), happened(t, c, "two")}
	w.add(want...)
	before := c.Commit()
	store(t, c, 1)
	if n := c.Commit() - before; n != 1 {
		t.Errorf("a file and two events took %d commits", n)
	}
	if w.written != want[1].Seq {
		t.Errorf("written up to %d, want %d", w.written, want[1].Seq)
	}
	must(t, c.Close())
	c = openTest(t, path)
	got, err := c.Events(bg, 0, 10)
	must(t, err)
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, err := c.Events(bg, want[0].Seq, 10); err != nil || len(got) != 1 || got[0].Seq != want[1].Seq {
		t.Errorf("after the first: %+v, %v", got, err)
	}
}

func TestWithoutEventsNothingIsWritten(t *testing.T) {
	c := openTest(t, "")
	var w waiting
	w.carry(c)
	before := c.Commit()
	must(t, c.KeepEvents(bg))
	if c.Commit() != before {
		t.Error("a transaction was written for no event")
	}
}

// What was told over REST under a number must not be another event later, also when
// the process died before the first was written.
func TestNoNumberOfAnEventIsGivenOutTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	last := int64(0)
	for run := range 4 {
		c := openTest(t, path)
		var w waiting
		w.carry(c)
		for i := range 300 {
			e := happened(t, c, "x")
			if e.Seq <= last {
				t.Fatalf("run %d gives %d out after %d", run, e.Seq, last)
			}
			last = e.Seq
			if run%2 == 0 && i < 250 {
				w.add(e)
			}
		}
		must(t, c.KeepEvents(bg))
		must(t, c.Close())
	}
}

func TestNumbersOfEventsAreSetAsideAgainWithEachWrite(t *testing.T) {
	c := openTest(t, "")
	var w waiting
	w.carry(c)
	last := raid.Event{}
	for {
		seq, ok := c.NextEvent()
		if !ok {
			break
		}
		last.Seq, last.Kind = seq, raid.NodeUp
	}
	if last.Seq != seqBlock {
		t.Errorf("%d were set aside", last.Seq)
	}
	w.add(last)
	must(t, c.KeepEvents(bg))
	if seq, ok := c.NextEvent(); !ok || seq != last.Seq+1 {
		t.Errorf("after a write: %d, %v", seq, ok)
	}
}

func TestEventsAreBoundedInNumberAndLength(t *testing.T) {
	c := openTest(t, "")
	var w waiting
	w.carry(c)
	long := strings.Repeat("ü", 1<<20)
	var last raid.Event
	for i := range maxEvents + 250 {
		last = happened(t, c, "x")
		if i == maxEvents {
			last.Text, last.Advice = long, long
		}
		if w.add(last); i%500 == 0 {
			must(t, c.KeepEvents(bg))
		}
	}
	must(t, c.KeepEvents(bg))
	if n := sqlInt(t, c, "SELECT count(*) FROM event"); n != maxEvents {
		t.Errorf("%d events are kept", n)
	}
	if kept := sqlInt(t, c, "SELECT kept FROM event_log"); kept != maxEvents {
		t.Errorf("%d are counted", kept)
	}
	if n := sqlInt(t, c, "SELECT max(length(CAST(text AS BLOB)) + length(CAST(advice AS BLOB))) FROM event"); n > 2*maxEventText {
		t.Errorf("an event has %d bytes of text", n)
	}
	newest, err := c.LastEvents(bg, 2)
	must(t, err)
	if len(newest) != 2 || newest[1].Seq != last.Seq || newest[0].Seq != last.Seq-1 {
		t.Errorf("the newest are %+v, want up to %d", newest, last.Seq)
	}
}

// A call that fails, and one that finds the same events, change nothing of them.
func TestEventsSurviveACallThatFailsInTheirTransaction(t *testing.T) {
	c := openTest(t, "")
	var w waiting
	w.carry(c)
	release := hold(t, c)
	w.add(happened(t, c, "one"), happened(t, c, "two"))
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { _ = c.KeepEvents(bg) })
		wg.Go(func() {
			if err := c.write(bg, &op{name: "fail", rows: 1, run: func(*tx) error { return raid.ErrInvalid }}); err == nil {
				t.Error("no error")
			}
		})
	}
	queued(c, 6)
	release()
	wg.Wait()
	if n, kept := sqlInt(t, c, "SELECT count(*) FROM event"), sqlInt(t, c, "SELECT kept FROM event_log"); n != 2 || kept != 2 {
		t.Errorf("%d events, %d counted", n, kept)
	}
}

// Second rule under the promises: what a failed commit has left is read at the next
// start, and the events' numbers are not used again.
func TestEventsAfterAFailedCommit(t *testing.T) {
	fs := newFaultFS(t)
	path := filepath.Join(t.TempDir(), "catalog.db")
	c := openWith(t, config(path), options{vfs: fs.name})
	var w waiting
	w.carry(c)
	w.add(happened(t, c, "kept"))
	must(t, c.KeepEvents(bg))
	lost := happened(t, c, "of unknown outcome")
	w.add(lost)
	fs.failAt("-wal")
	wants(t, c.KeepEvents(bg), raid.ErrCatalogBroken)
	if w.written >= lost.Seq {
		t.Error("an event of unknown outcome counts as written")
	}
	if _, err := c.Events(bg, 0, 1); err == nil {
		t.Error("a broken catalog is read")
	}
	must(t, c.Close())
	after := openTest(t, fs.powerCut(t, path))
	got, err := after.Events(bg, 0, 10)
	must(t, err)
	if len(got) == 0 || got[0].Text != "kept" {
		t.Errorf("after a power cut: %+v", got)
	}
	if seq, ok := after.NextEvent(); !ok || seq <= lost.Seq {
		t.Errorf("%d is given out after %d", seq, lost.Seq)
	}
}

// A damaged catalog gets its own events, and no call fails with them.
func TestDamagedCatalogTakesNoEventsAlong(t *testing.T) {
	c := openTest(t, "")
	var w waiting
	w.carry(c)
	c.health.damage("a test")
	w.add(happened(t, c, "damaged"))
	newToken(t, c, "x", 0)
	if n := sqlInt(t, c, "SELECT count(*) FROM event"); n != 0 {
		t.Errorf("%d events were taken along", n)
	}
	must(t, c.KeepEvents(bg))
	if n := sqlInt(t, c, "SELECT count(*) FROM event"); n != 1 {
		t.Errorf("%d events are kept", n)
	}
}

func TestCatalogTellsWhichProgramUsedItBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	for i, want := range []string{"", "1.0", "1.1"} {
		cfg := config(path)
		cfg.Program = fmt.Sprintf("1.%d", i)
		c := openWith(t, cfg, options{})
		if got := c.FormerProgram(); got != want {
			t.Errorf("start %d: %q before, want %q", i, got, want)
		}
		must(t, c.Close())
	}
}

// childNotes keeps events until it is killed, and says which numbers were given out,
// and which are durable.
func childNotes(c *Catalog) int {
	var w waiting
	w.carry(c)
	for {
		seq, ok := c.NextEvent()
		if !ok {
			fmt.Println("error: no number")
			return 2
		}
		fmt.Println("given", seq)
		w.add(raid.Event{Seq: seq, At: time.Now(), Kind: raid.NodeUp})
		if seq%3 != 0 {
			continue
		}
		if err := c.KeepEvents(bg); err != nil {
			fmt.Println("error:", err)
			return 2
		}
		fmt.Println("kept", seq)
	}
}

func TestEventsSurviveKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	given, kept := int64(0), map[int64]bool{}
	for round := range 3 {
		cmd, lines := spawn(t, "notes", path)
		fresh := 0
		for line := range lines {
			var seq int64
			what := ""
			if _, err := fmt.Sscan(line, &what, &seq); err != nil || what == "error:" {
				t.Fatal(line)
			}
			if what == "kept" {
				kept[seq] = true
				continue
			}
			if seq <= given {
				t.Fatalf("%d is given out after %d", seq, given)
			}
			given = seq
			if fresh++; fresh == 100+round*51 {
				must(t, cmd.Process.Kill())
			}
		}
	}
	c := openTest(t, path)
	all, err := c.Events(bg, 0, maxEvents)
	must(t, err)
	for _, e := range all {
		delete(kept, e.Seq)
	}
	if len(kept) > 0 {
		t.Errorf("gone after a kill: %v", kept)
	}
}
