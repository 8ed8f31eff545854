package wire

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/raid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// network is where a test's peers meet: loopback TCP, or memory in a bubble.
type network interface {
	Listen(t testing.TB) net.Listener
	Dial(ctx context.Context, network, addr string) (net.Conn, error)
}

type loopback struct{ net.Dialer }

func (*loopback) Listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func (l *loopback) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return l.DialContext(ctx, network, addr)
}

// event is one call of an Observer.
type event struct {
	what string // up, beat, down, labup, labdown
	node raid.NodeID
	sess *Session
	lab  *LabNode
	err  error
}

// recorder is an Observer that keeps what it is told.
type recorder struct {
	events chan event // without beats
	mu     sync.Mutex
	beats  map[raid.NodeID]int
	labs   map[*LabNode]bool
}

func newRecorder() *recorder {
	return &recorder{events: make(chan event, 10000), beats: map[raid.NodeID]int{}, labs: map[*LabNode]bool{}}
}

func (r *recorder) NodeUp(s *Session) { r.events <- event{what: "up", node: s.Node(), sess: s} }
func (r *recorder) NodeDown(s *Session, err error) {
	r.events <- event{what: "down", node: s.Node(), sess: s, err: err}
}
func (r *recorder) NodeHeartbeat(s *Session, _ Heartbeat) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.beats[s.Node()]++
}
func (r *recorder) LabUp(n *LabNode) {
	r.mu.Lock()
	r.labs[n] = true
	r.mu.Unlock()
	r.events <- event{what: "labup", node: n.ID(), lab: n}
}
func (r *recorder) LabDown(n *LabNode, err error) {
	r.mu.Lock()
	delete(r.labs, n)
	r.mu.Unlock()
	r.events <- event{what: "labdown", node: n.ID(), lab: n, err: err}
}

func (r *recorder) beatsOf(n raid.NodeID) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.beats[n]
}

// next waits for the next event of the given kind and skips others.
func (r *recorder) next(t testing.TB, what string) event {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		select {
		case e := <-r.events:
			if e.what == what {
				return e
			}
		case <-late:
			t.Fatalf("no %s event came", what)
		}
	}
}

// testHub is a Hub with its listeners, running until the test ends.
type testHub struct {
	*Hub
	net                      network
	store, response, request string
	events                   *recorder
	stop                     func()
}

const testArray = "0000000000000000000001"

// startHub runs a Hub with short times. change may adjust its configuration.
func startHub(t testing.TB, n network, change func(*HubConfig)) *testHub {
	t.Helper()
	return startHubOn(t, n, n.Listen(t), n.Listen(t), n.Listen(t), change)
}

func startHubOn(t testing.TB, n network, store, response, request net.Listener, change func(*HubConfig)) *testHub {
	t.Helper()
	rec := newRecorder()
	cfg := HubConfig{
		Array: testArray, Store: store, Response: response, Request: request,
		Plaintext: PlaintextAny, Commit: func() uint64 { return 7 }, Prove: func(n uint64) raid.CommitMAC { return raid.CommitMAC{byte(n), 1} }, Observer: rec,
		Heartbeat: 50 * time.Millisecond, Suspect: 400 * time.Millisecond, Dead: 1500 * time.Millisecond,
		Log: testLog(t),
	}
	if change != nil {
		change(&cfg)
	}
	th := &testHub{
		Hub: NewHub(cfg), net: n, events: rec,
		store: store.Addr().String(), response: response.Addr().String(), request: request.Addr().String(),
	}
	th.stop = background(t, "hub", th.Run)
	return th
}

// background runs f until the test ends or the returned function is called, which
// waits for it.
func background(t testing.TB, what string, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f(ctx); err != nil {
			t.Errorf("%s ended with %v", what, err)
		}
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(stop)
	return stop
}

func testLog(t testing.TB) *slog.Logger {
	if !testing.Verbose() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Helper()
	w.t.Log(string(p))
	return len(p), nil
}

// memNode is a Handler and LabHandler that keeps chunks in memory.
type memNode struct {
	pool *budget.Pool

	mu     sync.Mutex
	chunks map[raid.ChunkName]memChunk
	lab    map[string][]byte
	commit uint64
	proven raid.Commit

	// before runs at the start of every call; its error is answered.
	before hook
}

type hook func(ctx context.Context, what string, name raid.ChunkName) error

type memChunk struct {
	meta raid.ChunkMeta
	data []byte
}

func newMemNode() *memNode {
	return &memNode{pool: budget.New(64 << 20), chunks: map[raid.ChunkName]memChunk{}, lab: map[string][]byte{}}
}

func (m *memNode) hook(ctx context.Context, what string, name raid.ChunkName) error {
	m.mu.Lock()
	f := m.before
	m.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(ctx, what, name)
}

func (m *memNode) setBefore(f hook) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before = f
}

func (m *memNode) Store(ctx context.Context, req StoreRequest) error {
	name := req.Meta.Key.Name()
	if err := m.hook(ctx, "store", name); err != nil {
		return err
	}
	got := raid.BlockChecksums(req.Payload)
	for i, crc := range req.Meta.Blocks {
		if got[i] != crc {
			return raid.ErrCorrupt
		}
	}
	m.put(req)
	return nil
}

func (m *memNode) put(req StoreRequest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.chunks[req.Meta.Key.Name()] = memChunk{meta: req.Meta, data: append([]byte(nil), req.Payload...)}
}

// alias keeps a chunk under a name that is none of ours.
func (m *memNode) alias(name raid.ChunkName, req StoreRequest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.chunks[name] = memChunk{meta: req.Meta}
}

func (m *memNode) find(name raid.ChunkName) (memChunk, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.chunks[name]
	if !ok {
		return c, raid.ErrNotFound
	}
	return c, nil
}

func (m *memNode) Get(ctx context.Context, req NodeGet) (NodeChunk, error) {
	if err := m.hook(ctx, "get", req.Name); err != nil {
		return NodeChunk{}, err
	}
	c, err := m.find(req.Name)
	if err != nil {
		return NodeChunk{}, err
	}
	if req.ExpectLength != c.meta.Length {
		return NodeChunk{}, raid.ErrCorrupt
	}
	b := m.pool.Get(int(req.Length))
	copy(b.Bytes(), c.data[req.Offset:])
	return NodeChunk{Length: c.meta.Length, Blocks: c.meta.Blocks, Payload: b}, nil
}

func (m *memNode) Delete(ctx context.Context, names []raid.ChunkName) []error {
	errs := make([]error, len(names))
	for i, n := range names {
		if errs[i] = m.hook(ctx, "delete", n); errs[i] != nil {
			continue
		}
		_, errs[i] = m.find(n)
		m.mu.Lock()
		delete(m.chunks, n)
		m.mu.Unlock()
	}
	return errs
}

func (m *memNode) List(ctx context.Context, req ListRequest) (names []raid.ChunkName, more bool, err error) {
	if err := m.hook(ctx, "list", req.After); err != nil {
		return nil, false, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for n, c := range m.chunks {
		run := c.meta.Key.Upload.Run()
		if n > req.After && run >= req.MinRun && run < req.MaxRun {
			names = append(names, n)
		}
	}
	sortNames(names)
	if len(names) > req.Limit {
		return names[:req.Limit], true, nil
	}
	return names, false, nil
}

func (m *memNode) Verify(ctx context.Context, name raid.ChunkName, length int64, crc uint32) error {
	if err := m.hook(ctx, "verify", name); err != nil {
		return err
	}
	c, err := m.find(name)
	if err != nil {
		return err
	}
	if int64(len(c.data)) != length || raid.Checksum(c.data) != crc {
		return raid.ErrCorrupt
	}
	return nil
}

func (m *memNode) StoreLab(_ context.Context, name string, payload []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lab[name] = append([]byte(nil), payload...)
	return nil
}

func (m *memNode) GetLab(_ context.Context, name string) (*budget.Buffer, error) {
	m.mu.Lock()
	data, ok := m.lab[name]
	m.mu.Unlock()
	if !ok {
		return nil, raid.ErrNotFound
	}
	b := m.pool.Get(len(data))
	copy(b.Bytes(), data)
	return b, nil
}

// holds counts the chunks and the lab's chunks that the node has.
func (m *memNode) holds() (native, lab int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.chunks), len(m.lab)
}

// seen is the highest commit that the node heard of.
func (m *memNode) seen() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.commit
}

// provenSeen is the highest that came with a MAC.
func (m *memNode) provenSeen() raid.Commit {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.proven
}

func (m *memNode) saw(n raid.Commit) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.commit, m.proven = max(m.commit, n.Number), m.proven.Higher(n)
}

// linkConfig is a Link's configuration towards th.
func linkConfig(t testing.TB, th *testHub, m *memNode) LinkConfig {
	return LinkConfig{
		Dial: th.net.Dial, StoreAddr: th.store, ResponseAddr: th.response, RequestAddr: th.request,
		Node: newNodeID(t), Array: testArray, Plaintext: PlaintextAny,
		Handler: m, Lab: m, Pool: budget.New(64 << 20), SawCommit: m.saw,
		State: func() Heartbeat {
			return Heartbeat{TotalBytes: 100, FreeBytes: 50, Zone: "shelf", Version: "test", Proven: m.provenSeen()}
		},
		Heartbeat: 50 * time.Millisecond, Dead: 1500 * time.Millisecond,
		BackoffMin: 20 * time.Millisecond, BackoffMax: 200 * time.Millisecond,
		Log: testLog(t),
	}
}

// startLink runs a node until the test ends.
func startLink(t testing.TB, th *testHub, m *memNode, change func(*LinkConfig)) (l *Link, stop func()) {
	t.Helper()
	cfg := linkConfig(t, th, m)
	if change != nil {
		change(&cfg)
	}
	l = NewLink(cfg)
	return l, background(t, "link", l.Run)
}

func newNodeID(t testing.TB) raid.NodeID {
	t.Helper()
	id, err := raid.NewID(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return raid.NodeID(id)
}

// upload makes keys of one upload.
type upload struct {
	id raid.UploadID
	n  int64
}

func newUpload(t testing.TB, run uint32) *upload {
	t.Helper()
	id, err := raid.NewUploadID(run, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &upload{id: id}
}

// store makes a Store of the upload's next stripe.
func (u *upload) store(payload []byte) StoreRequest {
	u.n++
	return StoreRequest{Payload: payload, Meta: raid.ChunkMeta{
		Array: testArray, Key: raid.ChunkKey{Upload: u.id, Stripe: u.n - 1, Part: 1, Attempt: 1},
		Level: "raid1", StripeSize: 4 << 20, Length: int64(len(payload)), Blocks: raid.BlockChecksums(payload), Commit: 7,
	}}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// wholeGet asks for all of a stored chunk.
func wholeGet(req StoreRequest) GetRequest {
	n := int64(len(req.Payload))
	return GetRequest{Name: req.Meta.Key.Name(), Length: n, ExpectLength: n, ExpectCRC: raid.Checksum(req.Payload), Dst: make([]byte, n)}
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
}
