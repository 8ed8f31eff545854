package zmtp

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/zmtp/memnet"
)

// shaker makes connections as shake does.
type shaker func(t testing.TB, near, far net.Conn, a, b Config) (*Conn, *Conn)

// inBubbles runs f in a bubble outside of TLS and in one inside.
func inBubbles(t *testing.T, f func(t *testing.T, shake shaker)) {
	t.Run("plain", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, shake) }) })
	t.Run("TLS", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { f(t, shakeInTLS) }) })
}

// memPair is the two ends of a connection in memory.
func memPair() (near, far *memnet.Conn) { return memnet.Pipe("near:1", "far:1", 64<<10) }

func TestHandshakeEndsInTime(t *testing.T) {
	for name, said := range map[string][]byte{"nothing": nil, "a greeting": greeting(0), "half a READY": hello()[:80]} {
		synctest.Test(t, func(t *testing.T) {
			near, far := memPair()
			defer far.Close()
			_, _ = far.Write(said)
			start := time.Now()
			_, err := Connect(context.Background(), near, Config{Type: Pull})
			if !errors.Is(err, ErrSilent) || time.Since(start) != defaultHandshake {
				t.Errorf("a peer that says %s: %v after %v", name, err, time.Since(start))
			}
		})
	}
}

func TestIdlePeersThatAnswerAreKept(t *testing.T) {
	inBubbles(t, func(t *testing.T, shake shaker) {
		near, far := memPair()
		cfg := Config{Type: Push, PingEvery: 2 * time.Second, PingTimeout: 7 * time.Second}
		push, pull := shake(t, near, far, cfg, Config{Type: Pull})
		listen(t, push)
		listen(t, pull)
		time.Sleep(time.Minute)
		if push.Err() != nil || push.SilentFor() > 2*time.Second {
			t.Fatalf("an answering peer was given up: %v, silent for %v", push.Err(), push.SilentFor())
		}
	})
}

func TestSilenceEndsAConnection(t *testing.T) {
	inBubbles(t, func(t *testing.T, shake shaker) {
		near, far := memPair()
		cfg := Config{Type: Push, PingEvery: 2 * time.Second, PingTimeout: 7 * time.Second}
		push, _ := shake(t, near, far, cfg, Config{Type: Pull}) // whose Receive nobody calls
		start := time.Now()
		if _, err := push.Receive(nil); !errors.Is(err, ErrSilent) || !errors.Is(err, raid.ErrPeerGone) {
			t.Errorf("receive: %v", err)
		}
		if d := time.Since(start); d != 7*time.Second {
			t.Errorf("given up after %v", d)
		}
	})
}

// A node that serves downloads over a slow line hears nothing but the answers to its
// PINGs on that connection.
func TestBusySendersAskAndAreAnswered(t *testing.T) {
	inBubbles(t, func(t *testing.T, shake shaker) {
		near, far := memPair()
		cfg := Config{Type: Push, PingEvery: 2 * time.Second, PingTimeout: 7 * time.Second}
		push, pull := shake(t, near, far, cfg, Config{Type: Pull, Limits: Limits{MaxFrame: 1 << 20, MaxMessage: 1 << 20, MaxFrames: 1, FreeFrame: 1 << 20}})
		listen(t, push)
		var receiver sync.WaitGroup
		receiver.Go(func() {
			for {
				if _, err := pull.Receive(nil); err != nil {
					return
				}
				time.Sleep(500 * time.Millisecond)
			}
		})
		var senders sync.WaitGroup
		for range 3 { // somebody always waits to send
			senders.Go(func() {
				for push.Send(context.Background(), make([]byte, 128<<10)) == nil {
				}
			})
		}
		longest := time.Duration(0)
		for range 2_000 {
			time.Sleep(100 * time.Millisecond)
			longest = max(longest, push.SilentFor())
		}
		if push.Err() != nil || longest > 5*time.Second {
			t.Errorf("the peer was given up: %v; longest silence %v", push.Err(), longest)
		}
		push.Close()
		pull.Close()
		senders.Wait()
		receiver.Wait()
	})
}

func TestQuietConnectionsNeedNoPings(t *testing.T) {
	inBubbles(t, func(t *testing.T, shake shaker) {
		near, far := memPair()
		push, pull := shake(t, near, far, Config{Type: Push}, Config{Type: Pull})
		got := make(chan error, 1)
		go func() {
			_, err := pull.Receive(nil)
			got <- err
		}()
		time.Sleep(24 * time.Hour)
		if pull.SilentFor() != 24*time.Hour {
			t.Errorf("silent for %v", pull.SilentFor())
		}
		if err := push.Send(context.Background(), []byte("good morning")); err != nil {
			t.Error(err)
		}
		if err := <-got; err != nil {
			t.Error(err)
		}
	})
}

func TestBytesInTheMiddleOfAFrameAreALifeSign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := memPair()
		go func() { _, _ = near.Write(append(hello(), frame(0, 1<<20, "")...)) }()
		cfg := large()
		cfg.Type = Pull
		c, err := Accept(context.Background(), far, cfg)
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		go func() {
			_, err := c.Receive(nil)
			got <- err
		}()
		for range 16 {
			time.Sleep(time.Second)
			_, _ = near.Write(make([]byte, 64<<10))
			synctest.Wait()
			if c.SilentFor() != 0 {
				t.Fatalf("silent for %v while bytes arrive", c.SilentFor())
			}
		}
		if err := <-got; err != nil {
			t.Error(err)
		}
		c.Close()
	})
}

func TestPeerThatNeverReadsStallsSendForABoundedTime(t *testing.T) {
	inBubbles(t, func(t *testing.T, shake shaker) {
		near, far := memPair()
		push, _ := shake(t, near, far, Config{Type: Push}, Config{Type: Pull})
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		start := time.Now()
		err := push.Send(ctx, make([]byte, 2_000_000))
		if !errors.Is(err, raid.ErrPeerGone) || push.Err() == nil {
			t.Errorf("send: %v", err)
		}
		if d := time.Since(start); d < 7*time.Second || d > 8*time.Second {
			t.Errorf("stalled for %v: not WriteTimeout and 2 s for 2 MB", d)
		}
		if err := push.Send(context.Background(), []byte("x")); !errors.Is(err, raid.ErrPeerGone) {
			t.Errorf("after a write that failed: %v", err)
		}
	})
}

func TestQueuedSendLeavesWithItsContext(t *testing.T) {
	inBubbles(t, func(t *testing.T, shake shaker) {
		near, far := memPair()
		push, pull := shake(t, near, far, Config{Type: Push}, Config{Type: Pull, Limits: Limits{MaxFrame: 200 << 10, FreeFrame: 200 << 10}})
		first := make(chan error, 1)
		go func() { first <- push.Send(context.Background(), make([]byte, 200<<10)) }()
		synctest.Wait() // it is being written, and stuck
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		start := time.Now()
		if err := push.Send(ctx, []byte("never")); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("a queued send: %v after %v", err, time.Since(start))
		}
		ctx, cancel = context.WithCancel(context.Background())
		cancel()
		if err := push.Send(ctx, []byte("never")); !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled send: %v", err)
		}
		go func() { _ = push.Send(context.Background(), []byte("last")) }()
		for _, want := range []int{200 << 10, 4} {
			if m, err := pull.Receive(nil); err != nil || len(m.Frames[0]) != want {
				t.Fatalf("received %v, %v", m, err)
			}
		}
		if err := <-first; err != nil {
			t.Error(err)
		}
	})
}

func TestFramesAreTheCallersAgainAfterSend(t *testing.T) {
	cfg := large()
	push, pull := pushPull(t, cfg)
	clean := bytes.Repeat([]byte{0x55}, 300<<10)
	var arrived atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, err := pull.Receive(nil)
			if err != nil {
				return
			}
			for _, f := range m.Frames {
				if !bytes.Equal(f, clean[:len(f)]) {
					t.Error("a byte arrived that was written after Send had returned")
				}
			}
			arrived.Add(1)
			m.Release()
			if rand.IntN(8) == 0 {
				time.Sleep(time.Millisecond)
			}
		}
	}()
	var sent atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 80 {
				f := bytes.Clone(clean[:rand.IntN(len(clean))])
				g := bytes.Clone(clean[:rand.IntN(3000)])
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(3000))*time.Microsecond)
				if push.Send(ctx, g, f) == nil {
					sent.Add(1)
				}
				cancel()
				clear(f)
				clear(g)
			}
		})
	}
	wg.Wait()
	for end := time.Now().Add(10 * time.Second); arrived.Load() < sent.Load() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	push.Close()
	<-done
	if arrived.Load() != sent.Load() || sent.Load() == 0 || sent.Load() == 8*80 {
		t.Errorf("%d messages of %d arrived, of %d tried", arrived.Load(), sent.Load(), 8*80)
	}
}

func TestSendEndsWithTheConnection(t *testing.T) {
	near, far := tcpPair(t)
	push, _ := shake(t, near, far, Config{Type: Push}, Config{Type: Pull})
	const senders = 5
	failed := make(chan error, senders)
	for range senders {
		go func() { failed <- push.Send(context.Background(), make([]byte, 64<<20)) }()
	}
	time.Sleep(50 * time.Millisecond)
	push.Close()
	for range senders {
		if err := <-failed; !errors.Is(err, raid.ErrPeerGone) || !errors.Is(err, ErrClosed) {
			t.Errorf("send: %v", err)
		}
	}
}

func TestPongsStayBetweenMessages(t *testing.T) {
	t.Run("TCP", func(t *testing.T) {
		near, far := tcpPair(t)
		pongsStayBetweenMessages(t, near, far, nil, 250)
	})
	// Where a write is taken in pieces, a second writer would show at once.
	t.Run("memory", func(t *testing.T) {
		near, far := memPair()
		pongsStayBetweenMessages(t, near, far, nil, 100)
	})
	t.Run("TLS", func(t *testing.T) {
		near, far := tcpPair(t)
		ca := newAuthority(t)
		pongsStayBetweenMessages(t, tls.Client(near, ca.client("node")), far, ca.server(), 100)
	})
}

// pongsStayBetweenMessages reads our stream byte by byte while it floods us
// with PINGs.
func pongsStayBetweenMessages(t *testing.T, near, far net.Conn, server *tls.Config, count int) {
	go func() { _, _ = near.Write(append(greeting(1), ready(property("Socket-Type", "PULL"))...)) }()
	push, err := Accept(t.Context(), far, Config{Type: Push, TLS: server})
	if err != nil {
		t.Fatal(err)
	}
	listen(t, push)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { flood(near, stop) })
	wg.Go(func() { sendNumbered(t, push, count, []int{10, 5000, 300_000, 70_000, 0}) })
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { near.Close() })

	in := newInbound(near, time.Minute)
	if err := in.fill(greetingSize); err != nil {
		t.Fatal(err)
	}
	in.next(greetingSize)
	pongs := 0
	for i, part := -1, 0; i < count; {
		h, err := in.readHeader()
		if err != nil {
			t.Fatal(err)
		}
		body := make([]byte, h.size)
		if err := in.readFull(body); err != nil {
			t.Fatal(err)
		}
		switch {
		case h.command && i < 0:
			i = 0 // READY
		case h.command:
			if part != 0 || string(body) != "\x04PONGcontext" {
				t.Fatalf("command %.40q at frame %d of message %d", body, part, i)
			}
			pongs++
		case h.more:
			part++
		default:
			if !bytes.Equal(body, numbered(i, len(body))) {
				t.Fatalf("message %d has other bytes", i)
			}
			i, part = i+1, 0
		}
	}
	close(stop)
	if pongs == 0 {
		t.Error("no PING was answered")
	}
}

func flood(nc net.Conn, stop <-chan struct{}) {
	ping := appendCommand(nil, cmdPing, []byte{0, 10}, []byte("context"))
	for {
		select {
		case <-stop:
			return
		default:
			if _, err := nc.Write(bytes.Repeat(ping, 10)); err != nil {
				return
			}
		}
	}
}

// lag is a connection from which everything is read late, as behind a full send buffer.
type lag struct {
	net.Conn
	by *atomic.Int64 // time.Duration
}

func (l lag) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	time.Sleep(time.Duration(l.by.Load()))
	return n, err
}

// The figures are those of a node, whose PINGs are answered late when its downloads fill
// a slow line.
func TestSlowAnswersAreAnswers(t *testing.T) {
	for _, late := range []time.Duration{2 * time.Second, 4 * time.Second, 6 * time.Second} {
		inBubbles(t, func(t *testing.T, shake shaker) {
			near, far := memPair()
			var by atomic.Int64
			cfg := Config{Type: Push, PingEvery: 10 * time.Second, PingTimeout: 30 * time.Second}
			push, pull := shake(t, near, lag{far, &by}, cfg, Config{Type: Pull})
			listen(t, push)
			listen(t, pull)
			for i := range 300 {
				now := late + time.Duration(i)*10*time.Millisecond // it gets a little slower
				by.Store(int64(now))
				time.Sleep(time.Second)
				if push.Err() != nil {
					t.Fatalf("a peer whose answers take %v was given up after %d s: %v", now, i+1, push.Err())
				}
			}
		})
	}
}

// Connections with a common start of their timers give up at whole seconds from it.
func TestWriteDeadlinesComeTogether(t *testing.T) {
	inBubbles(t, func(t *testing.T, shake shaker) {
		from := time.Now()
		time.Sleep(300 * time.Millisecond)
		near, far := memPair()
		push, _ := shake(t, near, far, Config{Type: Push, TimersFrom: from}, Config{Type: Pull}) // who reads nothing
		start := time.Now()
		err := push.Send(context.Background(), make([]byte, 1<<20))
		if !errors.Is(err, raid.ErrPeerGone) {
			t.Errorf("sent to a peer that does not read: %v", err)
		}
		took := time.Since(start)
		if least := defaultWrite + (1<<20)*(time.Second/writeRate); took < least || took > least+time.Second {
			t.Errorf("given up after %v, want %v to a second more", took, least)
		}
		if past := time.Since(from) % time.Second; past != 0 {
			t.Errorf("given up %v after a whole second", past)
		}
	})
}

// slowLine lets 128 KiB through in a second.
type slowLine struct{ net.Conn }

func (l slowLine) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		part := p[:min(len(p), 16<<10)]
		time.Sleep(time.Duration(len(part)) * time.Second / (128 << 10))
		k, err := l.Conn.Write(part)
		if n += k; err != nil {
			return n, err
		}
		p = p[k:]
	}
	return n, nil
}

// While a large part is being written nobody is asked. The peer then has time to answer.
func TestLongWritesDoNotCostThePeer(t *testing.T) {
	for _, c := range []struct{ every, timeout time.Duration }{{6 * time.Second, 20 * time.Second}, {10 * time.Second, 30 * time.Second}} {
		inBubbles(t, func(t *testing.T, shake shaker) {
			near, far := memPair()
			var by atomic.Int64
			by.Store(int64(time.Millisecond))
			limits := Limits{MaxFrame: 4 << 20, MaxMessage: 4 << 20, MaxFrames: 1, FreeFrame: 4 << 20}
			cfg := Config{Type: Push, PingEvery: c.every, PingTimeout: c.timeout, WriteTimeout: time.Minute}
			push, pull := shake(t, slowLine{lag{near, &by}}, far, cfg, Config{Type: Pull, Limits: limits})
			listen(t, push)
			listen(t, pull)
			time.Sleep(7 * time.Second)
			payload := make([]byte, 4<<20) // 32 s
			for i := range 3 {
				if err := push.Send(context.Background(), payload); err != nil {
					t.Fatalf("message %d: %v", i+1, err)
				}
			}
		})
	}
}
