package controller

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/raidpi/raidpi/internal/node"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/service"
	"github.com/raidpi/raidpi/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// array is a controller and nodes in this process, on loopback and real files.
type array struct {
	t      testing.TB
	dir    string
	url    string
	socket string
	ports  [3]int
	tune   func(*Config)
	stop   func() error // the controller
	nodes  []*testNode
	full   bool // nodes that are added have a disk without room
	log    *slog.Logger
}

type testNode struct {
	dir     string
	socket  string
	reserve int64 // of its disk
	stop    func()
	host    atomic.Pointer[string] // what its machine is called; nil: as its folder
}

// newArray starts a controller and n nodes and waits until all are up.
func newArray(t testing.TB, n int, tune func(*Config)) *array {
	t.Helper()
	sockets, err := os.MkdirTemp("/tmp", "raidpi") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	a := &array{t: t, dir: t.TempDir(), tune: tune, log: testLog(t), socket: filepath.Join(sockets, "c")}
	a.startController()
	t.Cleanup(func() { a.stopController() })
	for range n {
		a.addNode("")
	}
	a.awaitUp(n)
	return a
}

// testLog writes to the test's log while the test runs.
func testLog(t testing.TB) *slog.Logger {
	w := &testWriter{t: t}
	t.Cleanup(func() { w.mu.Lock(); w.t = nil; w.mu.Unlock() })
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

type testWriter struct {
	mu sync.Mutex
	t  testing.TB
}

func (w *testWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.t != nil {
		w.t.Log(string(bytes.TrimSpace(p)))
	}
	return len(p), nil
}

func (a *array) startController() {
	a.t.Helper()
	if err := a.tryController(); err != nil {
		a.t.Fatalf("controller: %v", err)
	}
}

// tryController returns when the controller is ready, or has ended with an error.
func (a *array) tryController() error {
	a.t.Helper()
	var lc net.ListenConfig
	got := map[string]net.Listener{}
	var mu sync.Mutex
	ready := make(chan struct{})
	cfg := Config{
		StateDir: filepath.Join(a.dir, "controller"), HTTPListen: "127.0.0.1:0", HTTPSocket: a.socket, ListenLocal: service.ListenLocal,
		HTTPPlain:   wire.PlaintextLoopback,
		StoreListen: a.port(0), ResponseListen: a.port(1), RequestListen: a.port(2),
		Plaintext: wire.PlaintextLoopback, Settle: 300 * time.Millisecond, Level: "raid1", Copies: 2, StripeSize: 256 << 10,
		MaxWholeFile: 1 << 20, DegradedWrites: true, Grace: time.Hour, Version: "test", Log: a.log.With("daemon", "controller"),
		Random: rand.Reader, Ready: func() { close(ready) },
	}
	order := 0
	cfg.Listen = func(ctx context.Context, network, address string) (net.Listener, error) {
		l, err := lc.Listen(ctx, network, address)
		mu.Lock()
		defer mu.Unlock()
		got[strconv.Itoa(order)] = l
		order++
		return l, err
	}
	if a.tune != nil {
		a.tune(&cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, cfg) }()
	select {
	case <-ready:
	case err := <-done:
		cancel()
		return err
	}
	mu.Lock()
	a.url = "http://" + got["0"].Addr().String()
	for i := range a.ports {
		a.ports[i] = got[strconv.Itoa(i+1)].Addr().(*net.TCPAddr).Port
	}
	mu.Unlock()
	a.stop = func() error { cancel(); return <-done }
	return nil
}

func (a *array) httpPort() int {
	a.t.Helper()
	u, err := url.Parse(a.url)
	if err != nil {
		a.t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		a.t.Fatal(err)
	}
	return port
}

// port is where to listen: where the nodes expect it after a restart.
func (a *array) port(i int) string { return fmt.Sprintf("127.0.0.1:%d", a.ports[i]) }

func (a *array) stopController() {
	a.t.Helper()
	if a.stop == nil {
		return
	}
	http.DefaultClient.CloseIdleConnections()
	if err := a.stop(); err != nil {
		a.t.Errorf("controller ended with: %v", err)
	}
	a.stop = nil
}

func (a *array) addNode(zone string) *testNode {
	name := "node" + strconv.Itoa(len(a.nodes)+1)
	n := &testNode{dir: filepath.Join(a.dir, name), socket: filepath.Join(filepath.Dir(a.socket), name)}
	if a.full {
		n.reserve = 1 << 60
	}
	a.nodes = append(a.nodes, n)
	a.startNode(n, zone)
	a.t.Cleanup(func() { n.stop() })
	return n
}

func (n *testNode) hostName() string {
	if h := n.host.Load(); h != nil {
		return *h
	}
	return filepath.Base(n.dir)
}

func (a *array) startNode(n *testNode, zone string) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := node.Run(ctx, node.Config{
			StateDir: filepath.Join(n.dir, "state"), ChunkDir: filepath.Join(n.dir, "chunks"), Zone: zone, Reserve: n.reserve,
			Controller: node.ControllerAddress{
				Host: "127.0.0.1", HTTPPort: a.httpPort(), StorePort: a.ports[0], ResponsePort: a.ports[1], RequestPort: a.ports[2],
			},
			ControlSocket: n.socket, Name: filepath.Base(n.dir), HostName: n.hostName, Plaintext: wire.PlaintextLoopback, Version: "test", Log: a.log.With("daemon", filepath.Base(n.dir)), Random: rand.Reader,
			Dial: (&net.Dialer{}).DialContext, Ready: func() {},
		})
		if err != nil && !errors.Is(err, context.Canceled) {
			a.log.Error("node ended", "error", err)
		}
	}()
	n.stop = func() { cancel(); <-done }
}

func (a *array) nodesIn(state raid.NodeState) (n int) {
	var got struct {
		Nodes []struct{ State raid.NodeState }
	}
	a.getJSON("/nodes", &got)
	for _, x := range got.Nodes {
		if x.State == state {
			n++
		}
	}
	return n
}

func (a *array) awaitUp(n int) {
	a.t.Helper()
	a.eventually(fmt.Sprintf("%d nodes up", n), func() bool { return a.nodesIn(raid.Up) == n })
}

// eventually waits for up to ten seconds.
func (a *array) eventually(what string, ok func() bool) {
	a.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); {
		if time.Now().After(end) {
			a.t.Fatalf("waited 30 s in vain for: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (a *array) getJSON(path string, v any) {
	a.t.Helper()
	resp, err := http.Get(a.url + path)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		a.t.Fatalf("GET %s: %v", path, err)
	}
}

// info is what the tests read of a file's record.
type info struct {
	ID             int64
	Size           int64
	Degraded       bool
	Part1Filenames string `json:"part1_filenames"`
	Part2Filenames string `json:"part2_filenames"`
	Message        string
}

func (a *array) tryUpload(body io.Reader) (int, info) {
	a.t.Helper()
	resp, err := http.Post(a.url+"/files?filename=f", "application/octet-stream", body)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	var i info
	if err := json.NewDecoder(resp.Body).Decode(&i); err != nil {
		a.t.Fatal(err)
	}
	return resp.StatusCode, i
}

func (a *array) upload(b []byte) info {
	a.t.Helper()
	status, i := a.tryUpload(bytes.NewReader(b))
	if status != http.StatusCreated {
		a.t.Fatalf("upload of %d bytes: %d %s", len(b), status, i.Message)
	}
	return i
}

func (a *array) info(id int64) (i info) {
	a.t.Helper()
	a.getJSON(fmt.Sprintf("/files/%d/info", id), &i)
	return i
}

func (a *array) download(id int64, ranges string) (int, []byte) {
	a.t.Helper()
	req, _ := http.NewRequest(http.MethodGet, fmt.Sprintf("%s/files/%d", a.url, id), nil)
	if ranges != "" {
		req.Header.Set("Range", "bytes="+ranges)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatalf("download %d: %v", id, err)
	}
	return resp.StatusCode, b
}

func (a *array) mustEqual(id int64, want []byte) {
	a.t.Helper()
	status, got := a.download(id, "")
	if status != http.StatusOK || !bytes.Equal(got, want) {
		a.t.Fatalf("file %d: status %d, %d bytes that differ from the %d uploaded", id, status, len(got), len(want))
	}
}

func (a *array) delete(id int64) int {
	a.t.Helper()
	req, _ := http.NewRequest(http.MethodDelete, fmt.Sprintf("%s/files/%d", a.url, id), nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// chunks lists the chunk files of a node by name.
func (n *testNode) chunks() map[string]string {
	out := map[string]string{}
	_ = filepath.WalkDir(filepath.Join(n.dir, "chunks"), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && len(d.Name()) == raid.ChunkNameLen {
			out[d.Name()] = path
		}
		return nil
	})
	return out
}

func (a *array) totalChunks() (n int) {
	for _, x := range a.nodes {
		n += len(x.chunks())
	}
	return n
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	var seed [32]byte
	rand.Read(seed[:])
	mrand.NewChaCha8(seed).Read(b)
	return b
}
