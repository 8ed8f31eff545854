package zmtp

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/raidpi/raidpi/internal/budget"
	"github.com/raidpi/raidpi/internal/raid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tcpPair is the two ends of a TCP connection on loopback.
func tcpPair(t testing.TB) (near, far net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if near, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close(); far.Close() })
	return near, far
}

// shake makes a connection of each of two ends; the first one is the connecting side.
func shake(t testing.TB, near, far net.Conn, a, b Config) (*Conn, *Conn) {
	t.Helper()
	type result struct {
		c   *Conn
		err error
	}
	bound := make(chan result)
	go func() {
		c, err := Accept(context.Background(), far, b)
		bound <- result{c, err}
	}()
	c, err := Connect(context.Background(), near, a)
	other := <-bound
	if err != nil || other.err != nil {
		t.Fatalf("connect: %v; accept: %v", err, other.err)
	}
	t.Cleanup(func() { c.Close(); other.c.Close() })
	return c, other.c
}

// pushPull is a PUSH that is connected to a PULL over TCP.
func pushPull(t testing.TB, pull Config) (push, pulled *Conn) {
	t.Helper()
	near, far := tcpPair(t)
	pull.Type = Pull
	return shake(t, near, far, Config{Type: Push}, pull)
}

// large is a Config that reads frames of up to 8 MiB.
func large() Config {
	return Config{
		Limits: Limits{MaxFrame: 8 << 20, MaxMessage: 9 << 20},
		Pool:   budget.New(64 << 20),
	}
}

// pattern is n bytes that differ from place to place.
func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>8) ^ byte(i)*31 + seed
	}
	return b
}

func TestMessagesArriveAsTheyWereSent(t *testing.T) {
	cfg := large()
	push, pull := pushPull(t, cfg)
	messagesArrive(t, push, pull, cfg)
}

// messagesArrive sends messages of many sizes.
func messagesArrive(t *testing.T, push, pull *Conn, cfg Config) {
	t.Helper()
	sizes := []int{0, 1, 255, 256, 4096, 4097, 16 << 10, 16<<10 + 1, 64 << 10, 64<<10 + 1, 1 << 20, 5 << 20}
	sent := make(chan error, 1)
	go func() {
		for i, n := range sizes {
			if err := push.Send(t.Context(), pattern(n, byte(i))); err != nil {
				sent <- err
				return
			}
			if err := push.Send(t.Context(), []byte("head"), nil, pattern(n, byte(i))); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i, n := range sizes {
		for _, frames := range []int{1, 3} {
			m, err := pull.Receive(nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(m.Frames) != frames || !bytes.Equal(m.Frames[frames-1], pattern(n, byte(i))) {
				t.Fatalf("%d frames of up to %d bytes arrived as %d frames, or with other bytes", frames, n, len(m.Frames))
			}
			if frames == 3 && (string(m.Frames[0]) != "head" || m.Frames[1] == nil || len(m.Frames[1]) != 0) {
				t.Fatalf("small frames arrived as %q", m.Frames[:2])
			}
			m.Release()
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if cfg.Pool.InUse() != 0 {
		t.Fatalf("%d bytes of the budget are still held", cfg.Pool.InUse())
	}
}

func TestSinkSaysWhereFramesGo(t *testing.T) {
	push, pull := pushPull(t, large())
	body := pattern(1<<20, 1)
	go func() {
		for range 2 {
			_ = push.Send(t.Context(), []byte("head"), body)
		}
		_ = push.Send(t.Context(), []byte("last"))
	}()
	dst := make([]byte, len(body))
	m, err := pull.Receive(func(prev [][]byte, size int64) ([]byte, error) {
		if len(prev) != 1 || string(prev[0]) != "head" || size != int64(len(body)) {
			t.Errorf("sink got %d frames and size %d", len(prev), size)
		}
		return dst, nil
	})
	if err != nil || !bytes.Equal(dst, body) || &m.Frames[1][0] != &dst[0] {
		t.Fatalf("the frame is not where the sink wanted it: %v", err)
	}
	m, err = pull.Receive(func([][]byte, int64) ([]byte, error) { return nil, nil })
	if err != nil || len(m.Frames) != 2 || m.Frames[1] != nil {
		t.Fatalf("the frame was not thrown away: %v", err)
	}
	if m, err = pull.Receive(nil); err != nil || string(m.Frames[0]) != "last" {
		t.Fatalf("after a frame thrown away: %v", err)
	}
}

func TestPropertiesAndIdentityOfPeersAreVisible(t *testing.T) {
	near, far := tcpPair(t)
	a := Config{Type: Push, Properties: Properties{"raid-v": "1", "raid-node": "n1"}}
	b := Config{Type: Pull, Properties: Properties{"raid-v": "2"}, Admit: func(p Peer) (Properties, error) {
		if p.Type != Push || p.Properties["raid-node"] != "n1" || p.Addr == nil {
			t.Errorf("admit sees %+v", p)
		}
		return Properties{"raid-array": "a1"}, nil
	}}
	push, pull := shake(t, near, far, a, b)
	if p := push.Peer(); p.Type != Pull || p.Properties["raid-v"] != "2" || p.Properties["raid-array"] != "a1" {
		t.Errorf("the connecting side sees %+v", p)
	}
	if p := pull.Peer(); p.Properties["raid-v"] != "1" || p.Addr.String() != near.LocalAddr().String() {
		t.Errorf("the binding side sees %+v", p)
	}
	if b.Properties["raid-array"] != "" {
		t.Error("the Config's own properties were changed")
	}
}

func TestRefusalReachesTheConnectingSideInWords(t *testing.T) {
	near, far := tcpPair(t)
	why := errors.New("this node belongs to another array")
	accepted := make(chan error, 1)
	go func() {
		_, err := Accept(context.Background(), far, Config{Type: Pull, Admit: func(Peer) (Properties, error) { return nil, why }})
		accepted <- err
	}()
	_, err := Connect(t.Context(), near, Config{Type: Push})
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Reason != why.Error() || !errors.Is(err, ErrRefused) {
		t.Errorf("the connecting side got %v", err)
	}
	if err := <-accepted; !errors.Is(err, why) {
		t.Errorf("the binding side got %v", err)
	}
}

func TestCloseEndsEverythingOnBothSides(t *testing.T) {
	push, pull := pushPull(t, Config{})
	received := make(chan error, 1)
	go func() {
		_, err := pull.Receive(nil)
		received <- err
	}()
	push.Close()
	if err := <-received; !errors.Is(err, raid.ErrPeerGone) {
		t.Errorf("receive: %v", err)
	}
	<-pull.Done()
	if err := push.Send(t.Context(), []byte("x")); !errors.Is(err, raid.ErrPeerGone) || !errors.Is(err, ErrClosed) {
		t.Errorf("send after close: %v", err)
	}
	if _, err := push.Receive(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("receive after close: %v", err)
	}
	if push.SilentFor() < 0 || push.SilentFor() > time.Minute {
		t.Errorf("silent for %v", push.SilentFor())
	}
}
