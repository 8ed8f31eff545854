package wire

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/wire/wirepb"
	"github.com/raidpi/raidpi/internal/zmtp"
)

// rawLab is one connection of a lab peer under the test's own hands.
func rawLab(t *testing.T, th *testHub, r role) *zmtp.Conn {
	t.Helper()
	c, err := rawConnect(t, th, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func send(t *testing.T, c *zmtp.Conn, frames ...[]byte) {
	t.Helper()
	if err := c.Send(within(t, 10*time.Second), frames...); err != nil {
		t.Fatal(err)
	}
}

// nextLabGet reads the next request that a SUB gets.
func nextLabGet(t *testing.T, c *zmtp.Conn) string {
	t.Helper()
	m, err := c.Receive(nil)
	if err != nil {
		t.Fatal(err)
	}
	var pb wirepb.GetdataRequest
	if err := proto.Unmarshal(m.Frames[0], &pb); err != nil || len(m.Frames) != 1 {
		t.Fatalf("%d frames, %v", len(m.Frames), err)
	}
	if plain := mustMarshal(t, &wirepb.GetdataRequest{Filename: pb.Filename}); !bytes.Equal(plain, m.Frames[0]) {
		t.Fatalf("a lab peer was told more than a name: %x", m.Frames[0])
	}
	return pb.Filename
}

// startLabGet starts a LabGet.
func startLabGet(t *testing.T, th *testHub, name raid.ChunkName, data []byte, patience time.Duration) <-chan error {
	done := make(chan error, 1)
	ctx := within(t, patience)
	go func() {
		done <- th.LabGet(ctx, name, int64(len(data)), make([]byte, len(data)), want(data))
	}()
	return done
}

func TestLabGetGoesToThoseWhoSubscribed(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	sub, other, push := rawLab(t, th, roleRequest), rawLab(t, th, roleRequest), rawLab(t, th, roleControl)
	data := randomBytes(1000)
	done := startLabGet(t, th, "chunk1", data, 10*time.Second)
	send(t, other, []byte("\x01no request begins so"))
	send(t, sub, []byte{1}) // while it is outstanding
	if name := nextLabGet(t, sub); name != "chunk1" {
		t.Fatalf("asked for %s", name)
	}
	send(t, push, []byte("chunk1"), data)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	send(t, sub, []byte{0}) // and unsubscribed again
	time.Sleep(50 * time.Millisecond)
	done = startLabGet(t, th, "chunk2", data, 200*time.Millisecond)
	wantError(t, <-done, raid.ErrExpired)
	send(t, sub, []byte{1})
	done = startLabGet(t, th, "chunk3", data, 300*time.Millisecond)
	if name := nextLabGet(t, sub); name != "chunk3" {
		t.Fatalf("asked for %s after subscribing anew", name)
	}
	wantError(t, <-done, raid.ErrExpired)
}

func TestLabGetFailsAfterSilenceOnly(t *testing.T) {
	th := startHub(t, &loopback{}, func(c *HubConfig) { c.LabGetTimeout = 300 * time.Millisecond })
	push := rawLab(t, th, roleControl)
	start := time.Now()
	done := startLabGet(t, th, "chunk1", []byte("x"), 20*time.Second)
	for range 8 { // answers to others are bytes too
		send(t, push, []byte("somebody else's"), []byte("data"))
		time.Sleep(100 * time.Millisecond)
	}
	wantError(t, <-done, raid.ErrNotFound)
	if d := time.Since(start); d < 1000*time.Millisecond || d > 5*time.Second {
		t.Fatalf("it failed after %v, want about 1.1 s", d)
	}
	wantNothingOutstanding(t, th)
}

func TestStrangeLabAnswersAreThrownAway(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	pull, push := rawLab(t, th, roleStore), rawLab(t, th, roleControl)
	n := th.events.next(t, "labup").lab
	stored := make(chan error, 1)
	go func() { stored <- n.Store(within(t, 20*time.Second), "chunk1", []byte("payload")) }()
	m, err := pull.Receive(nil)
	if err != nil || len(m.Frames) != 2 || string(m.Frames[1]) != "payload" {
		t.Fatalf("%v", err)
	}
	if plain := mustMarshal(t, &wirepb.StoredataRequest{Filename: "chunk1"}); !bytes.Equal(plain, m.Frames[0]) {
		t.Fatalf("a lab peer was told more than a name: %x", m.Frames[0])
	}
	data := []byte("the data")
	got := startLabGet(t, th, "chunk2", data, 20*time.Second)
	time.Sleep(50 * time.Millisecond)
	send(t, push, []byte("chunk2"))                                                   // an acknowledgement of what was asked for
	send(t, push, []byte("chunk1"), data)                                             // data of what was stored
	send(t, push, []byte("chunk2"), []byte("the Data"))                               // wrong bytes
	send(t, push, []byte("chunk2"), []byte("other size"))                             //
	send(t, push, []byte("chunk2"), make([]byte, 1<<20))                              // nobody asked for so much
	send(t, push, []byte("chunk3"), make([]byte, 1<<20))                              // nobody asked at all
	send(t, push, []byte{}, []byte{})                                                 //
	send(t, push, []byte{})                                                           //
	send(t, push, mustMarshal(t, &wirepb.Response{RequestId: 1, Filename: "chunk1"})) // a native answer
	select {
	case err := <-stored:
		t.Fatalf("a strange answer counted: %v", err)
	case err := <-got:
		t.Fatalf("a strange answer counted for data: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	send(t, push, []byte("chunk2"), data)
	send(t, push, []byte("chunk1"))
	send(t, push, []byte("chunk1"))
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	if err := <-stored; err != nil {
		t.Fatal(err)
	}
	wantNothingOutstanding(t, th)
}

func wantNothingOutstanding(t *testing.T, th *testHub) {
	t.Helper()
	th.labs.mu.Lock()
	defer th.labs.mu.Unlock()
	if len(th.labs.gets) != 0 || len(th.labs.stores) != 0 {
		t.Fatalf("%d gets and %d stores are kept", len(th.labs.gets), len(th.labs.stores))
	}
}

func TestLabPeerThatBreaksTheProtocolIsClosed(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	for name, f := range map[string]func() (*zmtp.Conn, [][]byte){
		"message on a PULL": func() (*zmtp.Conn, [][]byte) { return rawLab(t, th, roleStore), [][]byte{{1}} },
		"nonsense on a SUB": func() (*zmtp.Conn, [][]byte) { return rawLab(t, th, roleRequest), [][]byte{{9}} },
		"three frames":      func() (*zmtp.Conn, [][]byte) { return rawLab(t, th, roleControl), [][]byte{{1}, {2}, {3}} },
		"giant name":        func() (*zmtp.Conn, [][]byte) { return rawLab(t, th, roleControl), [][]byte{make([]byte, 70000)} },
		"giant name, data":  func() (*zmtp.Conn, [][]byte) { return rawLab(t, th, roleControl), [][]byte{make([]byte, 300), {1}} },
	} {
		c, frames := f()
		send(t, c, frames...)
		go func() { _, _ = c.Receive(nil) }()
		select {
		case <-c.Done():
		case <-time.After(10 * time.Second):
			t.Errorf("%s: the connection lives on", name)
		}
	}
	sub := rawLab(t, th, roleRequest)
	go func() {
		for i := range maxTopics + 1 {
			if sub.Send(t.Context(), []byte{1, byte(i)}) != nil {
				return
			}
		}
	}()
	if _, err := sub.Receive(nil); err == nil {
		t.Error("endless subscriptions are kept")
	}
}

func TestLabGetGivenUpMidwayDoesNotTouchItsDestinationLater(t *testing.T) {
	th := startHub(t, &loopback{}, func(c *HubConfig) { c.LabGetTimeout = 300 * time.Millisecond })
	push := rawLab(t, th, roleControl)
	data := randomBytes(8 << 20)
	dst := make([]byte, len(data))
	done := make(chan error, 1)
	go func() {
		done <- th.LabGet(within(t, 100*time.Millisecond), "chunk1", int64(len(data)), dst, want(data))
	}()
	time.Sleep(50 * time.Millisecond)
	go func() { _ = push.Send(t.Context(), []byte("chunk1"), data) }()
	if err := <-done; err == nil && !bytes.Equal(dst, data) {
		t.Fatal("the get succeeded with other bytes")
	}
	copied := bytes.Clone(dst)
	time.Sleep(100 * time.Millisecond)
	if !bytes.Equal(dst, copied) {
		t.Fatal("the destination was touched after the get had returned")
	}
}

func TestLabStoreOutstandingTwiceIsRefused(t *testing.T) {
	th := startHub(t, &loopback{}, nil)
	pull, push := rawLab(t, th, roleStore), rawLab(t, th, roleControl)
	n := th.events.next(t, "labup").lab
	first := make(chan error, 1)
	go func() { first <- n.Store(within(t, 10*time.Second), "chunk1", []byte("x")) }()
	if _, err := pull.Receive(nil); err != nil {
		t.Fatal(err)
	}
	wantError(t, n.Store(within(t, 10*time.Second), "chunk1", []byte("x")), raid.ErrInvalid)
	send(t, push, []byte("chunk1"))
	if err := <-first; err != nil || n.Outstanding() != 0 {
		t.Fatalf("%v, %d outstanding", err, n.Outstanding())
	}
}

// dropping is a lab node under the test's own hands: it takes every Store and
// acknowledges what it is told to.
func dropping(t *testing.T, th *testHub) (n *LabNode, push *zmtp.Conn) {
	t.Helper()
	pull := rawLab(t, th, roleStore)
	go func() {
		for {
			m, err := pull.Receive(nil)
			if err != nil {
				return
			}
			m.Release()
		}
	}()
	return th.events.next(t, "labup").lab, rawLab(t, th, roleControl)
}

func TestLabNodeThatDropsStoresIsNotBlockedByThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := startHub(t, &memory{}, realTimes)
		n, push := dropping(t, th)
		const size = 2 << 20 // four of them fill the window
		for i := range 8 {
			dropped, kept := make(chan error, 1), make(chan error, 1)
			ctx, stop := context.WithCancel(t.Context())
			go func() { dropped <- n.Store(ctx, raid.ChunkName(fmt.Sprintf("dropped%d", i)), make([]byte, size)) }()
			synctest.Wait()
			name := raid.ChunkName(fmt.Sprintf("kept%d", i))
			go func() { kept <- n.Store(t.Context(), name, make([]byte, size)) }()
			synctest.Wait()
			switch i % 3 {
			case 0: // both expire, and then the later one is acknowledged
				wantError(t, <-dropped, raid.ErrExpired)
				wantError(t, <-kept, raid.ErrExpired)
				if n.Healthy() || n.Outstanding() != 2*size {
					t.Fatalf("healthy %v, %d outstanding", n.Healthy(), n.Outstanding())
				}
				send(t, push, []byte(name))
			case 1: // the client of the dropped one leaves first
				stop()
				wantError(t, <-dropped, context.Canceled)
				send(t, push, []byte(name))
				if err := <-kept; err != nil {
					t.Fatal(err)
				}
			case 2: // or last
				send(t, push, []byte(name))
				if err := <-kept; err != nil {
					t.Fatal(err)
				}
				stop()
				wantError(t, <-dropped, context.Canceled)
			}
			stop()
			synctest.Wait()
			if !n.Healthy() || n.Outstanding() != 0 {
				t.Fatalf("round %d: healthy %v, %d bytes outstanding", i, n.Healthy(), n.Outstanding())
			}
		}
		wantNothingOutstanding(t, th)
	})
}

// A late acknowledgement must find what it acknowledges: nothing else could make
// the node healthy again.
func TestLateAcknowledgementCountsAfterALaterOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := startHub(t, &memory{}, realTimes)
		n, push := dropping(t, th)
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- n.Store(t.Context(), "first", []byte("x")) }()
		synctest.Wait()
		go func() { second <- n.Store(t.Context(), "second", []byte("y")) }()
		synctest.Wait()
		send(t, push, []byte("second"))
		if err := <-second; err != nil {
			t.Fatal(err)
		}
		wantError(t, <-first, raid.ErrExpired)
		if n.Healthy() {
			t.Fatal("it missed a deadline and gets more")
		}
		send(t, push, []byte("first"))
		synctest.Wait()
		if !n.Healthy() {
			t.Fatal("it answered, and yet it is passed over")
		}
		wantNothingOutstanding(t, th)
	})
}

func TestLabNodeWhoseWindowStaysFullHasMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := startHub(t, &memory{}, realTimes)
		n, push := dropping(t, th)
		results := make(chan error, 5)
		go func() { results <- n.Store(t.Context(), "early", nil) }()
		synctest.Wait()
		for i := range 4 {
			go func() {
				results <- n.Store(t.Context(), raid.ChunkName(fmt.Sprintf("dropped%d", i)), make([]byte, 2<<20))
			}()
		}
		for range 5 {
			wantError(t, <-results, raid.ErrExpired)
		}
		send(t, push, []byte("early")) // which tells nothing of those sent later
		synctest.Wait()
		if !n.Healthy() || n.Outstanding() != 8<<20 {
			t.Fatalf("healthy %v, %d bytes outstanding", n.Healthy(), n.Outstanding())
		}
		start := time.Now()
		wantError(t, n.Store(t.Context(), "next", []byte("x")), raid.ErrExpired)
		if d := time.Since(start).Round(time.Millisecond); d != 2*time.Second {
			t.Fatalf("gave up after %v", d)
		}
		if n.Healthy() {
			t.Fatal("nothing fits in its window, and it looks healthy")
		}
		wantError(t, n.Store(t.Context(), "another", []byte("x")), raid.ErrBusy)
	})
}
