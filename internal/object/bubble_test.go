package object

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	mrand "math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/catalog"
	"github.com/raidpi/raidpi/internal/membership"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/stripe"
	"github.com/raidpi/raidpi/internal/wire"
	"github.com/raidpi/raidpi/internal/zmtp/memnet"
)

// bubble is an array inside a synctest bubble: the real object store, catalog,
// membership and wire over a network in memory, with nodes that keep chunks in
// memory and hang on command. What is measured in it is the code's own waiting.
type bubble struct {
	t     *testing.T
	store *Store
	cat   *catalog.Catalog
	nodes []*memNode
	net   *memnet.Network
	wg    sync.WaitGroup
	stop  context.CancelFunc
	ctx   context.Context
}

const bubbleStripe = 256 << 10

// newBubble must be called inside a bubble; close must be called at its end.
func newBubble(t *testing.T, n int) *bubble {
	b := &bubble{t: t, net: &memnet.Network{}}
	b.ctx, b.stop = context.WithCancel(context.Background())
	log := slog.New(slog.DiscardHandler)
	var err error
	b.cat, err = catalog.Open(b.ctx, catalog.Config{Path: filepath.Join(t.TempDir(), "catalog.db"), Random: rand.Reader, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	members := membership.New(membership.Config{
		Save: b.cat.SaveNode, Knows: b.cat.Knows, Settle: 10 * time.Second, Window: 8 << 20, Log: log,
	})
	listen := func(addr string) net.Listener {
		l, err := b.net.Listen(addr)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	pool := budget.New(16 << 20)
	hub := wire.NewHub(wire.HubConfig{
		Array: b.cat.Array(), Store: listen("c:5557"), Response: listen("c:5558"), Request: listen("c:5559"),
		Plaintext: wire.PlaintextAny, Commit: b.cat.Commit, Observer: members, Log: log,
	})
	b.store = New(Config{
		Writer: b.cat, Index: b.cat, Nodes: members, LabGet: hub.LabGet, Pool: pool, Array: b.cat.Array(), Run: b.cat.Run(),
		Level: stripe.RAID1(), Copies: 2, StripeSize: bubbleStripe, DegradedWrites: true, Commit: b.cat.Commit,
		Random: rand.Reader, Draw: mrand.Int64N, Wake: func() {}, Log: log,
	})
	b.wg.Go(func() { _ = hub.Run(b.ctx) })
	b.wg.Go(func() { _ = members.Run(b.ctx) })
	for i := range n {
		b.nodes = append(b.nodes, b.addNode(i))
	}
	for len(members.Candidates()) < n {
		time.Sleep(10 * time.Millisecond)
	}
	return b
}

func (b *bubble) close() {
	for _, n := range b.nodes {
		n.thaw()
	}
	b.store.Close()
	b.stop()
	b.wg.Wait()
	if err := b.cat.Close(); err != nil {
		b.t.Error(err)
	}
}

func (b *bubble) addNode(i int) *memNode {
	id, err := raid.NewID(rand.Reader)
	if err != nil {
		b.t.Fatal(err)
	}
	n := &memNode{id: raid.NodeID(id), chunks: map[raid.ChunkName]memChunk{}, pool: budget.New(64 << 20), cable: make(chan struct{}, 1), frozen: make(chan struct{}), diskHangs: make(chan struct{})}
	close(n.frozen)
	close(n.diskHangs)
	link := wire.LinkConfig{
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := b.net.DialFrom(ctx, fmt.Sprintf("pi%d", i+1), addr)
			if err != nil {
				return nil, err
			}
			f := &freezable{Conn: c, node: n, closed: make(chan struct{})}
			n.mu.Lock()
			defer n.mu.Unlock()
			if n.dead {
				f.Close()
				return nil, net.ErrClosed
			}
			n.conns = append(n.conns, f)
			return f, nil
		},
		StoreAddr: "c:5557", ResponseAddr: "c:5558", RequestAddr: "c:5559", Plaintext: wire.PlaintextAny,
		Node: raid.NodeID(id), Adopt: func(raid.ArrayID) error { return nil }, Handler: n, Pool: n.pool,
		State: func() wire.Heartbeat {
			return wire.Heartbeat{TotalBytes: 1 << 40, FreeBytes: 1 << 40, Scanned: true, Draining: n.drains.Load(), DiskStall: time.Duration(n.stall.Load())}
		}, Random: rand.Reader,
	}
	n.start = func() {
		ctx, stop := context.WithCancel(b.ctx)
		n.stop = stop
		b.wg.Go(func() { _ = wire.NewLink(link).Run(ctx) })
	}
	n.start()
	return n
}

// memNode keeps chunks in memory.
type memNode struct {
	id   raid.NodeID
	pool *budget.Pool
	mu   sync.Mutex
	// frozen is closed while the process runs, diskHangs while its disk does.
	frozen, diskHangs chan struct{}
	chunks            map[raid.ChunkName]memChunk
	conns             []net.Conn
	slow              time.Duration // how long a Store takes
	forget            atomic.Bool   // the next Store is never answered
	refuses           atomic.Bool   // it says of each Store that its time is over
	loses             atomic.Bool   // it acknowledges what it does not keep
	drains            atomic.Bool   // it says so, and goes on
	stall             atomic.Int64  // it says that its disk hangs for so long
	rate              int64         // bytes a second that its network takes; 0: any
	cable             chan struct{} // of 1: a Mutex would stop the bubble's clock
	gets              int
	getBytes          int64
	checks            bool // it refuses rotten bytes, as a real node does
	old               bool // it knows no unchecked Get
	dead              bool

	start, stop func() // of its process, which drains; stop does not wait for that
}

type memChunk struct {
	meta    raid.ChunkMeta
	payload []byte
	torn    bool // its trailer is rotten
}

// cut ends the node for good, as kill -9 does.
func (n *memNode) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dead = true
	for _, c := range n.conns {
		c.Close()
	}
}

func (n *memNode) freeze() { n.mu.Lock(); n.frozen = make(chan struct{}); n.mu.Unlock() }
func (n *memNode) hangDisk() {
	n.mu.Lock()
	n.diskHangs = make(chan struct{})
	n.mu.Unlock()
}

func (n *memNode) thaw() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range []chan struct{}{n.frozen, n.diskHangs} {
		select {
		case <-c:
		default:
			close(c)
		}
	}
}

func (n *memNode) gate() <-chan struct{} { n.mu.Lock(); defer n.mu.Unlock(); return n.frozen }
func (n *memNode) disk(ctx context.Context) {
	n.mu.Lock()
	c := n.diskHangs
	n.mu.Unlock()
	select {
	case <-c:
	case <-ctx.Done():
	}
}

func (n *memNode) Store(ctx context.Context, req wire.StoreRequest) error {
	n.disk(ctx)
	time.Sleep(n.slow)
	if n.refuses.Load() {
		return raid.ErrExpired
	}
	if n.forget.CompareAndSwap(true, false) {
		<-ctx.Done()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if n.loses.Load() {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.chunks[req.Meta.Key.Name()] = memChunk{meta: req.Meta, payload: bytes.Clone(req.Payload)}
	return nil
}

func (n *memNode) Get(ctx context.Context, req wire.NodeGet) (wire.NodeChunk, error) {
	n.disk(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	c, ok := n.chunks[req.Name]
	if !ok {
		return wire.NodeChunk{}, raid.ErrNotFound
	}
	n.gets++
	n.getBytes += req.Length
	if err := n.check(c, &req); err != nil {
		return wire.NodeChunk{}, err
	}
	buf := n.pool.Get(int(req.Length))
	copy(buf.Bytes(), c.payload[req.Offset:req.Offset+req.Length])
	return wire.NodeChunk{Length: c.meta.Length, Blocks: c.meta.Blocks, Payload: buf}, nil
}

func (n *memNode) Delete(_ context.Context, names []raid.ChunkName) []error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range names {
		delete(n.chunks, name)
	}
	return make([]error, len(names))
}

func (n *memNode) List(context.Context, wire.ListRequest) ([]raid.ChunkName, bool, error) {
	return nil, false, nil
}

func (n *memNode) Verify(context.Context, raid.ChunkName, int64, uint32) error { return nil }

// freezable is a connection whose node may be stopped, as by SIGSTOP: what it
// reads stays in the kernel, and it writes nothing.
type freezable struct {
	net.Conn
	node   *memNode
	once   sync.Once
	closed chan struct{}
}

func (c *freezable) wait() {
	select {
	case <-c.node.gate():
	case <-c.closed:
	}
}

func (c *freezable) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.wait()
	return n, err
}

func (c *freezable) Write(p []byte) (int, error) {
	c.wait()
	if rate := c.node.rate; rate > 0 {
		c.node.cable <- struct{}{}
		defer func() { <-c.node.cable }()
		time.Sleep(time.Duration(len(p)) * time.Second / time.Duration(rate))
	}
	return c.Conn.Write(p)
}

func (c *freezable) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// put uploads b; midway is called once half of it was read.
func (b *bubble) put(content []byte, midway func()) (raid.File, error) {
	return b.store.Upload(b.ctx, Upload{
		Size: int64(len(content)), Bound: -1, Body: &halfway{r: bytes.NewReader(content), at: len(content) / 2, call: midway},
		Describe: func() (Description, error) {
			return Description{Filename: "f", ContentType: "application/octet-stream"}, nil
		},
	})
}

// halfway calls once when half of it was read.
type halfway struct {
	r    *bytes.Reader
	at   int
	call func()
}

func (h *halfway) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	if h.call != nil && h.r.Size()-int64(h.r.Len()) >= int64(h.at) {
		h.call()
		h.call = nil
	}
	return n, err
}

func (b *bubble) get(f raid.File) ([]byte, error) {
	r, err := b.store.Open(b.ctx, f)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var out bytes.Buffer
	_, err = r.WriteTo(&out)
	return out.Bytes(), err
}

var _ io.ReadSeekCloser = (*Reader)(nil)
