package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// hold keeps the writer busy until release is called, so that what is called
// meanwhile lands in one group.
func hold(t *testing.T, c *Catalog) (release func()) {
	t.Helper()
	held, free, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- c.write(bg, &op{name: "hold", rows: 1, run: func(*tx) error { close(held); <-free; return nil }})
	}()
	<-held
	return sync.OnceFunc(func() {
		close(free)
		must(t, <-done)
	})
}

// queued waits until n calls wait for the writer.
func queued(c *Catalog, n int) {
	for len(c.writer.ops) < n {
		yield()
	}
}

func TestCallsThatWaitShareACommit(t *testing.T) {
	c := openTest(t, "")
	const n = 50
	release := hold(t, c)
	defer release()
	before := c.Commit()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if _, err := c.Finish(bg, newFile(t, c, 1)); err != nil {
				t.Error(err)
			}
		})
	}
	queued(c, n)
	release()
	wg.Wait()
	if got := c.Commit() - before; got != 1 {
		t.Errorf("%d calls took %d commits", n, got)
	}
	if n := sqlInt(t, c, "SELECT commit_number FROM meta"); uint64(n) != c.Commit() {
		t.Errorf("commit number %d on disk, %d in memory", n, c.Commit())
	}
}

// One that fails after it wrote rows must leave none, and not take the others
// with it.
func TestFailingCallDoesNotFailOthersOfItsGroup(t *testing.T) {
	c := openTest(t, "")
	taken := store(t, c, 1)
	release := hold(t, c)
	defer release()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var good []raid.FileID
	for i := range 30 {
		fin := newFile(t, c, 2)
		fin.Removals = []raid.Removal{{Node: nodeN(i), Key: raid.ChunkKey{Upload: fin.File.Upload, Stripe: 1, Part: 2, Attempt: 9}}}
		bad := i%3 == 1
		if bad {
			fin.Removals[0].Node = raid.NodeID(fmt.Sprintf("new%d", i)) // its key must be given back
			fin.Parts[0].Copies[0].Node = fin.Removals[0].Node
			fin.Parts[3].Copies[1].Index = 1 // the same row as the copy before: fails at the last part
		}
		if i%3 == 2 {
			fin.File.ID, bad = taken.ID, true
		}
		wg.Go(func() {
			f, err := c.Finish(bg, fin)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case bad && !errors.Is(err, raid.ErrPrecondition):
				t.Errorf("a file that can't be stored: %v", err)
			case !bad && err != nil:
				t.Errorf("a good file in the same group: %v", err)
			case !bad:
				good = append(good, f.ID)
			}
		})
	}
	queued(c, 30)
	release()
	wg.Wait()

	for _, id := range append(good, taken.ID) {
		f, err := c.File(bg, id)
		must(t, err)
		if parts, err := c.Parts(bg, id, 0, f.Stripes); err != nil || int64(len(parts)) != 2*f.Stripes {
			t.Errorf("file %d has %d parts: %v", id, len(parts), err)
		}
	}
	if n := len(good) + 1; n != 11 {
		t.Errorf("%d files", n)
	}
	checkTotals(t, c)
	nodes, err := c.Nodes(bg)
	must(t, err)
	if len(nodes) != 4 {
		t.Errorf("nodes of calls that failed are there: %v", nodes)
	}
	store(t, c, 4) // what was given back can be taken again
	checkTotals(t, c)
}

func TestCallThatGivesUpWaitingHasChangedNothing(t *testing.T) {
	c := openTest(t, "")
	f := store(t, c, 1)
	release := hold(t, c)
	defer release()
	ctx, cancel := context.WithCancel(bg)
	done := make(chan error)
	go func() { done <- c.Delete(ctx, f.ID) }()
	queued(c, 1)
	cancel()
	wants(t, <-done, context.Canceled)
	release()
	if _, err := c.File(bg, f.ID); err != nil {
		t.Errorf("deleted although the caller gave up: %v", err)
	}
	wants(t, c.Delete(ctx, f.ID), context.Canceled)
}

// Once its turn has come, only the outcome counts: a caller that goes away must
// not be told that nothing happened.
func TestCallWhoseTurnHasComeGetsItsOutcome(t *testing.T) {
	c := openTest(t, "")
	ctx, cancel := context.WithCancel(bg)
	err := c.write(ctx, &op{name: "test", rows: 1, run: func(t *tx) error {
		cancel()
		_, err := t.nodeKey("n9")
		return err
	}})
	must(t, err)
	if nodes, _ := c.Nodes(bg); len(nodes) != 1 {
		t.Errorf("nodes %v", nodes)
	}
}

func TestGroupsAreBounded(t *testing.T) {
	c := openTest(t, "")
	release := hold(t, c)
	defer release()
	before := c.Commit()
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			err := c.write(bg, &op{name: "large", rows: maxGroupRows/2 + 1, run: func(t *tx) error {
				_, err := t.nodeKey(raid.NodeID(fmt.Sprintf("x%d", i)))
				return err
			}})
			if err != nil {
				t.Error(err)
			}
		})
	}
	queued(c, 5)
	release()
	wg.Wait()
	if got := c.Commit() - before; got != 5 {
		t.Errorf("5 large writes took %d commits", got)
	}
}

func TestCallsAfterCloseAreToldSo(t *testing.T) {
	c := openTest(t, "")
	f := store(t, c, 1)
	release := hold(t, c)
	done := make(chan error)
	go func() { done <- c.Delete(bg, f.ID) }()
	queued(c, 1)
	closed := make(chan error)
	go func() { closed <- c.Close() }()
	<-c.closing
	for !isClosed(c.writer.closing) {
		yield()
	}
	release()
	wants(t, <-done, raid.ErrShutdown)
	must(t, <-closed)
	must(t, c.Close()) // again
	_, err := c.File(bg, f.ID)
	wants(t, err, raid.ErrShutdown)
	wants(t, c.Delete(bg, f.ID), raid.ErrShutdown)
	wants(t, c.SaveNode(bg, raid.NodeRecord{ID: "n7"}), raid.ErrShutdown)
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// Everything at once, for the race detector; the totals must come out right.
func TestReadersAndWritersTogether(t *testing.T) {
	c := openTest(t, "")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 12 {
				fin, err := makeFile(c, int64(1+j%3))
				if err != nil {
					t.Error(err)
					return
				}
				fin.Parts[0].Copies[0].Node = raid.NodeID(fmt.Sprintf("n%d", 10+i*12+j)) // nodes come as we go
				if err := oneLife(c, fin, j); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	sweepAll(t, c, 50)
	checkTotals(t, c)
}

// oneLife stores a file, looks at it in every way, and deletes every other.
func oneLife(c *Catalog, fin raid.FinishedUpload, j int) error {
	f, err := c.Finish(bg, fin)
	if err != nil {
		return err
	}
	var errs []error
	_, err = c.File(bg, f.ID)
	errs = append(errs, err)
	_, _, err = allNames(c, f)
	errs = append(errs, err)
	parts, err := c.Parts(bg, f.ID, 0, f.Stripes)
	errs = append(errs, err)
	if len(parts) != len(fin.Parts) || parts[0].Copies[0].Node != fin.Parts[0].Copies[0].Node {
		errs = append(errs, fmt.Errorf("parts of file %d: %+v", f.ID, parts))
	}
	for _, err := range c.Files(bg, raid.FileQuery{After: f.ID - 5, Limit: 3}) {
		errs = append(errs, err)
	}
	errs = append(errs, c.MarkBad(bg, f.ID, 0, 1, 1, 1))
	rs, err := c.Repairs(bg, raid.PartCursor{File: f.ID, Stripe: 0, Part: 0}, 1)
	errs = append(errs, err)
	if len(rs) != 1 || rs[0].File != f.ID {
		errs = append(errs, fmt.Errorf("repairs from file %d: %+v", f.ID, rs))
	}
	if j%2 == 0 {
		errs = append(errs, c.Delete(bg, f.ID))
		_, err := c.Sweep(bg, 5)
		errs = append(errs, err)
	}
	rm, err := c.Removals(bg, "n1", 3)
	errs = append(errs, err, c.Removed(bg, slices.Clip(rm)))
	return errors.Join(errs...)
}
