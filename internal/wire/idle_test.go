package wire

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// These tests are about the heartbeats of an array of which nobody wants anything.

// far is memory whose bytes take 2 ms each way: answers then come later than questions.
type far struct{ memory }

func (f *far) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := f.memory.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return farConn{c}, nil
}

type farConn struct{ net.Conn }

func (c farConn) Write(p []byte) (int, error) {
	time.Sleep(2 * time.Millisecond)
	return c.Conn.Write(p)
}

func (c farConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	time.Sleep(2 * time.Millisecond)
	return n, err
}

// debts watches for how long nodes owe answers.
func debts(d time.Duration, of ...*Session) (worst time.Duration) {
	for start := time.Now(); time.Since(start) < d; time.Sleep(10 * time.Millisecond) {
		for _, s := range of {
			worst = max(worst, s.Unanswered())
		}
	}
	return worst
}

func TestNodeThatJoinsInACalmOwesNothing(t *testing.T) {
	for k := range 10 {
		synctest.Test(t, func(t *testing.T) {
			th := startHub(t, &far{}, realTimes)
			time.Sleep(20*time.Second + time.Duration(k)*230*time.Millisecond)
			startLink(t, th, newMemNode(), realLinkTimes)
			s := th.events.next(t, "up").sess
			if owed := debts(10*time.Second, s); owed > 600*time.Millisecond {
				t.Errorf("a healthy node that came %v after a heartbeat owes an answer for %v", time.Duration(k)*230*time.Millisecond, owed)
			}
		})
	}
}

// A clone that is refused has all nodes asked. None may be suspect for that.
func TestRefusedCloneMakesNobodySuspect(t *testing.T) {
	for k := range 10 {
		synctest.Test(t, func(t *testing.T) {
			th := startHub(t, &far{}, realTimes)
			var id raid.NodeID
			startLink(t, th, newMemNode(), func(c *LinkConfig) { realLinkTimes(c); id = c.Node })
			s := th.events.next(t, "up").sess
			startLink(t, th, newMemNode(), realLinkTimes)
			other := th.events.next(t, "up").sess
			time.Sleep(time.Until(th.made.Add(30*time.Second + time.Duration(k)*220*time.Millisecond)))
			for range 5 {
				clone := newRawNode(t, th)
				clone.hello.node = id
				if clone.open(roleRequest) == nil {
					t.Fatalf("a clone is admitted; the other's session: %v", s.Err())
				}
				if owed := debts(700*time.Millisecond, s, other); owed > 600*time.Millisecond {
					t.Errorf("a healthy node owes an answer for %v", owed)
				}
			}
		})
	}
}

// However often somebody gives a reason to ask, nodes are asked about four times a second at most.
func TestHurryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := startHub(t, &memory{}, realTimes)
		n := newRawNode(t, th)
		s := n.connect()
		n.keepBeating(roleStore)
		asked := make(chan int)
		go func() {
			count := 0
			for {
				m, err := n.conns[roleRequest].Receive(nil)
				if err != nil {
					asked <- count
					return
				}
				m.Release()
				count++
			}
		}()
		for range 10000 {
			th.heartbeatSoon()
			time.Sleep(time.Millisecond)
		}
		s.End(raid.ErrShutdown)
		if count := <-asked; count < 20 || count > 42 {
			t.Errorf("%d heartbeats in ten seconds", count)
		}
	})
}

// Nothing is asked of a node whose cable is pulled: that it is away shows all the same.
func TestSilenceInACalmIsNoticedInFiveSeconds(t *testing.T) {
	for k := range 5 {
		synctest.Test(t, func(t *testing.T) {
			n := &memory{}
			th := startHub(t, n, realTimes)
			startLink(t, th, newMemNode(), realLinkTimes)
			s := th.events.next(t, "up").sess
			time.Sleep(time.Until(th.made.Add(20010*time.Millisecond + time.Duration(k)*450*time.Millisecond)))
			n.pull(true)
			silent := s.SilentFor()
			start := time.Now()
			<-s.Done()
			if d := silent + time.Since(start); d < 4750*time.Millisecond || d > 5250*time.Millisecond {
				t.Errorf("ended after %v of silence", d)
			}
		})
	}
}

// A controller that is stopped for seconds finds in its sockets what nodes said meanwhile.
func TestSilenceWithoutADebtEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := startHub(t, &memory{}, realTimes)
		n := newRawNode(t, th)
		s := n.connect()
		go n.drain(roleRequest)
		s.mu.Lock()
		s.asked = time.Now().Add(8 * time.Second) // as if no round had been till then
		s.mu.Unlock()
		time.Sleep(8 * time.Second)
		if s.Err() != nil {
			t.Errorf("not asked, and given up: %v", s.Err())
		}
		<-s.Done()
	})
}

// A node sends by its own clock when the controller's heartbeats are late.
func TestNodeThatHearsNothingBeatsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &memory{}
		rc := startRawController(t, n, welcome(testArray))
		startLink(t, rc.th, newMemNode(), realLinkTimes)
		rs := rc.accept()
		start := time.Now()
		var at []time.Duration
		for time.Since(start) < 4900*time.Millisecond {
			m, err := rs.conns[roleControl].Receive(nil)
			if err != nil {
				break
			}
			m.Release()
			at = append(at, time.Since(start))
		}
		if len(at) < 5 || at[0] > 100*time.Millisecond || at[1] < 2400*time.Millisecond || at[1] > 2700*time.Millisecond {
			t.Fatalf("heartbeats came after %v, want the first at once and some from 2.5 s on", at)
		}
		for i := 2; i < len(at); i++ {
			if d := at[i] - at[i-1]; d > 600*time.Millisecond {
				t.Errorf("%v between two heartbeats, all of them: %v", d, at)
			}
		}
	})
}

// An idle controller is woken for all nodes together, every two seconds.
func TestIdleNodesAreHeardAtTheSameMoments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := startHub(t, &memory{}, realTimes)
		var sessions []*Session
		for i := range 4 {
			time.Sleep(time.Duration(i) * 70 * time.Millisecond)
			startLink(t, th, newMemNode(), realLinkTimes)
			sessions = append(sessions, th.events.next(t, "up").sess)
		}
		time.Sleep(7 * time.Second)
		// What the controller hears on all connections: heartbeats, and answers to its
		// PINGs. Each node asks every ten seconds whether it is there.
		moments, beats := 0, th.events.beatsOf(sessions[0].Node())
		for range 2000 {
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			heard := time.Hour
			for _, s := range sessions {
				for _, c := range s.conns {
					heard = min(heard, c.SilentFor())
				}
			}
			if heard < 10*time.Millisecond {
				moments++
			}
		}
		if beats = th.events.beatsOf(sessions[0].Node()) - beats; beats < 9 || beats > 11 {
			t.Errorf("in twenty idle seconds there were %d heartbeats", beats)
		}
		if moments > 10+2*len(sessions) {
			t.Errorf("in twenty seconds something came at %d moments", moments)
		}
		for _, s := range sessions {
			if s.Unanswered() > 0 {
				t.Errorf("%s owes an answer", s.Node())
			}
			for r, c := range s.conns {
				if silent := c.SilentFor(); silent > 6*time.Second {
					t.Errorf("the connection %v was not heard of for %v", role(r), silent)
				}
			}
		}
	})
}

// While any node is asked for something, all are to show twice a second that they live.
func TestNodesAreHeardOftenWhileTheArrayWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := startHub(t, &memory{}, realTimes)
		hung, hold := newMemNode(), make(chan struct{})
		hung.before = func(context.Context, string, raid.ChunkName) error {
			<-hold
			return nil
		}
		startLink(t, th, hung, realLinkTimes)
		s := th.events.next(t, "up").sess
		startLink(t, th, newMemNode(), realLinkTimes)
		other := th.events.next(t, "up").sess
		time.Sleep(31 * time.Second)
		synctest.Wait()

		before := th.events.beatsOf(other.Node())
		stored := make(chan error, 1)
		go func() { stored <- s.Store(t.Context(), newUpload(t, 1).store([]byte("x"))) }()
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if n := th.events.beatsOf(other.Node()) - before; n != 1 {
			t.Errorf("%d heartbeats at the moment when a node is asked for something, want one", n)
		}
		before = th.events.beatsOf(other.Node())
		time.Sleep(20 * time.Second) // longer than what is idle
		synctest.Wait()
		if n := th.events.beatsOf(other.Node()) - before; n < 39 || n > 41 {
			t.Errorf("%d heartbeats in twenty seconds of work, want one every 500 ms", n)
		}
		close(hold)
		if err := <-stored; err != nil {
			t.Error(err)
		}
	})
}

// A node's cable is pulled while nothing is asked of it. A second and a half after somebody wants
// the node it is known to owe an answer, as one is that falls silent then.
func TestNodeThatFellSilentInACalmIsSuspectSoon(t *testing.T) {
	for after := range 5 {
		synctest.Test(t, func(t *testing.T) {
			n := &memory{}
			th := startHub(t, n, realTimes)
			startLink(t, th, newMemNode(), realLinkTimes)
			s := th.events.next(t, "up").sess
			time.Sleep(20*time.Second + time.Duration(after)*450*time.Millisecond)
			n.pull(true)
			if s.Unanswered() > 0 {
				t.Fatal("it owes an answer already")
			}
			time.Sleep(100 * time.Millisecond)
			start := time.Now()
			ctx, cancel := context.WithCancel(t.Context())
			failed := make(chan error, 1)
			go func() {
				_, err := s.Get(ctx, wholeGet(newUpload(t, 1).store([]byte("x"))))
				failed <- err
			}()
			for s.Unanswered() <= time.Second {
				time.Sleep(10 * time.Millisecond)
				if d := time.Since(start); d > 1500*time.Millisecond {
					t.Fatalf("asked %v ago, and owes an answer for %v", d, s.Unanswered())
				}
			}
			cancel()
			<-failed
			s.End(raid.ErrShutdown)
		})
	}
}

func TestAHubWhoseHeartbeatsHangDoesNotMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := startHub(t, &memory{}, realTimes)
		moves := func(h *Hub) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			return h.Moves(ctx)
		}
		start := time.Now()
		for range 3 {
			time.Sleep(time.Second)
			if err := moves(th.Hub); err != nil {
				t.Error(err)
			}
		}
		if d := time.Since(start); d != 3*time.Second {
			t.Errorf("the answers took %v", d-3*time.Second)
		}
		h := NewHub(HubConfig{})
		if err := moves(h); err != nil {
			t.Errorf("before it runs: %v", err)
		}
		h.heartbeating.Store(true) // it does, and is stuck somewhere
		if err := moves(h); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it hangs: %v", err)
		}
		close(h.over)
		if err := moves(h); err != nil {
			t.Errorf("after its end: %v", err)
		}
	})
}
