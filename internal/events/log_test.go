package events_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/raidpi/raidpi/internal/catalog"
	"github.com/raidpi/raidpi/internal/events"
	"github.com/raidpi/raidpi/internal/raid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var bg = context.Background()

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// disk is a catalog whose writes of events can fail.
type disk struct {
	*catalog.Catalog
	full  atomic.Bool
	tries atomic.Int64
}

// KeepEvents implements events.Store.
func (d *disk) KeepEvents(ctx context.Context) error {
	d.tries.Add(1)
	if d.full.Load() {
		return raid.ErrNoSpace
	}
	return d.Catalog.KeepEvents(ctx)
}

func openDisk(t *testing.T, path string) *disk {
	t.Helper()
	c, err := catalog.Open(bg, catalog.Config{Path: path, Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return &disk{Catalog: c}
}

// running is a log that runs until the test or stop ends it.
func running(t *testing.T, d *disk, heard func(raid.Event)) (l *events.Log, stop func()) {
	t.Helper()
	l = events.New(events.Config{Store: d, Heard: heard, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(bg)
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := l.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = func() { cancel(); wait.Wait() }
	t.Cleanup(stop)
	return l, stop
}

func event(kind raid.EventKind, node raid.NodeID, text string) raid.Event {
	return raid.Event{Kind: kind, Node: node, Text: text}
}

func texts(all []raid.Event) string {
	var out []string
	for _, e := range all {
		out = append(out, e.Text)
	}
	return strings.Join(out, "; ")
}

// onDisk are the texts of what is written.
func onDisk(t *testing.T, d *disk) string {
	t.Helper()
	all, err := d.Events(bg, 0, 20_000)
	must(t, err)
	return texts(all)
}

func TestEventIsVisibleAtOnceAndWrittenAMinuteLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	synctest.Test(t, func(t *testing.T) {
		d := openDisk(t, path)
		l, _ := running(t, d, nil)
		changed := l.Changed()
		before := d.Commit()
		l.Tell(event(raid.NodeUp, "a", "one"))
		l.Tell(event(raid.NodeUp, "b", "two"))
		<-changed
		all, err := l.After(bg, 0, 10)
		must(t, err)
		if len(all) != 2 || all[0].Seq <= 0 || all[1].Seq <= all[0].Seq || all[0].At.IsZero() {
			t.Errorf("at once: %+v", all)
		}
		synctest.Wait()
		time.Sleep(59 * time.Second)
		if d.Commit() != before {
			t.Error("it was written early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := onDisk(t, d); got != "one; two" || d.Commit() != before+1 {
			t.Errorf("after a minute on disk: %q, with %d commits", got, d.Commit()-before)
		}
	})
}

// Promise 9: it writes nothing while nothing happens.
func TestLogOfAnIdleArrayWritesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	synctest.Test(t, func(t *testing.T) {
		d := openDisk(t, path)
		l, _ := running(t, d, nil)
		l.Tell(event(raid.NodeUp, "a", "one"))
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		before, tries := d.Commit(), d.tries.Load()
		time.Sleep(26 * time.Hour)
		synctest.Wait()
		if d.Commit() != before || d.tries.Load() != tries {
			t.Errorf("a day without events took %d commits, %d tries", d.Commit()-before, d.tries.Load()-tries)
		}
	})
}

func TestGraveEventIsWrittenAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	synctest.Test(t, func(t *testing.T) {
		d := openDisk(t, path)
		l, _ := running(t, d, nil)
		l.Tell(event(raid.NodeUp, "a", "usual"))
		began := time.Now()
		l.Tell(event(raid.FileLost, "", "grave"))
		synctest.Wait()
		if got := onDisk(t, d); got != "usual; grave" || time.Since(began) > time.Second {
			t.Errorf("on disk: %q after %v", got, time.Since(began))
		}
	})
}

func TestOrderlyEndWritesWhatIsLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	d := openDisk(t, path)
	l, stop := running(t, d, nil)
	for range 9 {
		l.Tell(event(raid.NodeUp, "a", "up"))
	}
	stop()
	if got := onDisk(t, d); got != "up; up; up; up; up; up; up (3 times since this was last told)" {
		t.Errorf("on disk: %q", got)
	}
}

// A node that flaps for a week displaces nothing.
func TestFlappingNodeIsSummedUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	synctest.Test(t, func(t *testing.T) {
		d := openDisk(t, path)
		l, _ := running(t, d, nil)
		l.Tell(event(raid.FileLost, "", "what matters"))
		began := time.Now()
		for time.Since(began) < 7*24*time.Hour {
			l.Tell(event(raid.NodeDown, "a", "down"))
			l.Tell(event(raid.NodeUp, "a", "up"))
			time.Sleep(time.Minute)
		}
		l.Tell(event(raid.NodeDown, "b", "another's"))
		time.Sleep(2 * time.Minute)
		all, err := l.After(bg, 0, 20_000)
		must(t, err)
		if len(all) > 2*(7*24+8) || len(all) < 7*24 || all[0].Text != "what matters" || !strings.Contains(texts(all), "; another's") {
			t.Errorf("%d events, from %q to %q", len(all), all[0].Text, all[len(all)-1].Text)
		}
		if !strings.Contains(texts(all), "down (60 times since this was last told)") {
			t.Errorf("nothing tells how often: %.500s", texts(all))
		}
	})
}

// Names are free: who makes them up gets as much room as one kind has.
func TestNodesWithMadeUpNamesAreSummedUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	synctest.Test(t, func(t *testing.T) {
		d := openDisk(t, path)
		l, _ := running(t, d, nil)
		for i := range 5000 {
			l.Tell(event(raid.NodeUp, raid.NodeID(fmt.Sprint("node", i)), "up"))
			l.Tell(event(raid.NodeDown, raid.NodeID(fmt.Sprint("lab-", i)), "down"))
		}
		time.Sleep(time.Hour)
		all, err := l.After(bg, 0, 20_000)
		must(t, err)
		if len(all) > 130 {
			t.Errorf("%d events", len(all))
		}
		if !strings.Contains(texts(all), "more of the kind") {
			t.Errorf("nothing tells that there were more: %.500s", texts(all))
		}
	})
}

// While the disk takes nothing, memory is bounded, and grave ones stay.
func TestFullDiskKeepsTheNewestAndTheGravest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	synctest.Test(t, func(t *testing.T) {
		d := openDisk(t, path)
		d.full.Store(true)
		l, _ := running(t, d, nil)
		l.Tell(event(raid.FileLost, "", "grave"))
		for i := range 2000 {
			l.Tell(event(raid.EventKind(fmt.Sprint("kind", i)), "", fmt.Sprint("usual ", i)))
		}
		all, err := l.After(bg, 0, 100_000)
		must(t, err)
		if len(all) > 600 || all[0].Text != "grave" {
			t.Errorf("%d in memory, first %q", len(all), all[0].Text)
		}
		tries := d.tries.Load()
		time.Sleep(time.Hour)
		if n := d.tries.Load() - tries; n < 50 || n > 70 {
			t.Errorf("%d tries in an hour", n)
		}
		d.full.Store(false)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		got := onDisk(t, d)
		if !strings.HasPrefix(got, "grave; ") || !strings.Contains(got, "events are not in this list") {
			t.Errorf("on disk: %.200s … %s", got, got[max(0, len(got)-200):])
		}
		l.Tell(event(raid.NodeUp, "a", "afterwards")) // there are numbers again
		time.Sleep(2 * time.Minute)
		if !strings.HasSuffix(onDisk(t, d), "afterwards") {
			t.Error("an event after that is not kept")
		}
	})
}

// Readers see each event once, in order, whether it is in memory, on disk or just on
// its way.
func TestReadersMissNothingWhileEventsAreWritten(t *testing.T) {
	d := openDisk(t, filepath.Join(t.TempDir(), "catalog.db"))
	l, _ := running(t, d, nil)
	const n = 3000
	var wait sync.WaitGroup
	wait.Go(func() {
		for i := range n {
			kind := raid.EventKind(fmt.Sprint("kind", i%700)) // not so often that it is summed up
			if i%50 == 0 {
				must(t, d.KeepEvents(bg))
			}
			l.Tell(event(kind, "", fmt.Sprint(i)))
		}
	})
	for range 3 {
		wait.Go(func() {
			last, seen := int64(0), 0
			for seen < n {
				changed := l.Changed()
				got, err := l.After(bg, last, 37)
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range got {
					if e.Text != fmt.Sprint(seen) || e.Seq <= last {
						t.Errorf("event %d is %q, number %d after %d", seen, e.Text, e.Seq, last)
						return
					}
					last = e.Seq
					seen++
				}
				if len(got) == 0 && seen < n {
					<-changed
				}
			}
		})
	}
	wait.Wait()
	newest, err := l.Last(bg, 3)
	must(t, err)
	if texts(newest) != "2997; 2998; 2999" {
		t.Errorf("the newest are %s", texts(newest))
	}
	if all, err := l.Last(bg, 1000); err != nil || len(all) != 1000 || all[0].Text != "2000" {
		t.Errorf("%d events: %v", len(all), err)
	}
}

func TestEventsOfEarlierRunsAreThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "catalog.db")
	c, err := catalog.Open(bg, catalog.Config{Path: path})
	must(t, err)
	d := &disk{Catalog: c}
	l, stop := running(t, d, nil)
	l.Tell(event(raid.NodeUp, "a", "before"))
	stop()
	must(t, c.Close())
	d = openDisk(t, path)
	l, _ = running(t, d, nil)
	l.Tell(event(raid.NodeUp, "a", "after"))
	for _, read := range []func() ([]raid.Event, error){
		func() ([]raid.Event, error) { return l.After(bg, 0, 10) },
		func() ([]raid.Event, error) { return l.Last(bg, 10) },
	} {
		if all, err := read(); err != nil || texts(all) != "before; after" {
			t.Errorf("%s, %v", texts(all), err)
		}
	}
}

func TestTextsOfStrangersStandOnOneLine(t *testing.T) {
	d := openDisk(t, filepath.Join(t.TempDir(), "catalog.db"))
	var heard []raid.Event
	l, _ := running(t, d, func(e raid.Event) { heard = append(heard, e) })
	l.Tell(raid.Event{Kind: raid.ChunkBad, Text: "a\x1b[2Jb\nc\u202ed\xffe Größe", Advice: strings.Repeat("ü", 5000)})
	if want := `a\x1b[2Jb\nc\u202ed\xffe Größe`; heard[0].Text != want {
		t.Errorf("got %s, want %s", heard[0].Text, want)
	}
	if a := heard[0].Advice; len(a) > 600 || !utf8.ValidString(a) || !strings.HasSuffix(a, "ü…") {
		t.Errorf("advice of %d bytes: %q", len(a), a)
	}
}

func TestBrokenCatalogEndsQuietly(t *testing.T) {
	d := openDisk(t, filepath.Join(t.TempDir(), "catalog.db"))
	l, stop := running(t, d, nil)
	must(t, d.Close())
	l.Tell(event(raid.FileLost, "", "grave"))
	if _, err := l.After(bg, 0, 1); err != nil { // it is in memory alone
		if !errors.Is(err, raid.ErrShutdown) {
			t.Error(err)
		}
	}
	stop()
}
