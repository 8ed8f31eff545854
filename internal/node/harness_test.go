package node_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/node"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire"
	"github.com/raidpi/raidpi/test/kit"
)

const testArray = raid.ArrayID("0000000000000000000001")

func TestMain(m *testing.M) {
	if ports := os.Getenv(victimEnv); ports != "" {
		os.Exit(victim(ports))
	}
	goleak.VerifyTestMain(m)
}

// controller is a real Hub on loopback.
type controller struct {
	t      *testing.T
	hub    *wire.Hub
	ports  [3]int
	commit atomic.Uint64
	scrub  atomic.Pointer[raid.ScrubOrder] // what nodes are told
	up     chan *wire.Session

	mu   sync.Mutex
	beat wire.Heartbeat
}

func startController(t *testing.T, array raid.ArrayID) *controller {
	t.Helper()
	c := &controller{t: t, up: make(chan *wire.Session, 100)}
	c.commit.Store(100)
	var ln [3]net.Listener
	for i := range ln {
		var err error
		if ln[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		c.ports[i] = ln[i].Addr().(*net.TCPAddr).Port
	}
	c.hub = wire.NewHub(wire.HubConfig{
		Array: array, Store: ln[0], Response: ln[1], Request: ln[2], Plaintext: wire.PlaintextLoopback,
		Pool: budget.New(64 << 20), Commit: c.commit.Load, Observer: c, Heartbeat: 50 * time.Millisecond,
		Suspect: 300 * time.Millisecond, Tell: func(raid.NodeID) wire.Told { return wire.Told{Scrub: c.scrub.Load()} }, Log: slog.New(slog.DiscardHandler),
	})
	background(t, c.hub.Run)
	return c
}

func (c *controller) NodeUp(s *wire.Session)        { c.NodeHeartbeat(s, s.Heartbeat()); c.up <- s }
func (c *controller) NodeDown(*wire.Session, error) {}
func (c *controller) LabUp(*wire.LabNode)           {}
func (c *controller) LabDown(*wire.LabNode, error)  {}
func (c *controller) NodeHeartbeat(_ *wire.Session, b wire.Heartbeat) {
	c.mu.Lock()
	c.beat = b
	c.mu.Unlock()
}

func (c *controller) lastBeat() wire.Heartbeat {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.beat
}

// session waits for a node.
func (c *controller) session() *wire.Session {
	c.t.Helper()
	select {
	case s := <-c.up:
		return s
	case <-time.After(20 * time.Second):
		c.t.Fatal("no node came")
		return nil
	}
}

// background runs f until the test's end or until stop, which waits for it.
func background(t *testing.T, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("ended with: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// testNode is a node with directories of its own.
type testNode struct {
	t      *testing.T
	cfg    node.Config
	ready  chan struct{}
	log    *kit.Log
	status *kit.Log
}

func newNode(t *testing.T, c *controller) *testNode {
	dir := t.TempDir()
	n := &testNode{t: t, ready: make(chan struct{}, 100), log: &kit.Log{}, status: &kit.Log{}}
	n.cfg = node.Config{
		StateDir: filepath.Join(dir, "state"), ChunkDir: filepath.Join(dir, "chunks"), Zone: "attic",
		Controller: node.ControllerAddress{Host: "127.0.0.1", HTTPPort: 1, StorePort: c.ports[0], ResponsePort: c.ports[1], RequestPort: c.ports[2]},
		Plaintext:  wire.PlaintextLoopback, Version: "1.2.3", Random: rand.Reader,
		Log:   slog.New(slog.NewTextHandler(n.log, nil)),
		Ready: func() { n.ready <- struct{}{} },
		Status: func(line string) {
			fmt.Fprintln(n.status, line)
		},
	}
	return n
}

// start runs the node until the test's end or until stop.
func (n *testNode) start() (stop func()) {
	return background(n.t, func(ctx context.Context) error { return node.Run(ctx, n.cfg) })
}

// chunk is one to store.
type chunk struct {
	meta    raid.ChunkMeta
	payload []byte
}

func newChunk(t testing.TB, size int) chunk {
	t.Helper()
	upload, err := raid.NewUploadID(1, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	payload := make([]byte, size)
	rand.Read(payload)
	return chunk{raid.ChunkMeta{
		Array: testArray, Key: raid.ChunkKey{Upload: upload, Part: 1, Attempt: 1}, Level: "raid1", StripeSize: 4 << 20,
		Length: int64(size), Blocks: raid.BlockChecksums(payload), Commit: 100,
	}, payload}
}

func (c chunk) name() raid.ChunkName { return c.meta.Key.Name() }
func (c chunk) crc() uint32          { return raid.Checksum(c.payload) }

func (c chunk) store(s *wire.Session) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return s.Store(ctx, wire.StoreRequest{Meta: c.meta, Payload: c.payload})
}

// get reads a range and compares it.
func (c chunk) get(s *wire.Session, offset, length int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	dst := make([]byte, length)
	res, err := s.Get(ctx, wire.GetRequest{Name: c.name(), Offset: offset, Length: length,
		ExpectLength: c.meta.Length, ExpectCRC: c.crc(), Dst: dst})
	if err != nil {
		return err
	}
	if crc, ok := raid.CombineBlocks(res.Blocks, res.Length); !ok || crc != c.crc() || !bytes.Equal(dst, c.payload[offset:offset+length]) {
		return errors.New("other bytes came back")
	}
	return nil
}

func (c chunk) getAll(s *wire.Session) error { return c.get(s, 0, c.meta.Length) }

// remove deletes a chunk and waits while the node is busy scanning.
func (c chunk) remove(s *wire.Session) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		errs, err := s.Delete(ctx, []raid.ChunkName{c.name()})
		if err != nil || !errors.Is(errs[0], raid.ErrBusy) {
			return errors.Join(append(errs, err)...)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func list(t *testing.T, s *wire.Session, after raid.ChunkName, limit int) ([]raid.ChunkName, bool, error) {
	return s.List(t.Context(), wire.ListRequest{After: after, Limit: limit, MaxRun: 10})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}
