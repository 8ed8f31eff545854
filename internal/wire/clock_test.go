package wire

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/zmtp"
	"github.com/raidpi/raidpi/internal/zmtp/memnet"
)

// These tests run the real code on an in-memory network inside a bubble, with the
// times that a real array has.

// memory is a network in a bubble. Its connections can be frozen, as if the
// cable had been pulled.
type memory struct {
	memnet.Network
	mu     sync.Mutex
	frozen bool
}

func (m *memory) Listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := m.Network.Listen("controller:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func (m *memory) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := m.Network.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &cable{Conn: c, net: m}, nil
}

func (m *memory) pull(frozen bool) {
	m.mu.Lock()
	m.frozen = frozen
	m.mu.Unlock()
}

func (m *memory) pulled() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.frozen
}

// cable loses what is written, and that it was closed, while it is pulled.
type cable struct {
	net.Conn
	net *memory
}

func (c *cable) Write(p []byte) (int, error) {
	if c.net.pulled() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *cable) Close() error {
	if c.net.pulled() {
		return c.SetDeadline(time.Now())
	}
	return c.Conn.Close()
}

// realTimes undoes the short times of the other tests.
func realTimes(c *HubConfig)      { c.Heartbeat, c.Suspect, c.Dead = 0, 0, 0 }
func realLinkTimes(c *LinkConfig) { c.Heartbeat, c.Dead, c.BackoffMin, c.BackoffMax = 0, 0, 0, 0 }

func TestPulledCableIsNoticedAfterFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &memory{}
		th := startHub(t, n, realTimes)
		l, _ := startLink(t, th, newMemNode(), realLinkTimes)
		s := th.events.next(t, "up").sess
		time.Sleep(time.Minute)
		synctest.Wait()
		if s.Err() != nil || s.SilentFor() > 2*time.Second {
			t.Fatalf("after a minute: %v, silent for %v", s.Err(), s.SilentFor())
		}
		n.pull(true)
		start := time.Now()
		err := s.Store(t.Context(), newUpload(t, 1).store([]byte("x")))
		wantError(t, err, raid.ErrPeerGone)
		if d := time.Since(start); d < 4500*time.Millisecond || d > 5*time.Second {
			t.Fatalf("noticed after %v", d)
		}
		th.events.next(t, "down")
		time.Sleep(20 * time.Second)
		n.pull(false)
		start = time.Now()
		again := th.events.next(t, "up").sess
		if d := time.Since(start); d > 10*time.Second { // a handshake that was lost, and a pause
			t.Fatalf("back after %v", d)
		}
		if again.ID() == s.ID() || l.Status() == "" {
			t.Fatal("the session has the old id")
		}
	})
}

func TestNodeLeavesAControllerThatIsSilentForFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &memory{}
		rc := startRawController(t, n, welcome(testArray))
		startLink(t, rc.th, newMemNode(), realLinkTimes)
		start := time.Now()
		rc.accept()
		rc.accept()
		if d := time.Since(start); d < 5*time.Second || d > 5200*time.Millisecond {
			t.Fatalf("left after %v", d)
		}
	})
}

func TestIncompleteSessionEndsAfterFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := startHub(t, &memory{}, realTimes)
		n := newRawNode(t, th)
		for _, r := range []role{roleStore, roleControl, roleRequest} {
			if err := n.open(r); err != nil {
				t.Fatal(err)
			}
			go n.drain(r)
		}
		n.beat()
		start := time.Now()
		<-n.conns[roleStore].Done()
		if d := time.Since(start); d != 5*time.Second {
			t.Fatalf("ended after %v", d)
		}
	})
}

func TestSilentNodesPlaceIsFreeWithinTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := startHub(t, &memory{}, realTimes)
		first := newRawNode(t, th)
		first.connect()
		second := newRawNode(t, th)
		second.hello.node = first.hello.node
		start := time.Now()
		for second.open(roleControl) != nil {
			time.Sleep(100 * time.Millisecond)
		}
		if d := time.Since(start); d < 1500*time.Millisecond || d > 2100*time.Millisecond {
			t.Fatalf("free after %v", d)
		}
	})
}

// A node whose network broke off while it connected is no clone of itself.
func TestHalfMadeSessionMakesRoomSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := startHub(t, &memory{}, realTimes)
		first := newRawNode(t, th)
		if err := first.open(roleRequest); err != nil {
			t.Fatal(err)
		}
		second := newRawNode(t, th)
		second.hello.node = first.hello.node
		start := time.Now()
		for second.open(roleControl) != nil {
			time.Sleep(100 * time.Millisecond)
		}
		if d := time.Since(start); d > 1700*time.Millisecond || len(th.Clones()) > 0 {
			t.Errorf("free after %v, %d clones are told", d, len(th.Clones()))
		}
	})
}

func TestClonesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := startHub(t, &memory{}, realTimes)
		first := newRawNode(t, th)
		first.connect()
		first.keepBeating(roleStore, roleRequest, roleControl, roleData)
		second := newRawNode(t, th)
		second.hello.node = first.hello.node
		refuse := func() {
			t.Helper()
			if second.open(roleRequest) == nil {
				t.Fatal("a clone was let in")
			}
		}
		refuse()
		time.Sleep(time.Second) // a node that lost its connections looks like this too
		refuse()
		if c := th.Clones(); len(c) != 0 {
			t.Fatalf("%+v after a second", c)
		}
		for range 5 {
			time.Sleep(5 * time.Second)
			refuse()
		}
		c := th.Clones()
		if len(c) != 1 || c[0].Node != first.hello.node || c[0].Addr == "" || time.Since(c[0].Last) > time.Second {
			t.Fatalf("%+v", c)
		}
		time.Sleep(time.Minute)
		if c := th.Clones(); len(c) != 0 {
			t.Fatalf("%+v a minute after it has left", c)
		}
		refuse()
		if c := th.Clones(); len(c) != 0 {
			t.Fatalf("%+v at once", c)
		}
	})
}

// slow is an Observer whose NodeDown takes its time.
type slow struct {
	*recorder
	downs chan time.Time
}

func (o slow) NodeDown(s *Session, err error) {
	time.Sleep(time.Minute)
	o.downs <- time.Now()
}

func TestNodesNextSessionIsReportedAfterTheLastOnesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		downs := make(chan time.Time, 10)
		th := startHub(t, &memory{}, func(c *HubConfig) {
			realTimes(c)
			c.Observer = slow{c.Observer.(*recorder), downs}
		})
		_, stop := startLink(t, th, newMemNode(), realLinkTimes)
		for range 3 {
			th.events.next(t, "up").sess.End(raid.ErrShutdown)
			start := time.Now()
			e := <-th.events.events
			if e.what != "up" || time.Since(start) < time.Minute || len(downs) == 0 {
				t.Fatalf("%s after %v, %d ends reported", e.what, time.Since(start), len(downs))
			}
			<-downs
			e.sess.hub.cfg.Observer.(slow).events <- e
		}
		stop()
	})
}

func TestNodeComesBackWithinSecondsOfItsController(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &memory{}
		addrs := &testHub{net: n, store: "controller:5557", response: "controller:5558", request: "controller:5559"}
		startLink(t, addrs, newMemNode(), realLinkTimes)
		time.Sleep(time.Hour)
		listen := func(addr string) net.Listener {
			ln, err := n.Network.Listen(addr)
			if err != nil {
				t.Fatal(err)
			}
			return ln
		}
		th := startHubOn(t, n, listen(addrs.store), listen(addrs.response), listen(addrs.request), realTimes)
		start := time.Now()
		th.events.next(t, "up")
		if d := time.Since(start); d > 5*time.Second {
			t.Fatalf("back after %v", d)
		}
	})
}

func TestLabGetGivesUpAfterTwoSecondsOfPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := startHub(t, &memory{}, realTimes)
		for _, r := range []role{roleControl, roleRequest} { // its PINGs are no answer
			c := pingingLab(t, th, r)
			go func() {
				for {
					if _, err := c.Receive(nil); err != nil {
						return
					}
				}
			}()
			if r == roleRequest {
				send(t, c, []byte{1})
			}
		}
		time.Sleep(time.Minute)
		start := time.Now()
		err := th.LabGet(t.Context(), "chunk1", 4, make([]byte, 4), want([]byte("data")))
		wantError(t, err, raid.ErrNotFound)
		if d := time.Since(start); d != 2*time.Second {
			t.Fatalf("gave up after %v", d)
		}
	})
}

// pingingLab is a lab connection that sends PINGs without end.
func pingingLab(t *testing.T, th *testHub, r role) *zmtp.Conn {
	t.Helper()
	addr, typ := th.request, zmtp.Sub
	if r == roleControl {
		addr, typ = th.response, zmtp.Push
	}
	nc, err := th.net.Dial(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := zmtp.Connect(t.Context(), nc, zmtp.Config{Type: typ, PingEvery: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestHungLabNodeIsPassedOverAfterTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := startHub(t, &memory{}, realTimes)
		pull := rawLab(t, th, roleStore)
		go func() {
			for {
				if _, err := pull.Receive(nil); err != nil {
					return
				}
			}
		}()
		n := th.events.next(t, "labup").lab
		start := time.Now()
		wantError(t, n.Store(t.Context(), "chunk1", []byte("x")), raid.ErrExpired)
		if d := time.Since(start).Round(time.Millisecond); d != 2*time.Second {
			t.Fatalf("gave up after %v", d)
		}
		wantError(t, n.Store(t.Context(), "chunk2", []byte("x")), raid.ErrBusy)
		push := rawLab(t, th, roleControl)
		send(t, push, []byte("chunk1"))
		synctest.Wait()
		if !n.Healthy() {
			t.Fatal("it answered, and yet it is passed over")
		}
	})
}
