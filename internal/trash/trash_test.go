package trash

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/placement"
	"github.com/raidpi/raidpi/internal/raid"
)

const (
	mib  = 1 << 20
	disk = 1000 * mib
)

// fake is a catalog's trash, and two nodes that have all of each file.
type fake struct {
	mu       sync.Mutex
	began    time.Time
	files    []entry // the oldest first
	pending  int64   // bytes that are to be removed from the nodes
	noted    time.Duration
	notes    int
	behind   error
	doubted  error
	used     int64         // bytes of each disk
	slow     time.Duration // until a node has removed what it has to
	dueAt    time.Time
	liar     bool                              // the nodes are full, whatever goes
	lie      func(f *fake, second int64) int64 // what n2 says is free, instead of the truth
	flaps    bool                              // a third node, which is full, is there every other minute
	stored   int64                             // bytes of files
	told     []raid.Event
	discards int
}

type entry struct {
	since time.Duration
	size  int64
}

func newFake() *fake { return &fake{began: time.Now()} }

func (f *fake) bin(keep time.Duration) *Bin {
	return New(Config{
		Record: f, Removals: f, Nodes: f, Keep: keep, Vouched: func() error { f.mu.Lock(); defer f.mu.Unlock(); return f.doubted },
		Cost: func() placement.Cost { return placement.Cost{Copies: 2, Chunk: mib} }, Wake: func() {},
		Tell: func(e raid.Event) { f.mu.Lock(); defer f.mu.Unlock(); f.told = append(f.told, e) }, Log: slog.New(slog.DiscardHandler),
	})
}

func (f *fake) delete(size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files = append(f.files, entry{f.ran(), size})
}

func (f *fake) left() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.files)
}

func (f *fake) ran() time.Duration { return time.Since(f.began) }

func (f *fake) Ran() time.Duration { f.mu.Lock(); defer f.mu.Unlock(); return f.ran() }

func (f *fake) Discard(_ context.Context, d raid.Discard) (gone raid.TrashTotals, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.discards++
	for len(f.files) > 0 && f.files[0].since <= d.Until && gone.Files < int64(d.Limit) && (d.Bytes == 0 || gone.Bytes < d.Bytes) {
		gone = gone.Add(raid.TrashTotals{Files: 1, Bytes: f.files[0].size})
		f.files = f.files[1:]
	}
	f.pending += gone.Bytes
	f.dueAt = time.Now().Add(f.slow)
	return gone, nil
}

func (f *fake) Oldest(context.Context) (time.Duration, bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.files) == 0 {
		return 0, false, nil
	}
	return f.files[0].since, true, nil
}

func (f *fake) NoteRan(_ context.Context, every time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.files) > 0 && f.ran()-f.noted >= every {
		f.noted = f.ran()
		f.notes++
	}
	return nil
}

func (f *fake) Counts(context.Context) (n raid.Totals, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n.Bytes = f.stored
	for _, e := range f.files {
		n.Trash = n.Trash.Add(raid.TrashTotals{Files: 1, Bytes: e.size})
	}
	return n, nil
}

func (f *fake) Sweep(context.Context, int) (bool, error) { return false, nil }

// settle lets the nodes remove what is due.
func (f *fake) settle() {
	if f.pending > 0 && !time.Now().Before(f.dueAt) {
		if !f.liar {
			f.used -= f.pending
		}
		f.pending = 0
	}
}

func (f *fake) RemovalCounts(context.Context) (map[raid.NodeID]int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle()
	return map[raid.NodeID]int64{"n1": f.pending, "n2": f.pending}, nil
}

func (f *fake) StaleCatalog() error      { f.mu.Lock(); defer f.mu.Unlock(); return f.behind }
func (f *fake) WarmUp() time.Duration    { return 0 }
func (f *fake) Changed() <-chan struct{} { return nil }
func (f *fake) Nodes() (out []raid.NodeInfo) {
	for _, id := range []raid.NodeID{"n1", "n2"} {
		out = append(out, raid.NodeInfo{ID: id, TotalBytes: disk})
	}
	return out
}

func (f *fake) Candidates() (out []placement.Candidate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle()
	for _, id := range []raid.NodeID{"n1", "n2"} {
		out = append(out, placement.Candidate{ID: id, Free: disk - f.used})
	}
	if f.lie != nil {
		out[1].Free = f.lie(f, int64(time.Since(f.began)/time.Second))
	}
	if f.flaps && time.Since(f.began)/time.Minute%2 == 1 {
		out = append(out, placement.Candidate{ID: "n3"})
	}
	return out
}

// store has the nodes take a file.
func (f *fake) store(size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stored, f.used = f.stored+size, f.used+size
}

// has is what an upload of so many bytes waits for.
func (f *fake) has(bytes int64) func() bool {
	return func() bool { return f.Candidates()[0].Free >= bytes }
}

// run runs a bin in a bubble until the test's end.
func run(t *testing.T, b *Bin) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// A file goes when its time is over, never before, and what is noted of the time costs a
// few writes, none once the trash is empty.
func TestFilesGoWhenTheirTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := f.bin(24 * time.Hour)
		defer run(t, b)()
		time.Sleep(time.Hour)
		f.delete(mib)
		b.Wake()
		time.Sleep(12 * time.Hour)
		f.delete(mib)
		b.Wake()
		time.Sleep(12*time.Hour - time.Second)
		if n := f.left(); n != 2 {
			t.Fatalf("%d files are left a second before the first one's time is over", n)
		}
		time.Sleep(slackMax + time.Minute)
		if n := f.left(); n != 1 {
			t.Fatalf("%d files are left after the first one's time is over", n)
		}
		time.Sleep(12 * time.Hour)
		if n := f.left(); n != 0 {
			t.Fatalf("%d files are left", n)
		}
		notes := f.notes
		if notes < 3 || notes > 20 {
			t.Errorf("time was noted %d times", notes)
		}
		time.Sleep(100 * time.Hour)
		if f.notes != notes {
			t.Error("time is noted although the trash is empty")
		}
	})
}

// Nothing goes by itself while the catalog can't be believed.
func TestNothingGoesWhileTheCatalogIsInDoubt(t *testing.T) {
	for what, doubt := range map[string]func(f *fake, err error){
		"behind":      func(f *fake, err error) { f.behind = err },
		"not checked": func(f *fake, err error) { f.doubted = err },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.used = disk
				doubt(f, raid.ErrCatalogBehind)
				f.delete(100 * mib)
				b := f.bin(time.Hour)
				defer run(t, b)()
				if b.MakeRoom(t.Context(), mib, f.has(mib)) {
					t.Error("there is room")
				}
				time.Sleep(10 * time.Hour)
				if f.left() != 1 {
					t.Error("the file went")
				}
				f.mu.Lock()
				doubt(f, nil)
				f.mu.Unlock()
				time.Sleep(time.Hour)
				if f.left() != 0 {
					t.Error("the file stays")
				}
			})
		})
	}
}

// An upload to a full array waits until the oldest files made room, and no longer.
func TestTheOldestFilesMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.used, f.slow = disk, 8*time.Second
		for range 10 {
			f.delete(50 * mib)
		}
		b := f.bin(24 * time.Hour)
		if room := b.Room(); room != 500*mib {
			t.Errorf("room for %d MiB", room>>20)
		}
		began := time.Now()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if !b.MakeRoom(t.Context(), mib, f.has(mib)) {
					t.Error("no room, and the trash is full")
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v, the nodes take 8 s", took)
		}
		if n := f.left(); n != 8 { // 64 MiB at least
			t.Errorf("%d files are left", n)
		}
		if len(f.told) != 1 || f.told[0].Kind != raid.TrashEmptied {
			t.Errorf("told was %+v", f.told)
		}
		if !b.MakeRoom(t.Context(), 0, f.has(mib)) || f.left() != 8 {
			t.Error("files went although there is room")
		}
	})
}

// Nodes that hang hold an upload up for a while, and no longer; so does an empty trash.
func TestRoomIsWaitedForABoundedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := f.bin(24 * time.Hour)
		f.used, f.slow = disk, time.Hour
		began := time.Now()
		if b.MakeRoom(t.Context(), mib, f.has(mib)) || time.Since(began) > time.Second {
			t.Errorf("an empty trash made room, or held an upload up for %v", time.Since(began))
		}
		f.delete(50 * mib)
		f.delete(50 * mib)
		if b.MakeRoom(t.Context(), mib, f.has(mib)) || time.Since(began) > patience+time.Second {
			t.Errorf("nodes that hang made room, or held an upload up for %v", time.Since(began))
		}
	})
}

// Nodes that say that they are full whatever goes do not empty the trash.
func TestALiarDoesNotEmptyTheTrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.used, f.liar = disk, true
		for range 1000 {
			f.delete(64 * mib)
		}
		b := f.bin(1000 * time.Hour)
		defer run(t, b)()
		for range 24 * 60 {
			if b.MakeRoom(t.Context(), mib, f.has(mib)) {
				t.Fatal("there is room")
			}
			time.Sleep(time.Minute)
		}
		if n := f.left(); n < 980 {
			t.Errorf("%d of 1000 files are left", n)
		}
		f.mu.Lock()
		f.liar, f.used = false, 0
		f.mu.Unlock()
		if !b.MakeRoom(t.Context(), mib, f.has(mib)) {
			t.Error("no room on empty nodes")
		}
	})
}

// One of two nodes shows a little more room after each removal and is full again then, or
// has room for a moment. Neither is what was removed from it, and the trash stays.
func TestALiarThatShowsSomeRoomDoesNotEmptyTheTrash(t *testing.T) {
	for name, lie := range map[string]func(f *fake, second int64) int64{
		"a little at a time": func(f *fake, second int64) int64 { return second % 4 * 2 * mib },
		"as much as a step":  func(f *fake, second int64) int64 { return second % 4 * 30 * mib },
		"for a moment":       func(f *fake, second int64) int64 { return second % 4 / 3 * 200 * mib },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.lie = lie
				for range 1000 {
					f.delete(64 * mib)
				}
				b := f.bin(1000 * time.Hour)
				defer run(t, b)()
				for range 24 * 60 {
					b.MakeRoom(t.Context(), mib, func() bool { return f.Candidates()[1].Free >= 100*mib })
					time.Sleep(10 * time.Second)
				}
				if n := f.left(); n < 900 {
					t.Errorf("%d of 1000 files are left", n)
				}
			})
		})
	}
}

// A node that comes and goes beside such a one does not give it a new allowance each time.
func TestANodeThatComesAndGoesDoesNotEmptyTheTrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.flaps, f.lie = true, func(_ *fake, second int64) int64 { return second % 4 / 3 * 200 * mib }
		for range 1000 {
			f.delete(64 * mib)
		}
		b := f.bin(1000 * time.Hour)
		defer run(t, b)()
		for range 24 * 60 {
			b.MakeRoom(t.Context(), mib, func() bool { return f.Candidates()[1].Free >= 100*mib })
			time.Sleep(time.Minute)
		}
		if n := f.left(); n < 900 {
			t.Errorf("%d of 1000 files are left after a day", n)
		}
	})
}

// The room of other nodes is found out anew, at once the first time.
func TestOtherNodesRenewTheAllowance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var a allowance
		a.see("n1", 100)
		a.see("n1 n2", 100) // nothing has gone: nothing is renewed
		a.see("n1 n2", 60)
		if a.most != 100 {
			t.Errorf("what went counts as %d", a.most-60)
		}
		a.see("n1", 60)
		if a.most != 60 {
			t.Errorf("with other nodes %d count as gone", a.most-60)
		}
		a.see("n1 n2", 50)
		if a.most != 60 {
			t.Error("renewed again at once")
		}
		time.Sleep(renewEvery)
		a.see("n1 n2", 40)
		if a.most != 40 {
			t.Error("not renewed after a while")
		}
	})
}

// Files come all the time to a full array that tells the truth. Each finds room, and
// about as much goes from the trash as comes.
func TestAFullArrayTakesFilesAsLongAsTheTrashHasSome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.used, f.slow = disk, time.Second
		for range 18 {
			f.delete(50 * mib)
		}
		b := f.bin(1000 * time.Hour)
		defer run(t, b)()
		for range 200 {
			if !b.MakeRoom(t.Context(), 4*mib, f.has(4*mib)) {
				t.Fatalf("no room, and %d files in the trash", f.left())
			}
			f.store(4 * mib)
			time.Sleep(time.Second)
		}
	})
}

// A part of each disk stays free as long as the trash holds something.
func TestTheTrashKeepsSomeRoomFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.used = disk - 10*mib
		for range 10 {
			f.delete(40 * mib)
		}
		b := f.bin(24 * time.Hour)
		defer run(t, b)()
		time.Sleep(time.Minute)
		if free := f.Candidates()[0].Free; free < disk/lowShare {
			t.Errorf("%d MiB are free", free>>20)
		}
		if n := f.left(); n != 8 {
			t.Errorf("%d files are left", n)
		}
	})
}

func TestEmptyingTellsWhatWent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		for range batch + 5 {
			f.delete(mib)
		}
		b := f.bin(time.Hour)
		gone, err := b.Empty(t.Context())
		if err != nil || gone.Files != batch+5 || gone.Bytes != (batch+5)*mib || f.left() != 0 {
			t.Errorf("%+v went, %v; %d are left", gone, err, f.left())
		}
		if len(f.told) != 1 {
			t.Errorf("told was %+v", f.told)
		}
		f.behind = raid.ErrCatalogBehind
		if _, err := b.Empty(t.Context()); err == nil {
			t.Error("the trash of an old catalog was emptied")
		}
	})
}

// unreadable is a record whose disk is full, say, for hours.
type unreadable struct {
	*fake
	asked int
}

func (u *unreadable) Oldest(context.Context) (time.Duration, bool, error) {
	u.asked++
	return 0, false, raid.ErrNoSpace
}

// Each try writes a line of the log, which lies on the same disk as often as not.
func TestARecordThatCanNotBeReadIsAskedEverMoreRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &unreadable{fake: newFake()}
		b := f.bin(time.Hour)
		b.cfg.Record = f
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() { over <- b.expireAll(ctx) }()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if f.asked < 24 || f.asked > 40 {
			t.Errorf("in two hours it was asked %d times", f.asked)
		}
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
}

// undeletable is a record that lets nothing go, since its disk is full, say.
type undeletable struct {
	*fake
	asked int
}

func (u *undeletable) Discard(context.Context, raid.Discard) (raid.TrashTotals, error) {
	u.asked++
	return raid.TrashTotals{}, raid.ErrNoSpace
}

func TestFilesThatCanNotGoForRoomAreTriedEverMoreRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &undeletable{fake: newFake()}
		f.used = disk - 10*mib
		f.delete(40 * mib)
		b := f.bin(24 * time.Hour)
		b.cfg.Record = f
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { b.keepRoom(ctx); close(over) }()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if f.asked < 24 || f.asked > 40 {
			t.Errorf("in two hours it was tried %d times", f.asked)
		}
		cancel()
		<-over
	})
}
