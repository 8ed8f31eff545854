package e2e

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

// drains bounds the time that a stopping daemon takes; its unit gives it 45 s.
const drains = 35 * time.Second

// slowly hands a reader's bytes out in steps.
type slowly struct {
	io.Reader
	step  int
	pause time.Duration
	begun chan struct{}
	once  sync.Once
}

func (s *slowly) Read(p []byte) (int, error) {
	s.once.Do(func() { close(s.begun) })
	time.Sleep(s.pause)
	return s.Reader.Read(p[:min(len(p), s.step)])
}

// TestStoppingControllerFinishesAnUpload: SIGTERM comes in the middle of it.
func TestStoppingControllerFinishesAnUpload(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Dir: t.TempDir(), Nodes: 4, Bin: programs.race})
	c := content(8 * mib)
	body := &slowly{Reader: c.Reader(), step: 256 << 10, pause: 15 * time.Millisecond, begun: make(chan struct{})}
	type result struct {
		created cluster.Created
		err     error
	}
	done := make(chan result, 1)
	go func() {
		created, err := a.API.Upload(t.Context(), "slow", body, c.Size)
		done <- result{created, err}
	}()
	<-body.begun
	time.Sleep(300 * time.Millisecond)
	ended := make(chan error, 1)
	go func() { ended <- a.Controller.Terminate(drains) }()
	time.Sleep(300 * time.Millisecond)
	if _, err := a.API.Files(t.Context()); err == nil {
		t.Error("a stopping controller takes new requests")
	}
	r := <-done
	if r.err != nil {
		t.Fatalf("the upload under way: %v\n%s", r.err, a.Controller.LogTail(20))
	}
	a.must(<-ended)
	a.must(a.Controller.Start())
	a.becomesWhole()
	a.check(r.created.ID, c)
}

// TestStoppingControllerDoesNotWaitForAStalledClient: one that sends nothing more
// would otherwise be ended by the service manager, with all that is under way.
func TestStoppingControllerDoesNotWaitForAStalledClient(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Dir: t.TempDir(), Nodes: 4, Bin: programs.race})
	pr, pw := io.Pipe()
	defer pw.Close()
	go func() { _, _ = pw.Write(make([]byte, 6*mib)) }() // until the end of the reader
	failed := make(chan error, 1)
	go func() {
		_, err := a.API.Upload(t.Context(), "stalled", pr, 64*mib)
		failed <- err
	}()
	time.Sleep(time.Second)
	begun := time.Now()
	a.must(a.Controller.Terminate(drains))
	t.Logf("it ended after %v", time.Since(begun).Round(time.Millisecond))
	if err := <-failed; err == nil {
		t.Error("half a file was stored")
	}
}

// TestStoppingNodeLeavesNoUploadBehind: one of two nodes ends while chunks come.
func TestStoppingNodeLeavesNoUploadBehind(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Dir: t.TempDir(), Nodes: 3, Bin: programs.race})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	failures := make(chan error, 1000)
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				c := content(mib)
				if _, err := a.API.Upload(ctx, "x", c.Reader(), c.Size); err != nil && ctx.Err() == nil {
					failures <- err
				}
			}
		})
	}
	time.Sleep(time.Second)
	begun := time.Now()
	a.must(a.Nodes[0].Terminate(drains))
	took := time.Since(begun)
	time.Sleep(time.Second)
	stop()
	wg.Wait()
	close(failures)
	for err := range failures {
		t.Errorf("upload: %v", err)
	}
	if took > 10*time.Second {
		t.Errorf("the node took %v to end", took)
	}
	if log := a.Nodes[0].LogText(); strings.Contains(log, "not acknowledged") {
		t.Errorf("chunks were not acknowledged:\n%s", a.Nodes[0].LogTail(10))
	}
}

// TestSecondSignalEndsADaemonAtOnce: somebody who presses Ctrl-C twice means it.
func TestSecondSignalEndsADaemonAtOnce(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Dir: t.TempDir(), Nodes: 2, Bin: programs.race})
	pr, pw := io.Pipe()
	defer pw.Close()
	go func() { _, _ = a.API.Upload(t.Context(), "stalled", pr, mib) }()
	_, _ = pw.Write([]byte("x"))
	time.Sleep(300 * time.Millisecond)
	if err := a.Controller.Terminate(time.Second); err == nil {
		t.Fatal("it did not wait for the upload")
	}
	begun := time.Now()
	if err := a.Controller.Terminate(5 * time.Second); err == nil {
		t.Error("it ended as if nothing had been cut off")
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
}
