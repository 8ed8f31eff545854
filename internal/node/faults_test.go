package node_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/chunkstore"
	"github.com/raidpi/raidpi/internal/chunkstore/faultfs"
	"github.com/raidpi/raidpi/internal/node"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
	"github.com/raidpi/raidpi/test/kit"
)

// onFaultyDisk has the node's next sessions use a disk that fails as it is told.
func (n *testNode) onFaultyDisk() func() *faultfs.FS {
	var mu sync.Mutex
	var last *faultfs.FS
	n.cfg.OpenDir = func(path string) (chunkstore.FS, error) {
		f, err := faultfs.New(path)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		defer mu.Unlock()
		last = f
		return f, nil
	}
	return func() *faultfs.FS {
		mu.Lock()
		defer mu.Unlock()
		return last
	}
}

// failing fails one operation.
func failing(op faultfs.Op, err error) func(faultfs.Call) error {
	return func(c faultfs.Call) error {
		if c.Op == op {
			return err
		}
		return nil
	}
}

func TestFullDiskIsToldOnceAndGetsOver(t *testing.T) {
	c := startController(t, testArray)
	n := newNode(t, c)
	disk := n.onFaultyDisk()
	n.start()
	s := c.session()
	kept := newChunk(t, 1000)
	must(t, kept.store(s))
	disk().OnCall(failing(faultfs.Write, syscall.ENOSPC))
	for range 5 {
		wantErr(t, newChunk(t, 1000).store(s), raid.ErrNoSpace)
	}
	if got := n.log.Count("Disk is full"); got != 1 {
		t.Errorf("the full disk was logged %d times, want once", got)
	}
	must(t, kept.getAll(s))
	if c.lastBeat().ReadOnly {
		t.Error("a full disk counts as read only")
	}
	disk().OnCall(nil)
	must(t, newChunk(t, 1000).store(s))

	disk().SetUsage(&chunkstore.Usage{Total: 1 << 30, Free: 0})
	kit.Eventually(t, "no room is reported", func() bool { return c.lastBeat().FreeBytes == 0 })
	wantErr(t, newChunk(t, 1000).store(s), raid.ErrNoSpace)
	must(t, kept.remove(s))
}

func TestFailedFsyncTurnsTheNodeReadOnlyUntilItsNextStart(t *testing.T) {
	c := startController(t, testArray)
	n := newNode(t, c)
	disk := n.onFaultyDisk()
	stop := n.start()
	s := c.session()
	kept, lost := newChunk(t, 1000), newChunk(t, 1000)
	must(t, kept.store(s))
	disk().OnCall(failing(faultfs.SyncDir, syscall.EIO))
	wantErr(t, lost.store(s), raid.ErrReadOnly)
	disk().OnCall(nil)
	for range 3 {
		wantErr(t, newChunk(t, 1000).store(s), raid.ErrReadOnly)
	}
	wantErr(t, lost.getAll(s), raid.ErrNotFound)
	must(t, kept.getAll(s))
	kit.Eventually(t, "heartbeat and status say so", func() bool {
		return c.lastBeat().ReadOnly && n.status.Count("read only") > 0
	})
	if got := n.log.Count("Disk failed"); got != 1 {
		t.Errorf("the failure was logged %d times, want once", got)
	}
	stop()
	n.start()
	s = c.session()
	must(t, newChunk(t, 1000).store(s))
	must(t, kept.getAll(s))
}

func TestNothingIsDeletedBeforeAllTrailersWereRead(t *testing.T) {
	c := startController(t, testArray)
	n := newNode(t, c)
	stop := n.start()
	s := c.session()
	ch := newChunk(t, 1000)
	must(t, ch.store(s))
	stop()

	disk := n.onFaultyDisk()
	goOn := make(chan struct{})
	open := n.cfg.OpenDir
	n.cfg.OpenDir = func(path string) (chunkstore.FS, error) {
		f, err := open(path)
		disk().OnCall(func(c faultfs.Call) error {
			if c.Op == faultfs.Read && strings.HasSuffix(c.Path, string(ch.name())) {
				<-goOn
			}
			return nil
		})
		return f, err
	}
	n.start()
	s = c.session()
	errs, err := s.Delete(t.Context(), []raid.ChunkName{ch.name()})
	scanned := c.lastBeat().Scanned
	close(goOn)
	must(t, err)
	wantErr(t, errs[0], raid.ErrBusy)
	if scanned {
		t.Error("the heartbeat said that all trailers were read")
	}
	must(t, ch.remove(s))
}

func TestIdleNodeWritesNothing(t *testing.T) {
	c := startController(t, testArray)
	n := newNode(t, c)
	disk := n.onFaultyDisk()
	n.start()
	s := c.session()
	must(t, newChunk(t, 1000).store(s))
	time.Sleep(6 * time.Second) // the commit number is saved five seconds after the last chunk
	disk().OnCall(func(call faultfs.Call) error {
		if call.Op != faultfs.Open && call.Op != faultfs.Read {
			t.Errorf("an idle node does: %s %s", call.Op, call.Path)
		}
		return nil
	})
	for range 20 {
		c.commit.Add(1)
		time.Sleep(50 * time.Millisecond)
	}
	disk().OnCall(nil)
}

// The power goes off at many points of many Stores; what was acknowledged is
// there, what is there is whole.
func TestPowerCutKeepsWhatWasAcknowledged(t *testing.T) {
	c := startController(t, testArray)
	n := newNode(t, c)
	disk := n.onFaultyDisk()
	var acknowledged []chunk
	for round := range 12 {
		stop := n.start()
		s := c.session()
		disk().CutPowerBefore(3 + 11*round)
		acknowledged = append(acknowledged, storeUntilFailure(t, s)...)
		stop()
		loss := faultfs.Everything()
		if round%2 == 1 {
			loss = faultfs.Some(uint64(round))
		}
		must(t, disk().Recover(loss))

		stop = n.start()
		checkAll(t, c.session(), acknowledged)
		stop()
	}
	if len(acknowledged) == 0 {
		t.Error("nothing was acknowledged, so nothing was tested")
	}
}

// storeUntilFailure stores from several goroutines until a Store fails, and
// returns what was acknowledged.
func storeUntilFailure(t *testing.T, s *wire.Session) (acknowledged []chunk) {
	var mu sync.Mutex
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := 0; ; i++ {
				ch := newChunk(t, w*40_000+i)
				if ch.store(s) != nil {
					return
				}
				mu.Lock()
				acknowledged = append(acknowledged, ch)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return acknowledged
}

// checkAll checks that what was acknowledged is there, and all that is there is
// whole.
func checkAll(t *testing.T, s *wire.Session, acknowledged []chunk) {
	t.Helper()
	known := map[raid.ChunkName]chunk{}
	for _, ch := range acknowledged {
		known[ch.name()] = ch
		if err := ch.getAll(s); err != nil {
			t.Fatalf("an acknowledged chunk of %d bytes reads: %v", len(ch.payload), err)
		}
	}
	var names []raid.ChunkName
	for more := true; more; { // a fast disk takes some thousand while the test lasts
		after := raid.ChunkName("")
		if len(names) > 0 {
			after = names[len(names)-1]
		}
		page, further, err := list(t, s, after, 1000)
		must(t, err)
		names, more = append(names, page...), further
	}
	for _, name := range names {
		if _, ok := known[name]; ok {
			continue
		}
		// It was not acknowledged, but then it must be whole: any expectation is
		// refused as another's, and none as missing.
		if err := s.Verify(t.Context(), name, 1<<40, 0); !errors.Is(err, raid.ErrCorrupt) || !strings.Contains(err.Error(), "catalog expects") {
			t.Fatalf("a chunk that was not acknowledged is visible and broken: %v", err)
		}
	}
}

// victimEnv makes this test binary a node that is killed: state directory, chunk
// directory, three ports.
const victimEnv = "RAIDPI_TEST_NODE"

func victim(args string) int {
	cfg := node.Config{Controller: node.ControllerAddress{Host: "127.0.0.1"}, Plaintext: wire.PlaintextLoopback, Random: rand.Reader, Log: slog.New(slog.DiscardHandler)}
	if _, err := fmt.Sscan(args, &cfg.StateDir, &cfg.ChunkDir, &cfg.Controller.StorePort, &cfg.Controller.ResponsePort, &cfg.Controller.RequestPort); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cfg.Ready = func() { fmt.Println("ready") }
	if err := node.Run(context.Background(), cfg); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func TestKilledNodeComesBackByItself(t *testing.T) {
	c := startController(t, testArray)
	n := newNode(t, c)
	var acknowledged []chunk
	for round := range 6 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d %d %d", victimEnv, n.cfg.StateDir, n.cfg.ChunkDir,
			c.ports[0], c.ports[1], c.ports[2]))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		if !bufio.NewScanner(out).Scan() {
			t.Fatalf("the node was not ready in round %d", round)
		}
		s := c.session()
		checkAll(t, s, acknowledged)
		if round == 5 {
			must(t, cmd.Process.Signal(os.Kill))
			cmd.Wait()
			break
		}
		kill := time.AfterFunc(time.Duration(20+37*round)*time.Millisecond, func() { cmd.Process.Kill() })
		acknowledged = append(acknowledged, storeUntilFailure(t, s)...)
		kill.Stop()
		if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
			t.Fatalf("the node ended by itself: %v", err)
		}
	}
	if len(acknowledged) == 0 {
		t.Error("nothing was acknowledged, so nothing was tested")
	}
}
