//go:build system

package wire

import (
	"bytes"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/test/kit"
)

func TestFourLabNodesEachGetExactlyTheirStore(t *testing.T) {
	lt := findLabTools(t)
	th := startHub(t, &loopback{}, nil)
	var peers []*labPeer
	var nodes []*LabNode
	for range 4 {
		peers = append(peers, lt.node(t, th, t.TempDir()))
		nodes = append(nodes, th.events.next(t, "labup").lab)
	}
	chunks := map[raid.ChunkName][]byte{}
	var wg sync.WaitGroup
	for i, n := range nodes {
		name, data := labName(), randomBytes(1000*i) // the first is empty
		chunks[name] = data
		wg.Go(func() {
			if err := n.Store(within(t, 10*time.Second), name, data); err != nil {
				t.Errorf("store on %s: %v", n.ID(), err)
			}
		})
	}
	wg.Wait()
	for i, p := range peers {
		p.await("stored", 1)
		if got := p.count("stored"); got != 1 || p.count("bad") != 0 {
			t.Errorf("lab node %d got %d stores", i, got)
		}
		files, _ := os.ReadDir(p.folder)
		for _, f := range files {
			data, _ := os.ReadFile(filepath.Join(p.folder, f.Name()))
			if w, ok := chunks[raid.ChunkName(f.Name())]; !ok || !bytes.Equal(w, data) {
				t.Errorf("lab node %d has other bytes under %s", i, f.Name())
			}
		}
	}
	for name, data := range chunks {
		dst := make([]byte, len(data))
		if err := th.LabGet(within(t, 10*time.Second), name, int64(len(data)), dst, want(data)); err != nil || !bytes.Equal(dst, data) {
			t.Errorf("get %s: %v", name, err)
		}
	}
}

func TestLabPullsWithOnePushAreTwoNodes(t *testing.T) {
	lt := findLabTools(t)
	th := startHub(t, &loopback{}, nil)
	p := lt.node(t, th, t.TempDir(), "pulls=2")
	a, b := th.events.next(t, "labup").lab, th.events.next(t, "labup").lab
	if a.ID() == b.ID() {
		t.Fatalf("both are %s", a.ID())
	}
	for i := range 10 {
		for _, n := range []*LabNode{a, b} {
			if err := n.Store(within(t, 10*time.Second), labName(), randomBytes(i*100)); err != nil {
				t.Fatal(err)
			}
		}
	}
	p.await("stored", 20)
}

func TestRestartedLabNodeIsAskedAgain(t *testing.T) {
	lt := findLabTools(t)
	th := startHub(t, &loopback{}, func(c *HubConfig) { c.LabGetTimeout = 20 * time.Second })
	folder := t.TempDir()
	p := lt.node(t, th, folder)
	n := th.events.next(t, "labup").lab
	name, data := labName(), randomBytes(70000)
	if err := n.Store(within(t, 10*time.Second), name, data); err != nil {
		t.Fatal(err)
	}
	p.kill()
	if e := th.events.next(t, "labdown"); e.lab != n {
		t.Fatal("another lab node is down")
	}
	wantError(t, n.Store(within(t, 10*time.Second), labName(), data), raid.ErrPeerGone)
	got := make(chan error, 1)
	dst := make([]byte, len(data))
	go func() { got <- th.LabGet(within(t, 20*time.Second), name, int64(len(data)), dst, want(data)) }()
	lt.node(t, th, folder)
	if err := <-got; err != nil || !bytes.Equal(dst, data) {
		t.Fatalf("get: %v", err)
	}
	if again := th.events.next(t, "labup").lab; again == n || !again.Healthy() {
		t.Fatal("the restarted lab node is the old one")
	}
}

func TestHungLabNodeGetsNoMoreUntilItAnswers(t *testing.T) {
	lt := findLabTools(t)
	th := startHub(t, &loopback{}, func(c *HubConfig) {
		c.LabStoreTimeout, c.Dead = 300*time.Millisecond, time.Minute
	})
	p := lt.node(t, th, t.TempDir())
	n := th.events.next(t, "labup").lab
	p.signal(syscall.SIGSTOP)
	start := time.Now()
	wantError(t, n.Store(within(t, 10*time.Second), labName(), randomBytes(5000)), raid.ErrExpired)
	if d := time.Since(start); d < 250*time.Millisecond || d > 3*time.Second {
		t.Fatalf("noticed after %v", d)
	}
	if n.Healthy() || n.Outstanding() != 5000 {
		t.Fatalf("healthy %v, outstanding %d", n.Healthy(), n.Outstanding())
	}
	wantError(t, n.Store(within(t, 10*time.Second), labName(), nil), raid.ErrBusy)
	p.signal(syscall.SIGCONT)
	kit.Eventually(t, "the lab node has answered", n.Healthy)
	if err := n.Store(within(t, 10*time.Second), labName(), nil); err != nil || n.Outstanding() != 0 {
		t.Fatalf("store: %v, outstanding %d", err, n.Outstanding())
	}
}

func TestLabNodeThatTakesNoBytesLosesItsConnection(t *testing.T) {
	lt := findLabTools(t)
	th := startHub(t, &loopback{}, func(c *HubConfig) {
		c.LabStoreTimeout, c.Window, c.Dead = 300*time.Millisecond, 64<<20, time.Minute
	})
	p := lt.node(t, th, t.TempDir())
	n := th.events.next(t, "labup").lab
	p.signal(syscall.SIGSTOP)
	start := time.Now()
	if err := n.Store(within(t, time.Minute), labName(), make([]byte, 16<<20)); err == nil {
		t.Fatal("a stopped node has stored")
	}
	if d := time.Since(start); d > 10*time.Second { // 300 ms, and 2 s for 16 MiB
		t.Fatalf("noticed after %v", d)
	}
	th.events.next(t, "labdown")
}

func TestLabAnswerCountsOnlyWhenAccepted(t *testing.T) {
	lt := findLabTools(t)
	th := startHub(t, &loopback{}, func(c *HubConfig) { c.LabGetTimeout = time.Second })
	good, bad := t.TempDir(), t.TempDir()
	name, data := labName(), randomBytes(1<<20)
	for _, f := range []string{good, bad} {
		if err := os.WriteFile(filepath.Join(f, string(name)), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lt.node(t, th, bad, "corrupt")
	th.events.next(t, "labup")
	dst := make([]byte, len(data))
	wantError(t, th.LabGet(within(t, 10*time.Second), name, int64(len(data)), dst, want(data)), raid.ErrNotFound)
	lt.node(t, th, good)
	th.events.next(t, "labup")
	// "labup" speaks of the PULL socket; the SUB socket may subscribe later.
	kit.Eventually(t, "the good node answers", func() bool {
		return th.LabGet(within(t, 10*time.Second), name, int64(len(data)), dst, want(data)) == nil
	})
	for range 10 { // both answer, in any order, also at once
		clear(dst)
		if err := th.LabGet(within(t, 10*time.Second), name, int64(len(data)), dst, want(data)); err != nil || !bytes.Equal(dst, data) {
			t.Fatalf("get: %v", err)
		}
	}
	wantError(t, th.LabGet(within(t, 10*time.Second), name, 5, dst[:5], want(data[:5])), raid.ErrNotFound) // of another size
}

func TestLabNodesWithBusyHeartbeatsGetEveryByteRight(t *testing.T) {
	lt := findLabTools(t)
	th := startHub(t, &loopback{}, func(c *HubConfig) { c.LabStoreTimeout, c.LabGetTimeout = 20*time.Second, 20*time.Second })
	startLink(t, th, newMemNode(), nil) // a native one beside them
	native := th.events.next(t, "up").sess
	var peers []*labPeer
	var nodes []*LabNode
	for range 2 {
		peers = append(peers, lt.node(t, th, t.TempDir(), "heartbeat=20"))
		nodes = append(nodes, th.events.next(t, "labup").lab)
	}
	ctx := within(t, 60*time.Second)
	const each = 60
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			up := newUpload(t, 1)
			for i := range each {
				name, data := labName(), randomBytes(mrand.IntN(4096))
				if i%10 == 0 {
					data = randomBytes(mrand.IntN(1 << 20))
				}
				if err := nodes[(w+i)%2].Store(ctx, name, data); err != nil {
					t.Errorf("store: %v", err)
					return
				}
				dst := make([]byte, len(data))
				if err := th.LabGet(ctx, name, int64(len(data)), dst, want(data)); err != nil {
					t.Errorf("get: %v", err)
					return
				}
				if err := native.Store(ctx, up.store(data)); err != nil {
					t.Errorf("native store: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, p := range peers {
		p.await("stored", 8*each/2)
		if n := p.count("stored"); n != 8*each/2 {
			t.Errorf("%d stores came, want %d", n, 8*each/2)
		}
		if p.count("bad") > 0 {
			t.Errorf("a lab node got a torn message")
		}
	}
}

// freePorts are ports that a moment ago nobody used.
func freePorts(t *testing.T) *testHub {
	t.Helper()
	n := &loopback{}
	a, b, c := n.Listen(t), n.Listen(t), n.Listen(t)
	defer a.Close()
	defer b.Close()
	defer c.Close()
	return &testHub{net: n, store: a.Addr().String(), response: b.Addr().String(), request: c.Addr().String()}
}

func TestLabControllerUsesOurNodes(t *testing.T) {
	lt := findLabTools(t)
	th := freePorts(t)
	var nodes []*memNode
	for range 4 {
		n := newMemNode()
		startLink(t, th, n, nil)
		nodes = append(nodes, n)
	}
	for _, options := range [][]string{{"missing"}, {"heartbeat=20", "size=2000000"}} { // and so it is restarted
		args := append([]string{port(t, th.store), port(t, th.response), port(t, th.request), "4", "40"}, options...)
		lt.start(t, "lab_controller.py", args...).wait(60 * time.Second)
	}
	total := 0
	for i, n := range nodes {
		native, lab := n.holds()
		if lab == 0 || native != 0 {
			t.Errorf("node %d holds %d lab chunks and %d native ones", i, lab, native)
		}
		total += lab
	}
	if total != 2*40*4 {
		t.Errorf("%d chunks are stored, want %d", total, 2*40*4)
	}
}
