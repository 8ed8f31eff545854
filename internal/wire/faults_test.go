package wire

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
	"github.com/raidpi/raidpi/test/kit"
)

func TestNodeIsUpOnlyWhenItsSessionIsWhole(t *testing.T) {
	th := startHub(t, &loopback{}, func(c *HubConfig) { c.Dead = 400 * time.Millisecond })
	for missing := range roleCount + 1 {
		n := newRawNode(t, th)
		for r := range roleCount {
			if r == missing {
				continue
			}
			if err := n.open(r); err != nil {
				t.Fatal(err)
			}
		}
		if missing != roleControl && missing != roleCount { // the last round lacks the heartbeat
			n.beat()
		}
		for r, c := range n.conns {
			if c == nil {
				continue
			}
			go n.drain(role(r))
			select {
			case <-c.Done():
			case <-time.After(10 * time.Second):
				t.Fatalf("without %v the %v connection lives on", missing, role(r))
			}
		}
	}
	select {
	case e := <-th.events.events:
		t.Fatalf("an incomplete session was reported: %v", e.what)
	default:
	}
}

func TestLosingAnyConnectionEndsTheSession(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	for lost := range roleCount {
		n := newRawNode(t, th)
		s := n.connect()
		ctx := within(t, 10*time.Second)
		stored, got := make(chan error, 1), make(chan error, 1)
		up := newUpload(t, 1)
		go func() { stored <- s.Store(ctx, up.store(randomBytes(1000))) }()
		n.nextStore()
		go func() {
			_, err := s.Get(ctx, wholeGet(newUpload(t, 1).store(randomBytes(1000))))
			got <- err
		}()
		n.nextRequest()
		n.conns[lost].Close()
		wantError(t, <-stored, raid.ErrPeerGone)
		wantError(t, <-got, raid.ErrPeerGone)
		if e := th.events.next(t, "down"); e.sess != s || s.Err() == nil {
			t.Fatalf("without the %v connection another session is down: %v", lost, e.node)
		}
		<-s.Done()
		wantError(t, s.Store(ctx, up.store(nil)), raid.ErrPeerGone)
		for r, c := range n.conns {
			go n.drain(role(r))
			select {
			case <-c.Done():
			case <-time.After(10 * time.Second):
				t.Fatalf("without the %v connection another lives on", lost)
			}
		}
	}
}

func TestHungNodeIsNoticed(t *testing.T) {
	th := startHub(t, &loopback{}, func(c *HubConfig) { c.Dead = 500 * time.Millisecond })
	n := newRawNode(t, th)
	s := n.connect()
	start := time.Now()
	ctx := within(t, 30*time.Second)
	// More than the sockets' buffers hold: some of these are stuck in writing.
	results := make(chan error, 8)
	up := newUpload(t, 1)
	for range 8 {
		req := up.store(make([]byte, 4<<20))
		go func() { results <- s.Store(ctx, req) }()
	}
	for range 8 {
		wantError(t, <-results, raid.ErrPeerGone)
	}
	if d := time.Since(start); d < 400*time.Millisecond || d > 4*time.Second {
		t.Fatalf("noticed after %v, want about 500 ms", d)
	}
	th.events.next(t, "down")
}

func TestAnyByteIsASignOfLife(t *testing.T) {
	th := startHub(t, &loopback{}, func(c *HubConfig) { c.Dead = 400 * time.Millisecond })
	n := newRawNode(t, th)
	s := n.connect()
	go n.drain(roleStore) // which answers PINGs
	go n.drain(roleRequest)
	go n.drain(roleControl)
	for range 12 { // no heartbeat, only answers that nobody waits for
		n.send(roleData, &wirepb.Response{RequestId: 1 << 60, Filename: "nobody"}, []byte("payload"))
		time.Sleep(100 * time.Millisecond)
	}
	if err := s.Err(); err != nil {
		t.Fatalf("the session ended: %v", err)
	}
	th.events.next(t, "down")
}

func TestSecondLiveSessionOfANodeIsRefusedAsAClone(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	first := newRawNode(t, th)
	s := first.connect()
	first.keepBeating(roleStore, roleRequest)
	second := newRawNode(t, th)
	second.hello.node = first.hello.node
	for r := range roleCount {
		err := second.open(r)
		if err == nil || !strings.Contains(err.Error(), "copies of one disk") {
			t.Fatalf("%v connection of a clone: %v", r, err)
		}
	}
	if s.Err() != nil {
		t.Fatalf("the first session suffered: %v", s.Err())
	}
}

func TestSilentSessionMakesRoomForTheNext(t *testing.T) {
	th := startHub(t, &loopback{}, func(c *HubConfig) { c.Dead = time.Minute })
	first := newRawNode(t, th)
	s1 := first.connect()
	second := newRawNode(t, th)
	second.hello.node = first.hello.node
	kit.Eventually(t, "the silent session's place is free", func() bool { return second.open(roleStore) == nil })
	if silent := s1.SilentFor(); silent < 400*time.Millisecond {
		t.Fatalf("it was free after %v", silent)
	}
	if e := th.events.next(t, "down"); e.sess != s1 {
		t.Fatal("another session is down")
	}
	for _, r := range []role{roleData, roleControl, roleRequest} {
		if err := second.open(r); err != nil {
			t.Fatal(err)
		}
	}
	second.beat()
	if e := th.events.next(t, "up"); e.sess == s1 || e.node != first.hello.node {
		t.Fatal("the second session is not up")
	}
}

func TestAnswersOfAnEarlierSessionDoNotCount(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	n := newRawNode(t, th)
	s := n.connect()
	up := newUpload(t, 1)
	req := up.store([]byte("the chunk"))
	first := make(chan error, 1)
	go func() { first <- s.Store(within(t, 10*time.Second), req) }()
	old := n.nextStore()
	n.close()
	wantError(t, <-first, raid.ErrPeerGone)
	th.events.next(t, "down")

	again := newRawNode(t, th)
	again.hello.node = n.hello.node
	s2 := again.connect()
	second := make(chan error, 1)
	go func() { second <- s2.Store(within(t, 300*time.Millisecond), req) }() // the very same name
	if now := again.nextStore(); now.RequestId == old.RequestId {
		t.Fatal("a request id was used twice")
	}
	again.send(roleControl, ack(old)) // queued in the earlier session
	wantError(t, <-second, raid.ErrExpired)
}

func TestStrangeAnswersAreWithoutEffect(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	n, other := newRawNode(t, th), newRawNode(t, th)
	s, so := n.connect(), other.connect()
	n.keepBeating()
	other.keepBeating()
	ctx := within(t, 10*time.Second)
	up := newUpload(t, 1)
	stored, elsewhere := make(chan error, 1), make(chan error, 1)
	go func() { stored <- s.Store(ctx, up.store([]byte("a"))) }()
	pb := n.nextStore()
	go func() { elsewhere <- so.Store(ctx, up.store([]byte("b"))) }()
	pbo := other.nextStore()

	other.send(roleControl, ack(pb)) // right, but from the session that was not asked
	n.send(roleControl, ack(pbo))
	n.send(roleControl, &wirepb.Response{RequestId: pb.RequestId, Filename: pb.Filename + "x"})
	n.send(roleControl, &wirepb.Response{RequestId: pb.RequestId + 1000, Filename: pb.Filename})
	n.send(roleControl, &wirepb.Response{RequestId: pb.RequestId})
	n.send(roleData, ack(pb), []byte("a store is not answered here"))
	select {
	case err := <-stored:
		t.Fatalf("a strange answer counted: %v", err)
	case err := <-elsewhere:
		t.Fatalf("a strange answer counted elsewhere: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	n.send(roleControl, ack(pb))
	n.send(roleControl, ack(pb)) // twice
	other.send(roleControl, ack(pbo))
	if err := <-stored; err != nil {
		t.Fatal(err)
	}
	if err := <-elsewhere; err != nil {
		t.Fatal(err)
	}
	if s.Outstanding() != 0 || s.Err() != nil {
		t.Fatalf("%d bytes are outstanding, session %v", s.Outstanding(), s.Err())
	}
}

func TestUnacknowledgedBytesAreBounded(t *testing.T) {
	th := startHub(t, &loopback{}, func(c *HubConfig) { c.Window = 1 << 20 })
	n := newRawNode(t, th)
	s := n.connect()
	n.keepBeating()
	up := newUpload(t, 1)
	store := func(ctx context.Context, size int) <-chan error {
		done := make(chan error, 1)
		req := up.store(make([]byte, size))
		go func() { done <- s.Store(ctx, req) }()
		return done
	}
	long := within(t, 20*time.Second)
	short, cancel := context.WithCancel(long)
	first := store(short, 3<<20) // larger than the window, and alone
	pb1 := n.nextStore()
	second := store(long, 10)
	kit.Eventually(t, "the first is outstanding", func() bool { return s.Outstanding() == 3<<20 && s.StuckFor() > 0 })
	cancel()
	wantError(t, <-first, context.Canceled)
	time.Sleep(100 * time.Millisecond)
	if s.Outstanding() != 3<<20 || s.StuckFor() < 100*time.Millisecond {
		t.Fatalf("a store that was given up is no longer charged: %d, %v", s.Outstanding(), s.StuckFor())
	}
	wantError(t, <-store(within(t, 50*time.Millisecond), 10), raid.ErrExpired)
	n.send(roleControl, ack(pb1)) // late, and it frees the window
	n.send(roleControl, ack(n.nextStore()))
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	if s.Outstanding() != 0 || s.StuckFor() != 0 {
		t.Fatalf("%d outstanding, stuck %v", s.Outstanding(), s.StuckFor())
	}
}

func TestGivenUpGetsPayloadIsThrownAway(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	n := newRawNode(t, th)
	s := n.connect()
	n.keepBeating()
	whole := randomBytes(300 << 10)
	req := newUpload(t, 1).store(whole)
	get := wholeGet(req)
	ctx, cancel := context.WithCancel(within(t, 10*time.Second))
	done := make(chan error, 1)
	go func() {
		_, err := s.Get(ctx, get)
		done <- err
	}()
	pb := n.nextRequest()
	cancel()
	wantError(t, <-done, context.Canceled)
	n.send(roleData, getAnswer(pb, whole), whole)

	again := wholeGet(req)
	go func() {
		_, err := s.Get(within(t, 10*time.Second), again)
		done <- err
	}()
	n.send(roleData, getAnswer(n.nextRequest(), whole), whole)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Dst, whole) {
		t.Fatal("the second get has other bytes")
	}
	if !bytes.Equal(get.Dst, make([]byte, len(get.Dst))) {
		t.Fatal("a destination was touched after its get had returned")
	}
}

func TestWrongPayloadsFailTheirGet(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	n := newRawNode(t, th)
	s := n.connect()
	n.keepBeating()
	whole := randomBytes(100 << 10)
	req := newUpload(t, 1).store(whole)
	ask := func() (<-chan error, *wirepb.GetdataRequest) {
		done := make(chan error, 1)
		go func() {
			_, err := s.Get(within(t, 10*time.Second), wholeGet(req))
			done <- err
		}()
		return done, n.nextRequest()
	}
	for name, answer := range map[string]func(*wirepb.GetdataRequest){
		"shorter":      func(pb *wirepb.GetdataRequest) { n.send(roleData, getAnswer(pb, whole), whole[1:]) },
		"longer":       func(pb *wirepb.GetdataRequest) { n.send(roleData, getAnswer(pb, whole), append(whole, 1)) },
		"other length": func(pb *wirepb.GetdataRequest) { n.send(roleData, getAnswer(pb, whole[1:]), whole) },
		"no result": func(pb *wirepb.GetdataRequest) {
			n.send(roleData, &wirepb.Response{RequestId: pb.RequestId, Filename: pb.Filename}, whole)
		},
		"few blocks": func(pb *wirepb.GetdataRequest) {
			a := getAnswer(pb, whole)
			a.GetGet().BlockCrc32C = a.GetGet().BlockCrc32C[:1]
			n.send(roleData, a, whole)
		},
	} {
		done, pb := ask()
		answer(pb)
		err := <-done
		if err == nil {
			t.Fatalf("%s: the get succeeded", name)
		}
		wantError(t, err, raid.ErrCorrupt)
	}
	done, pb := ask()
	n.send(roleData, getAnswer(pb, whole), whole)
	if err := <-done; err != nil {
		t.Fatalf("the session did not survive: %v", err)
	}
}

func TestGetWaitsForTheReaderThatFillsItsDestination(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	for name, giveUp := range map[string]func(*Session, context.CancelFunc){
		"session ends": func(s *Session, _ context.CancelFunc) { s.End(raid.ErrShutdown) },
		"context ends": func(_ *Session, cancel context.CancelFunc) { cancel() },
	} {
		n := newRawNode(t, th)
		s := n.connect()
		n.keepBeating()
		ctx, cancel := context.WithCancel(within(t, 20*time.Second))
		req := wholeGet(newUpload(t, 1).store(randomBytes(1000)))
		done := make(chan error, 1)
		go func() {
			_, err := s.Get(ctx, req)
			done <- err
		}()
		pb := n.nextRequest()
		c := s.fill(response{id: pb.RequestId, name: req.Name}) // as the reader does in the middle of a payload
		giveUp(s, cancel)
		select {
		case err := <-done:
			t.Fatalf("%s: Get returned while its destination was being filled: %v", name, err)
		case <-time.After(50 * time.Millisecond):
		}
		s.filled(c, outcome{err: gone("read chunk", nil)})
		wantError(t, <-done, raid.ErrPeerGone)
		cancel()
		n.close()
		th.events.next(t, "down")
	}
}

func TestNodeLostInTheMiddleOfAPayload(t *testing.T) {
	whole := randomBytes(8 << 20)
	th := startHub(t, &loopback{}, func(c *HubConfig) { c.Dead = 5 * time.Second })
	n := newRawNode(t, th)
	s := n.connect()
	get := wholeGet(newUpload(t, 1).store(whole))
	done := make(chan error, 1)
	go func() {
		_, err := s.Get(within(t, 20*time.Second), get)
		done <- err
	}()
	head := mustMarshal(t, getAnswer(n.nextRequest(), whole))
	go func() { _ = n.conns[roleData].Send(within(t, 20*time.Second), head, whole) }()
	time.Sleep(time.Millisecond)
	n.conns[roleStore].Close()
	if err := <-done; err != nil {
		wantError(t, err, raid.ErrPeerGone)
	} else if !bytes.Equal(get.Dst, whole) {
		t.Fatal("the get succeeded with other bytes")
	}
}

func TestBrokenMessagesEndTheSession(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	for name, speak := range map[string]func(n *rawNode) (role, [][]byte){
		"garbage on control":    func(*rawNode) (role, [][]byte) { return roleControl, [][]byte{{0xff, 0xff}} },
		"two frames on control": func(*rawNode) (role, [][]byte) { return roleControl, [][]byte{{}, {}} },
		"garbage on data":       func(*rawNode) (role, [][]byte) { return roleData, [][]byte{{0xff, 0xff}, {1}} },
		"one frame on data":     func(*rawNode) (role, [][]byte) { return roleData, [][]byte{{}} },
		"three frames on data":  func(*rawNode) (role, [][]byte) { return roleData, [][]byte{{}, {}, {}} },
		"giant frame":           func(*rawNode) (role, [][]byte) { return roleControl, [][]byte{make([]byte, 1<<20)} },
		"message on a PULL":     func(*rawNode) (role, [][]byte) { return roleStore, [][]byte{{1}} },
		"message on a SUB":      func(*rawNode) (role, [][]byte) { return roleRequest, [][]byte{{7, 7}} },
	} {
		n := newRawNode(t, th)
		s := n.connect()
		r, frames := speak(n)
		_ = n.conns[r].Send(within(t, 10*time.Second), frames...)
		select {
		case <-s.Done():
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: the session lives on", name)
		}
		th.events.next(t, "down")
	}
}

func TestRefusalsSayWhatToDo(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	for want, change := range map[string]func(p map[string]string){
		"upgrade raid-controller": func(p map[string]string) { p[propVersion] = "2" },
		"upgrade raid-node":       func(p map[string]string) { p[propVersion] = "0" },
		"not a protocol version":  func(p map[string]string) { p[propVersion] = "one" },
		"--adopt":                 func(p map[string]string) { p[propArray] = "0000000000000000000002" },
		"not a raidpi id":         func(p map[string]string) { p[propNode] = "../../etc" },
		"is not one of a session": func(p map[string]string) { p[propRole] = "both" },
	} {
		n := newRawNode(t, th)
		n.hello.role = roleControl
		p := n.hello.properties()
		change(p)
		_, err := rawConnect(t, th, roleControl, p)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("refused with %v, want %q", err, want)
		}
	}
	off := startHub(t, &loopback{}, func(c *HubConfig) { c.Plaintext = PlaintextOff })
	if _, err := rawConnect(t, off, roleStore, nil); err == nil || !strings.Contains(err.Error(), "plaintext under [nodes]") {
		t.Errorf("without plaintext a lab peer is refused with %v", err)
	}
	local := startHub(t, &loopback{}, func(c *HubConfig) { c.Plaintext = PlaintextLoopback })
	if _, err := rawConnect(t, local, roleStore, nil); err != nil {
		t.Errorf("from loopback a lab peer is refused with %v", err)
	}
}

func TestConnectionThatASessionHasIsNotTakenTwice(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	n := newRawNode(t, th)
	s := n.connect()
	n.keepBeating(roleStore, roleRequest)
	kept := n.conns[roleData]
	if err := n.open(roleData); err != nil {
		t.Fatal(err)
	}
	go n.drain(roleData)
	select {
	case <-n.conns[roleData].Done():
	case <-time.After(10 * time.Second):
		t.Fatal("a second data connection was kept")
	}
	if s.Err() != nil || kept.Err() != nil {
		t.Fatalf("the session suffered: %v", s.Err())
	}
}

func TestSessionsEndWithTheHub(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	n := newRawNode(t, th)
	s := n.connect()
	n.keepBeating()
	done := make(chan error, 1)
	go func() { done <- s.Store(within(t, 10*time.Second), newUpload(t, 1).store([]byte("x"))) }()
	n.nextStore()
	th.stop()
	wantError(t, <-done, raid.ErrPeerGone)
	th.events.next(t, "down")
}

func TestHubEndsWithALostListener(t *testing.T) {
	n := &loopback{}
	a, b, c := n.Listen(t), n.Listen(t), n.Listen(t)
	b.Close()
	h := NewHub(HubConfig{Store: a, Response: b, Request: c, Observer: newRecorder()})
	if err := h.Run(within(t, 10*time.Second)); err == nil || !strings.Contains(err.Error(), "PULL port") {
		t.Fatalf("it ended with %v", err)
	}
}
