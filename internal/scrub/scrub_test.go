package scrub_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/chunkstore/faultfs"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/scrub"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a disk with its store and scrubber, within a bubble of synctest.
type node struct {
	t       *testing.T
	fs      *faultfs.FS
	dir     string
	store   *chunkstore.Store
	scrub   *scrub.Scrubber
	quiet   atomic.Int64 // what QuietFor says; negative: what the store does
	records atomic.Int64 // times that the record was written
	changes atomic.Int64 // calls that write anything
	fault   atomic.Pointer[func(faultfs.Call) error]
	stop    context.CancelFunc
	over    chan struct{}
	ID      string
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{t: t, dir: t.TempDir(), ID: "disk"}
	var err error
	if n.fs, err = faultfs.New(n.dir); err != nil {
		t.Fatal(err)
	}
	n.quiet.Store(int64(time.Hour))
	return n
}

func (n *node) onCall(c faultfs.Call) error {
	switch c.Op {
	case faultfs.Open, faultfs.Read:
	default:
		n.changes.Add(1)
	}
	if c.Op == faultfs.Rename && c.Path == "raid-node.scrub" {
		n.records.Add(1)
	}
	if f := n.fault.Load(); f != nil {
		return (*f)(c)
	}
	return nil
}

func (n *node) fails(f func(faultfs.Call) error) {
	if f == nil {
		n.fault.Store(nil)
		return
	}
	n.fault.Store(&f)
}

// begin begins a life.
func (n *node) begin() {
	n.t.Helper()
	n.fs.OnCall(n.onCall)
	var err error
	if n.store, err = chunkstore.Open(chunkstore.Config{FS: n.fs}); err != nil {
		n.t.Fatal(err)
	}
	n.scrub = scrub.New(scrub.Config{
		Disk: n.store, ID: n.ID, Chunks: func() int64 { return n.store.Stats().Chunks }, Now: time.Now,
		QuietFor: func() time.Duration {
			if q := n.quiet.Load(); q >= 0 {
				return time.Duration(q)
			}
			return n.store.QuietFor()
		},
	})
	ctx, stop := context.WithCancel(context.Background())
	n.stop, n.over = stop, make(chan struct{})
	go func() {
		defer close(n.over)
		n.scrub.Run(ctx)
	}()
}

// end ends it as a stop does.
func (n *node) end() {
	n.t.Helper()
	n.stop()
	<-n.over
	if err := n.store.Close(); err != nil && !n.fs.Off() {
		n.t.Error(err)
	}
}

// cut ends it as kill -9 and a power cut do, and begins another.
func (n *node) cut() {
	n.t.Helper()
	n.fs.CutPower()
	n.end()
	if err := n.fs.Recover(faultfs.Everything()); err != nil {
		n.t.Fatal(err)
	}
	var err error
	if n.fs, err = faultfs.New(n.dir); err != nil {
		n.t.Fatal(err)
	}
	n.begin()
}

func (n *node) close() {
	n.end()
	n.fs.Close()
}

func (n *node) progress() raid.Scrub {
	synctest.Wait()
	return n.scrub.Progress()
}

// put stores chunks of some bytes and returns their names in order.
func (n *node) put(chunks, bytes int) (names []raid.ChunkName) {
	n.t.Helper()
	for range chunks {
		upload, err := raid.NewUploadID(1, rand.Reader)
		if err != nil {
			n.t.Fatal(err)
		}
		payload := make([]byte, bytes)
		rand.Read(payload)
		meta := raid.ChunkMeta{
			Array: "0123456789abcdefghijKL", Key: raid.ChunkKey{Upload: upload, Part: 1, Attempt: 1}, Level: "raid1", StripeSize: 4 << 20,
			Length: int64(bytes), Blocks: raid.BlockChecksums(payload),
		}
		if err := n.store.Write(n.t.Context(), meta, payload); err != nil {
			n.t.Fatal(err)
		}
		names = append(names, meta.Key.Name())
	}
	slices.Sort(names)
	return names
}

// rot changes a byte of a chunk on the disk.
func (n *node) rot(name raid.ChunkName, at int64) {
	n.t.Helper()
	path := filepath.Join(n.dir, string(name[:2]), string(name))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		n.t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		n.t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, at); err != nil {
		n.t.Fatal(err)
	}
}

// inBubble runs a test of a node whose life has begun and that is told to scrub weekly.
func inBubble(t *testing.T, do func(*node)) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t)
		n.begin()
		n.scrub.Order(raid.ScrubOrder{Every: week})
		synctest.Wait()
		do(n)
		n.close()
	})
}

const week = 7 * 24 * time.Hour

func TestRotIsFoundWithoutARead(t *testing.T) {
	inBubble(t, func(n *node) {
		names := n.put(30, 300_000)
		n.rot(names[7], 299_999) // in its last block
		n.rot(names[20], 0)
		if p := n.progress(); p.State != raid.ScrubWaiting || p.Next < week-time.Minute || p.Next > week {
			t.Errorf("a new disk: %+v", p)
		}
		time.Sleep(week - time.Hour)
		if bad, _ := n.store.CorruptNames("", 10); len(bad) != 0 || n.progress().Last.Number != 0 {
			t.Fatalf("found before its time: %v", bad)
		}
		time.Sleep(2 * time.Hour)
		bad, more := n.store.CorruptNames("", 10)
		if !slices.Equal(bad, []raid.ChunkName{names[7], names[20]}) || more {
			t.Errorf("found %v", bad)
		}
		p := n.progress()
		if p.Last.Number != 1 || p.Last.Chunks != 30 || p.Last.Bad != 2 || p.Last.Bytes < 28*300_000 || p.State != raid.ScrubWaiting {
			t.Errorf("after a pass: %+v", p)
		}
		n.rot(names[7], 299_999) // it is as it was
		time.Sleep(week)
		if bad, _ := n.store.CorruptNames("", 10); !slices.Equal(bad, names[20:21]) {
			t.Errorf("a chunk that is whole again is still called bad: %v", bad)
		}
	})
}

func TestChunksOfAnOlderVersionAreReadAtOnce(t *testing.T) {
	inBubble(t, func(n *node) {
		names := n.put(3, 1000)
		n.end()
		if err := os.Remove(filepath.Join(n.dir, "raid-node.scrub")); err != nil {
			t.Fatal(err)
		}
		n.rot(names[1], 10)
		n.begin()
		synctest.Wait()
		if p := n.progress(); p.State != "" {
			t.Errorf("nobody has said how often, and it is %s", p.State)
		}
		n.scrub.Order(raid.ScrubOrder{Every: week})
		if p := n.progress(); p.Last.Number != 1 || p.Last.Bad != 1 {
			t.Errorf("%+v", p)
		}
	})
}

// A Pi that runs for eight hours a day has run for a week after 21 days.
func TestOnlyRunningTimeCounts(t *testing.T) {
	inBubble(t, func(n *node) {
		n.put(3, 1000)
		for range 20 {
			time.Sleep(8 * time.Hour)
			n.end()
			time.Sleep(16 * time.Hour)
			n.begin() // the controller is away: what it told last goes on
		}
		if p := n.progress(); p.Last.Number != 0 {
			t.Fatalf("a pass came to its end after 160 hours of running time: %+v", p)
		}
		time.Sleep(8*time.Hour + time.Minute)
		if p := n.progress(); p.Last.Number != 1 {
			t.Errorf("none came to its end after a week of running time: %+v", p)
		}
	})
}

func TestAPiWhosePlugIsPulledEachNightGetsThrough(t *testing.T) {
	inBubble(t, func(n *node) {
		n.put(3, 1000)
		for day := 1; ; day++ {
			if day > cutOffs+2 {
				t.Fatalf("no pass after %d days: %+v", day, n.progress())
			}
			time.Sleep(8 * time.Hour)
			n.cut()
			if n.progress().Last.Number > 0 {
				return
			}
		}
	})
}

const cutOffs = 8

// slowly has each read of a chunk take 250 ms, and requests come all the time: then a
// chunk takes about five seconds.
func (n *node) slowly() {
	n.quiet.Store(int64(time.Millisecond))
	n.fails(func(c faultfs.Call) error {
		if c.Op == faultfs.Read && len(c.Path) > raid.ChunkNameLen {
			time.Sleep(250 * time.Millisecond)
		}
		return nil
	})
}

func TestAPassGoesOnNearWhereItWasCutOff(t *testing.T) {
	inBubble(t, func(n *node) {
		const chunks = 90 // with 100 the store makes thousands of directories
		n.put(chunks, 100)
		n.slowly()
		before, began := n.records.Load(), time.Now()
		n.scrub.Start()
		for n.progress().Chunks < 80 {
			time.Sleep(5 * time.Second)
		}
		p, took := n.progress(), time.Since(began)
		if took < 2*scrub.SaveEvery {
			t.Fatalf("80 chunks took %v", took)
		}
		if wrote := n.records.Load() - before; wrote < 2 || wrote > int64(took/scrub.SaveEvery)+1 {
			t.Errorf("the record was written %d times in %v", wrote, took)
		}
		if p.BytesPerSecond <= 0 || p.Left <= 0 || p.OfChunks != chunks || p.OfBytes != 100*chunks {
			t.Errorf("in the middle: %+v", p)
		}
		n.cut()
		again := n.progress()
		perSave := int64(80*scrub.SaveEvery/took) + 2
		if again.Chunks < p.Chunks-perSave || again.Chunks > p.Chunks || again.Pass != p.Pass || again.State != raid.ScrubRunning {
			t.Errorf("it was at %d chunks and goes on at %d; %d are read between two records", p.Chunks, again.Chunks, perSave)
		}
		time.Sleep(time.Hour)
		if l := n.progress().Last; l.Number != p.Pass || l.Chunks != chunks || l.Bytes != 100*chunks {
			t.Errorf("the pass that was cut off: %+v", l)
		}
	})
}

// The controller has heard of the end by then. It would hear of the pass before as of a new one.
func TestAPassThatHasEndedIsKnownAfterACut(t *testing.T) {
	inBubble(t, func(n *node) {
		n.put(3, 1000)
		time.Sleep(time.Hour)
		for pass := int64(1); pass <= 2; pass++ {
			n.scrub.Start()
			time.Sleep(30 * time.Second)
			ended := n.progress().Last
			n.cut()
			if again := n.progress().Last; ended.Number != pass || again.Number != pass || again.BeganAt != ended.BeganAt {
				t.Errorf("pass %d ended as %+v, and after a cut it is %+v", pass, ended, again)
			}
		}
	})
}

func TestAnIdleNodeWritesNothing(t *testing.T) {
	inBubble(t, func(n *node) {
		n.put(3, 1000)
		time.Sleep(10 * time.Minute)
		before := n.changes.Load()
		for range 100 {
			n.scrub.Order(raid.ScrubOrder{Every: week}) // as in each first heartbeat
			time.Sleep(time.Hour)
		}
		if wrote := n.changes.Load() - before; wrote != 0 {
			t.Errorf("%d writes in four days", wrote)
		}
	})
}

func TestAPauseHoldsOverRestarts(t *testing.T) {
	inBubble(t, func(n *node) {
		n.put(3, 1000)
		n.scrub.Order(raid.ScrubOrder{Every: week, Paused: true})
		time.Sleep(2 * week)
		n.cut()
		time.Sleep(2 * week)
		if p := n.progress(); p.State != raid.ScrubPaused || p.Last.Number != 0 {
			t.Errorf("%+v", p)
		}
		n.scrub.Order(raid.ScrubOrder{Every: week})
		if p := n.progress(); p.Last.Number != 1 {
			t.Errorf("after the start: %+v", p)
		}
	})
}

func TestNoPassBeginsWithoutAnOrder(t *testing.T) {
	inBubble(t, func(n *node) {
		n.put(3, 1000)
		n.scrub.Order(raid.ScrubOrder{})
		time.Sleep(10 * week)
		if p := n.progress(); p.State != raid.ScrubWaiting || p.Last.Number != 0 || p.Next != 0 {
			t.Errorf("%+v", p)
		}
		n.scrub.Start()
		if p := n.progress(); p.Last.Number != 1 {
			t.Errorf("after a person's start: %+v", p)
		}
	})
}

func TestPassesFollowEachOtherWithoutAHurry(t *testing.T) {
	inBubble(t, func(n *node) {
		n.scrub.Order(raid.ScrubOrder{Every: time.Second})
		before := n.records.Load()
		time.Sleep(time.Hour)
		p := n.progress()
		if p.Last.Number < 300 || p.Last.Number > 361 {
			t.Errorf("%d passes in an hour", p.Last.Number)
		}
		if wrote := n.records.Load() - before; wrote > 21 {
			t.Errorf("%d writes in an hour", wrote)
		}
	})
}

func TestRequestsComeFirst(t *testing.T) {
	inBubble(t, func(n *node) {
		n.put(50, 1000)
		n.scrub.Start()
		if p := n.progress(); p.Last.Number != 1 {
			t.Fatalf("without requests it does not go on by itself: %+v", p)
		}
		n.quiet.Store(-1) // what the store says
		ctx, stop := context.WithCancel(n.t.Context())
		var requests sync.WaitGroup
		requests.Go(func() {
			for ctx.Err() == nil {
				_, _, _ = n.store.List(ctx, "", 1, 0, 10) // a request like any other
				time.Sleep(time.Second)
			}
		})
		synctest.Wait()
		start := time.Now()
		n.scrub.Start()
		for n.progress().State == raid.ScrubRunning {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(start); took < 50*5*time.Millisecond {
			t.Errorf("50 chunks in %v beside requests", took)
		}
		stop()
		requests.Wait()
	})
}

func TestErrorsOfTheDiskEndNoPass(t *testing.T) {
	for _, op := range []faultfs.Op{faultfs.Open, faultfs.Read} {
		for _, err := range []error{syscall.EMFILE, syscall.EIO, errors.New("pulled")} {
			t.Run(fmt.Sprint(op, err), func(t *testing.T) {
				inBubble(t, func(n *node) {
					names := n.put(20, 1000)
					var failed atomic.Int64
					n.fails(func(c faultfs.Call) error {
						if c.Op == op && strings.HasSuffix(c.Path, string(names[5])) && failed.Add(1) == 1 {
							return fmt.Errorf("%s: %w", c.Path, err)
						}
						return nil
					})
					n.scrub.Start()
					time.Sleep(time.Hour)
					p := n.progress()
					if p.Last.Number != 1 || p.Last.Chunks != 20 {
						t.Errorf("%+v", p)
					}
					rotten := op == faultfs.Read && err == syscall.EIO // an unreadable sector
					if bad, _ := n.store.CorruptNames("", 10); (len(bad) > 0) != rotten || (p.Last.Bad > 0) != rotten {
						t.Errorf("bad: %v, %+v", bad, p.Last)
					}
				})
			})
		}
	}
}

func TestAChunkThatIsNeverReadableHoldsUpNoPass(t *testing.T) {
	inBubble(t, func(n *node) {
		names := n.put(20, 1000)
		n.fails(func(c faultfs.Call) error {
			if c.Op == faultfs.Open && strings.HasSuffix(c.Path, string(names[5])) {
				return syscall.EACCES
			}
			return nil
		})
		n.scrub.Start()
		time.Sleep(time.Hour)
		if p := n.progress(); p.Last.Number != 1 || p.Last.Chunks != 20 || p.Last.Bad != 1 {
			t.Errorf("%+v", p)
		}
	})
}

func TestARecordThatCantBeWrittenStopsNoPass(t *testing.T) {
	for _, op := range []faultfs.Op{faultfs.Create, faultfs.Write, faultfs.Sync, faultfs.Rename, faultfs.SyncDir} {
		for _, err := range []error{syscall.ENOSPC, syscall.EIO} {
			t.Run(fmt.Sprint(op, err), func(t *testing.T) {
				inBubble(t, func(n *node) {
					names := n.put(20, 1000)
					n.rot(names[3], 1)
					time.Sleep(scrub.SaveEvery)
					n.fails(func(c faultfs.Call) error {
						if c.Op == op {
							return err
						}
						return nil
					})
					n.scrub.Start()
					time.Sleep(time.Hour)
					if p := n.progress(); p.Last.Number != 1 || p.Last.Bad != 1 {
						t.Errorf("%+v", p)
					}
					n.fails(nil)
				})
			})
		}
	}
}

func TestADiskThatHangsHangsNobodyElse(t *testing.T) {
	inBubble(t, func(n *node) {
		names := n.put(20, 1000)
		hangs := make(chan struct{})
		n.fails(func(c faultfs.Call) error {
			if c.Op == faultfs.Read && strings.HasSuffix(c.Path, string(names[5])) {
				<-hangs
			}
			return nil
		})
		n.scrub.Start()
		time.Sleep(time.Minute)
		if p := n.progress(); p.State != raid.ScrubRunning || p.Chunks != 5 {
			t.Errorf("%+v", p)
		}
		if s := n.store.Stats(); s.Stalled < 50*time.Second {
			t.Errorf("the disk has hung for a minute, and the store says %v", s.Stalled)
		}
		n.fails(nil)
		close(hangs)
		if p := n.progress(); p.Last.Number != 1 || p.Last.Bad != 0 {
			t.Errorf("%+v", p)
		}
	})
}

func TestARecordOfAnotherDiskOrOfNonsenseIsLeftAlone(t *testing.T) {
	inBubble(t, func(n *node) {
		n.put(3, 1000)
		n.scrub.Start()
		time.Sleep(time.Hour)
		n.end()
		n.ID = "another"
		n.begin()
		n.scrub.Order(raid.ScrubOrder{Every: week})
		if p := n.progress(); p.Last.Number != 1 || p.Last.Ended > time.Minute {
			t.Errorf("what is on another disk was read at once, and not: %+v", p)
		}
		n.end()
		for _, text := range []string{"", "x", "{}", "{} 00000000\n", strings.Repeat("{", 100_000)} {
			if err := os.WriteFile(filepath.Join(n.dir, "raid-node.scrub"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			n.begin()
			n.scrub.Order(raid.ScrubOrder{Every: week})
			if p := n.progress(); p.Last.Number != 1 {
				t.Errorf("with %.20q: %+v", text, p)
			}
			n.end()
		}
		n.begin()
	})
}
