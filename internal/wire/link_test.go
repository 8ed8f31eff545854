package wire

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
	"github.com/raidpi/raidpi/test/kit"
)

func TestExpiredRequestsAreNotDone(t *testing.T) {
	rc := startRawController(t, &loopback{}, welcome(testArray))
	node := newMemNode()
	free := make(chan struct{})
	node.setBefore(func(ctx context.Context, _ string, _ raid.ChunkName) error {
		<-free
		return nil
	})
	l, _ := startLink(t, rc.th, node, func(c *LinkConfig) { c.Concurrency = 1 })
	rs := rc.accept()
	rs.keepBeating()
	up := newUpload(t, 1)
	first, second, third := up.store([]byte("1")), up.store([]byte("2")), up.store([]byte("3"))
	rs.store(1, 0, first)
	rs.store(2, 50*time.Millisecond, second) // waits behind the first for longer than that
	rs.store(3, time.Minute, third)
	kept := up.store([]byte("k"))
	node.put(kept)
	rs.request(getOp(4, kept.Meta.Key.Name(), 1))
	late := getOp(5, kept.Meta.Key.Name(), 1)
	late.RemainingMs = 50
	rs.request(late)
	rs.request(&wirepb.GetdataRequest{RequestId: 6}) // answered by the reader itself, once it has read the others
	if pb, _ := rs.answer(roleControl); pb.RequestId != 6 {
		t.Fatalf("request %d was answered first", pb.RequestId)
	}
	kit.Eventually(t, "all stores have arrived", func() bool { return l.queued.outstanding() == 3 })
	time.Sleep(60 * time.Millisecond)
	close(free)
	codes := map[uint64]wirepb.Error{}
	for range 4 {
		pb, _ := rs.answer(roleControl)
		codes[pb.RequestId] = pb.Error
	}
	want := map[uint64]wirepb.Error{1: wirepb.Error_OK, 2: wirepb.Error_EXPIRED, 3: wirepb.Error_OK, 5: wirepb.Error_EXPIRED}
	for id, code := range want {
		if codes[id] != code {
			t.Errorf("request %d was answered %v, want %v", id, codes[id], code)
		}
	}
	if pb, payload := rs.answer(roleData); pb.RequestId != 4 || string(payload) != "k" {
		t.Errorf("request %d was answered with %q", pb.RequestId, payload)
	}
	if _, err := node.find(second.Meta.Key.Name()); err == nil {
		t.Error("an expired store was done")
	}
}

func TestHandlerSeesItsDeadline(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	node := newMemNode()
	node.setBefore(func(ctx context.Context, _ string, _ raid.ChunkName) error {
		<-ctx.Done()
		return ctx.Err()
	})
	startLink(t, th, node, nil)
	s := th.events.next(t, "up").sess
	wantError(t, s.Store(within(t, 100*time.Millisecond), newUpload(t, 1).store([]byte("x"))), raid.ErrExpired)
	kit.Eventually(t, "the node's answer frees the window", func() bool { return s.Outstanding() == 0 })
}

func TestStoresAndGetsDoNotStarveEachOther(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	node := newMemNode()
	up := newUpload(t, 1)
	kept := up.store([]byte("kept"))
	node.put(kept)
	block := "store"
	free := make(chan struct{})
	var blocked atomic.Int32
	node.setBefore(func(_ context.Context, what string, _ raid.ChunkName) error {
		if what == block {
			blocked.Add(1)
			<-free
		}
		return nil
	})
	startLink(t, th, node, func(c *LinkConfig) { c.Concurrency = 2 })
	s := th.events.next(t, "up").sess
	ctx := within(t, 10*time.Second)
	done := make(chan error, 10)
	for range 10 {
		req := up.store([]byte("x"))
		go func() { done <- s.Store(ctx, req) }()
	}
	kit.Eventually(t, "two stores are busy", func() bool { return blocked.Load() == 2 })
	if _, err := s.Get(ctx, wholeGet(kept)); err != nil {
		t.Fatalf("a get behind busy stores: %v", err)
	}
	if blocked.Load() != 2 {
		t.Fatalf("%d stores are busy, the limit is 2", blocked.Load())
	}
	close(free)
	for range 10 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

func TestTooManyWaitingRequestsAreRefusedAsBusy(t *testing.T) {
	rc := startRawController(t, &loopback{}, welcome(testArray))
	node := newMemNode()
	free := make(chan struct{})
	node.setBefore(func(context.Context, string, raid.ChunkName) error { <-free; return nil })
	startLink(t, rc.th, node, func(c *LinkConfig) { c.Concurrency = 1 })
	rs := rc.accept()
	rs.keepBeating()
	const more = 10
	for i := range queueLength + 1 + more {
		rs.request(getOp(uint64(i+1), "abc", 0))
	}
	for range more - 1 { // whether the hand was free in time decides on one
		if pb, _ := rs.answer(roleControl); pb.Error != wirepb.Error_BUSY {
			t.Fatalf("answer %v, want BUSY", pb.Error)
		}
	}
	close(free)
}

func TestNodeWithoutAnArrayJoinsTheFirst(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	adopted := make(chan raid.ArrayID, 10)
	var refuse atomic.Bool
	refuse.Store(true)
	l, _ := startLink(t, th, newMemNode(), func(c *LinkConfig) {
		c.Array = ""
		c.Adopt = func(a raid.ArrayID) error {
			if refuse.Load() {
				return errors.New("disk is full")
			}
			adopted <- a
			return nil
		}
	})
	kit.Eventually(t, "the status tells", func() bool { return strings.Contains(l.Status(), "disk is full") })
	refuse.Store(false)
	s := th.events.next(t, "up").sess
	if a := <-adopted; a != testArray {
		t.Fatalf("joined %s", a)
	}
	s.End(errors.New("test"))
	th.events.next(t, "up")
	if len(adopted) != 0 {
		t.Fatal("it joined twice")
	}
}

func TestNodeOfAnotherArrayStaysAway(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	l, _ := startLink(t, th, newMemNode(), func(c *LinkConfig) { c.Array = "9000000000000000000000" })
	kit.Eventually(t, "the status tells", func() bool {
		return strings.HasPrefix(l.Status(), "Refused by 127.0.0.1: ") && strings.Contains(l.Status(), "--adopt")
	})

	// And a controller that lets it in all the same.
	rc := startRawController(t, &loopback{}, welcome(testArray))
	l, _ = startLink(t, rc.th, newMemNode(), func(c *LinkConfig) { c.Array = "9000000000000000000000" })
	kit.Eventually(t, "the status tells", func() bool { return strings.Contains(l.Status(), "--adopt") })
}

func TestNodeRefusesWhatItMayNotSpeakWith(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	l, _ := startLink(t, th, newMemNode(), func(c *LinkConfig) { c.Plaintext = PlaintextOff })
	kit.Eventually(t, "the status tells", func() bool { return strings.Contains(l.Status(), "plaintext under [controller]") })

	newer := startRawController(t, &loopback{}, map[string]string{propVersion: "3", propArray: testArray})
	l, _ = startLink(t, newer.th, newMemNode(), nil)
	kit.Eventually(t, "the status tells", func() bool { return strings.Contains(l.Status(), "upgrade raid-node") })

	lab := startRawController(t, &loopback{}, nil)
	l, _ = startLink(t, lab.th, newMemNode(), func(c *LinkConfig) { c.Lab = nil })
	kit.Eventually(t, "the status tells", func() bool { return strings.Contains(l.Status(), "lab controller") })
}

func TestPortsOfDifferentControllersAreNoticed(t *testing.T) {
	one := startHub(t, &loopback{}, nil)
	two := startRawController(t, &loopback{}, nil)
	l, _ := startLink(t, one, newMemNode(), func(c *LinkConfig) { c.StoreAddr = two.th.store })
	kit.Eventually(t, "the status tells", func() bool { return strings.Contains(l.Status(), "different controllers") })
}

func TestStatusIsForPeople(t *testing.T) {
	ln := (&loopback{}).Listen(t)
	addr := ln.Addr().String()
	ln.Close()
	th := startHub(t, &loopback{}, nil)
	l, _ := startLink(t, th, newMemNode(), func(c *LinkConfig) { c.RequestAddr = addr })
	kit.Eventually(t, "attempts are counted", func() bool {
		return strings.HasPrefix(l.Status(), "Reconnecting to 127.0.0.1, attempt 4: ") && strings.Contains(l.Status(), "refused")
	})
	l, stop := startLink(t, th, newMemNode(), nil)
	th.events.next(t, "up")
	if !strings.HasPrefix(l.Status(), "Connected to controller 127.0.0.1 as ") {
		t.Fatalf("status is %q", l.Status())
	}
	stop()
	if l.Status() != "Stopped" {
		t.Fatalf("status is %q", l.Status())
	}
}

func TestSilentControllerIsLeft(t *testing.T) {
	rc := startRawController(t, &loopback{}, welcome(testArray))
	l, _ := startLink(t, rc.th, newMemNode(), func(c *LinkConfig) { c.Dead = 300 * time.Millisecond })
	start := time.Now()
	first := rc.accept() // it neither reads nor writes
	second := rc.accept()
	if d := time.Since(start); d < 250*time.Millisecond || d > 5*time.Second {
		t.Fatalf("left after %v", d)
	}
	if first.hello.session == second.hello.session || first.hello.node != second.hello.node {
		t.Fatalf("the second session is %+v, the first was %+v", second.hello, first.hello)
	}
	_ = l
}

func TestNodeLosesAllConnectionsWithOne(t *testing.T) {
	for lost := range roleCount {
		rc := startRawController(t, &loopback{}, welcome(testArray))
		startLink(t, rc.th, newMemNode(), nil)
		rs := rc.accept()
		rs.conns[lost].Close()
		for _, c := range rs.conns {
			go func() {
				for {
					if _, err := c.Receive(nil); err != nil {
						return
					}
				}
			}()
			select {
			case <-c.Done():
			case <-time.After(10 * time.Second):
				t.Fatalf("without the %v connection another lives on", lost)
			}
		}
		rc.accept()
	}
}

func TestAnswersAreNotSentOnALaterSession(t *testing.T) {
	rc := startRawController(t, &loopback{}, welcome(testArray))
	node := newMemNode()
	free := make(chan struct{})
	var busy atomic.Int32
	node.setBefore(func(_ context.Context, what string, _ raid.ChunkName) error {
		if what == "store" {
			busy.Add(1)
			<-free
		}
		return nil
	})
	startLink(t, rc.th, node, nil)
	rs := rc.accept()
	up := newUpload(t, 1)
	rs.store(11, 0, up.store([]byte("x")))
	rs.store(12, 0, up.store([]byte("y")))
	kit.Eventually(t, "both are in hand", func() bool { return busy.Load() == 2 })
	rs.conns[roleStore].Close()
	next := rc.accept() // though the handlers of the earlier session are still busy
	next.keepBeating()
	close(free)
	time.Sleep(50 * time.Millisecond)
	next.request(getOp(99, "abc", 0))
	if pb, _ := next.answer(roleControl); pb.RequestId != 99 || pb.Error != wirepb.Error_NOT_FOUND {
		t.Fatalf("the later session got an answer to %d: %v", pb.RequestId, pb.Error)
	}
}

func TestNonsenseIsAnsweredAsInvalid(t *testing.T) {
	rc := startRawController(t, &loopback{}, welcome(testArray))
	startLink(t, rc.th, newMemNode(), nil)
	rs := rc.accept()
	rs.keepBeating()
	up := newUpload(t, 1)
	send := func(want wirepb.Error) {
		t.Helper()
		pb, _ := rs.answer(roleControl)
		if pb.Error != want {
			t.Fatalf("answer %v (%s), want %v", pb.Error, pb.ErrorText, want)
		}
	}
	rs.request(&wirepb.GetdataRequest{RequestId: 1, Filename: "abc"})
	send(wirepb.Error_UNSUPPORTED)
	rs.request(getOp(2, "../etc/passwd", 0))
	send(wirepb.Error_INVALID)
	rs.request(&wirepb.GetdataRequest{RequestId: 3, Op: &wirepb.GetdataRequest_Delete{Delete: &wirepb.DeleteOp{Names: []string{"ok123", "a/b"}}}})
	send(wirepb.Error_INVALID)
	rs.request(&wirepb.GetdataRequest{RequestId: 4, Op: &wirepb.GetdataRequest_List{List: &wirepb.ListOp{After: "/"}}})
	send(wirepb.Error_INVALID)
	rs.request(&wirepb.GetdataRequest{RequestId: 5, Filename: "x", Op: &wirepb.GetdataRequest_Verify{Verify: &wirepb.VerifyOp{}}})
	send(wirepb.Error_INVALID)
	short := up.store([]byte("abc"))
	short.Payload = []byte("ab")
	rs.store(6, 0, short)
	send(wirepb.Error_INVALID)
	blocks := up.store([]byte("abc"))
	blocks.Meta.Blocks = nil
	rs.store(7, 0, blocks)
	send(wirepb.Error_INVALID)
	flipped := up.store([]byte("abc"))
	flipped.Payload = []byte("abd")
	rs.store(8, 0, flipped)
	send(wirepb.Error_CORRUPT)
}

func TestEitherEndRestartsInAnyOrder(t *testing.T) {
	n := &loopback{}
	store, response, request := n.Listen(t), n.Listen(t), n.Listen(t)
	addrs := &testHub{net: n, store: store.Addr().String(), response: response.Addr().String(), request: request.Addr().String()}
	for _, ln := range []net.Listener{store, response, request} {
		ln.Close()
	}
	node := newMemNode()
	cfg := linkConfig(t, addrs, node)
	run := func() func() { return background(t, "link", NewLink(cfg).Run) }
	relisten := func(addr string) net.Listener {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
	hub := func() *testHub {
		return startHubOn(t, n, relisten(addrs.store), relisten(addrs.response), relisten(addrs.request), nil)
	}
	try := func(th *testHub) {
		t.Helper()
		s := th.events.next(t, "up").sess
		req := newUpload(t, 1).store(randomBytes(5000))
		if err := s.Store(within(t, 5*time.Second), req); err != nil {
			t.Fatal(err)
		}
		get := wholeGet(req)
		if _, err := s.Get(within(t, 5*time.Second), get); err != nil || !bytes.Equal(get.Dst, req.Payload) {
			t.Fatalf("get: %v", err)
		}
	}
	stopNode := run() // the node first
	time.Sleep(50 * time.Millisecond)
	th := hub()
	try(th)
	for range 3 {
		stopNode()
		th.events.next(t, "down")
		stopNode = run()
		try(th)
		th.stop()
		th = hub()
		try(th)
	}
	stopNode()
	th.stop()
	th = hub() // the controller first
	stopNode = run()
	try(th)
	stopNode()
}
