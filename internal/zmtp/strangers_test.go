package zmtp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/budget"
)

// greeting is a well-formed greeting of ZMTP 3.minor.
func greeting(minor byte) []byte {
	g := make([]byte, greetingSize)
	g[0], g[8], g[9], g[10], g[11] = 0xFF, 1, 0x7F, 3, minor
	copy(g[12:], "NULL")
	return g
}

// property is a READY's property on the wire.
func property(key, value string) []byte {
	b := append([]byte{byte(len(key))}, key...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
	return append(b, value...)
}

func ready(properties ...[]byte) []byte { return appendCommand(nil, cmdReady, properties...) }

// hello is all that a stranger needs to say to be let in as a PUSH.
func hello() []byte { return append(greeting(1), ready(property("Socket-Type", "PUSH"))...) }

// stranger dials addr, says hello as a PUSH and reads our half of the handshake.
func stranger(t testing.TB, addr string) net.Conn {
	t.Helper()
	nc := dial(t, addr)
	if _, err := nc.Write(hello()); err != nil {
		t.Fatal(err)
	}
	in := newInbound(nc, time.Minute)
	if err := in.fill(greetingSize); err != nil {
		t.Fatal(err)
	}
	in.next(greetingSize)
	h, err := in.readHeader()
	if err != nil || !h.command || in.fill(int(h.size)) != nil {
		t.Fatalf("no READY from us: %v", err)
	}
	return nc
}

// outcomes is a server of PULL connections that reports how each one ended.
func outcomes(t testing.TB, cfg Config) (addr string, ended chan error) {
	ended = make(chan error, 2000)
	cfg.Type = Pull
	addr = serve(t, ServerConfig{
		Config:        func(net.Conn) Config { return cfg },
		MaxHandshakes: 2000,
		MaxConns:      2000,
		Handle: func(_ context.Context, c *Conn) {
			for {
				m, err := c.Receive(nil)
				if err != nil {
					ended <- c.Err()
					return
				}
				m.Release()
			}
		},
	})
	return addr, ended
}

// frame is a frame on the wire, of which only the given body is sent.
func frame(flags byte, size uint64, body string) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{flags | flagLong}, size), body...)
}

func TestFramesOfStrangersEndTheirConnectionAlone(t *testing.T) {
	cfg := Config{Limits: Limits{MaxFrame: 1 << 20, MaxMessage: 1500 << 10}, Pool: budget.New(8 << 20)}
	addr, ended := outcomes(t, cfg)
	hasty := cfg
	hasty.ProgressTimeout = 200 * time.Millisecond
	hastyAddr, hastyEnded := outcomes(t, hasty)
	bystander := connect(t, addr, Config{Type: Push})
	mb := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct {
		sent []byte
		want error
	}{
		"giant":               {[]byte{2, 0x10, 0, 0, 0, 0, 0, 0, 0}, ErrProtocol},
		"all ones":            {bytes.Repeat([]byte{0xFF}, 9), ErrProtocol},
		"negative":            {frame(0, 1<<63, ""), ErrProtocol},
		"one over the limit":  {frame(0, 1<<20+1, mb), ErrProtocol},
		"reserved flag":       {[]byte{8, 0}, ErrProtocol},
		"endless MORE":        {bytes.Repeat([]byte{1, 1, 'x'}, 1000), ErrProtocol},
		"endless empty MORE":  {bytes.Repeat([]byte{1, 0}, 1000), ErrProtocol},
		"too much together":   {append(frame(flagMore, 1<<20, mb), frame(0, 1<<20, mb)...), ErrProtocol},
		"command with MORE":   {[]byte{5, 5, 4, 'P', 'I', 'N', 'G'}, ErrProtocol},
		"giant command":       {frame(flagCommand, maxCommand+1, mb), ErrProtocol},
		"empty command":       {[]byte{4, 0}, ErrProtocol},
		"nameless command":    {[]byte{4, 1, 0}, ErrProtocol},
		"command's name long": {[]byte{4, 3, 200, 'A', 'B'}, ErrProtocol},
		"PING without TTL":    {appendCommand(nil, cmdPing), ErrProtocol},
		"PING of much":        {appendCommand(nil, cmdPing, make([]byte, 19)), ErrProtocol},
		"late ERROR":          {appendCommand(nil, cmdError, []byte("\x03bye")), ErrRefused},
		"cut off in a header": {[]byte{2, 0}, ErrSilent},
		"cut off in a body":   {[]byte{0, 9, 'x'}, ErrSilent},
		"cut off at MORE":     {[]byte{1, 1, 'x'}, ErrSilent},
		"cut off, large":      {frame(0, 1<<20, mb[:1<<19]), ErrSilent},
		"PINGs in a message":  {append([]byte{1, 1, 'x'}, bytes.Repeat(appendCommand(nil, cmdPing, []byte{0, 0}), 99)...), ErrSilent},
		"closed in a message": {nil, io.ErrUnexpectedEOF},
		"closed between them": {[]byte{0, 1, 'x'}, io.EOF},
	} {
		addr, ended := addr, ended
		if c.want == ErrSilent {
			addr, ended = hastyAddr, hastyEnded
		}
		nc := stranger(t, addr)
		if name == "closed in a message" {
			c.sent = []byte{0, 9, 'x'}
		}
		_, _ = nc.Write(c.sent)
		if strings.HasPrefix(name, "closed") {
			nc.Close()
		}
		select {
		case err := <-ended:
			if !errors.Is(err, c.want) {
				t.Errorf("%s: ended with %v, want %v", name, err, c.want)
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s: still connected", name)
		}
		nc.Close()
	}
	if err := bystander.Send(t.Context(), []byte("still here")); err != nil {
		t.Error(err)
	}
	if cfg.Pool.InUse() != 0 {
		t.Errorf("%d bytes of the budget are still held", cfg.Pool.InUse())
	}
}

func TestCommandsOfLaterVersionsAreTolerated(t *testing.T) {
	near, far := tcpPair(t)
	go func() { _, _ = near.Write(hello()) }()
	c, err := Accept(t.Context(), far, Config{Type: Pull})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var b []byte
	b = appendCommand(b, "SUBSCRIBE", []byte("topic"))
	b = append(b, 1, 1, 'a')
	b = appendCommand(b, cmdPong, []byte("context"))
	b = appendCommand(b, "NEWS", make([]byte, 4000))
	b = append(b, 0, 1, 'b')
	_, _ = near.Write(b)
	m, err := c.Receive(nil)
	if err != nil || len(m.Frames) != 2 || string(m.Frames[0])+string(m.Frames[1]) != "ab" {
		t.Fatalf("got %v, %v", m, err)
	}
}

func TestSmallFramesCannotTrickleForEver(t *testing.T) {
	addr, ended := outcomes(t, Config{ProgressTimeout: 200 * time.Millisecond})
	nc := stranger(t, addr)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = nc.Write([]byte{0, 200})
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond): // progress, but what progress
				_, _ = nc.Write([]byte{'x'})
			}
		}
	})
	select {
	case err := <-ended:
		if !errors.Is(err, ErrSilent) {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("still connected")
	}
	close(stop)
	wg.Wait()
}

// heap is the memory in use after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

func TestHalfSentFramesHoldNoMemoryBeyondTheBudget(t *testing.T) {
	const (
		strangers = 1000
		size      = 1 << 20
		limit     = 64 << 20
		each      = 64 << 10 // buffers and goroutines of both ends, generously
	)
	pool := budget.New(limit)
	addr, ended := outcomes(t, Config{
		Limits: Limits{MaxFrame: size, MaxMessage: size}, Pool: pool, ProgressTimeout: 500 * time.Millisecond,
	})
	before := heap()
	part := bytes.Repeat([]byte{'x'}, readBuffer)
	var most, worst int64
	look := func() {
		most, worst = max(most, pool.InUse()), max(worst, heap()-before)
	}
	for i := range strangers {
		nc := stranger(t, addr)
		body := part
		if i%2 == 0 {
			body = nil // announced, and not a byte of it
		}
		_, _ = nc.Write(frame(0, size, string(body)))
		if i%100 == 99 {
			look()
		}
	}
	for i := range strangers {
		select {
		case err := <-ended:
			if !errors.Is(err, ErrSilent) && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("stranger %d ended with %v", i, err)
			}
		case <-time.After(60 * time.Second):
			t.Fatalf("%d strangers are still connected", strangers-i)
		}
		if i%100 == 99 {
			look()
		}
	}
	if most > limit || most == 0 {
		t.Errorf("%d bytes of a budget of %d were taken", most, limit)
	}
	if worst > limit+strangers*each {
		t.Errorf("%d MiB more than before were in use", worst>>20)
	}
	t.Logf("at most %d MiB of the budget, %d MiB in all", most>>20, worst>>20)
	c := connect(t, addr, Config{Type: Push})
	if err := c.Send(t.Context(), make([]byte, size)); err != nil || pool.InUse() > limit {
		t.Errorf("after the strangers: %v", err)
	}
}

func TestAnnouncedFramesTakeNothingFromTheBudget(t *testing.T) {
	cfg := large()
	addr, _ := outcomes(t, cfg)
	for range 8 {
		_, _ = stranger(t, addr).Write(frame(0, 8<<20, string(make([]byte, readBuffer-1))))
	}
	for range 20 {
		if n := cfg.Pool.InUse(); n != 0 {
			t.Fatalf("%d bytes were taken for frames that have not come", n)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestLargeFramesWithoutABudgetAreRefused(t *testing.T) {
	addr, ended := outcomes(t, Config{Limits: Limits{MaxFrame: 1 << 20}})
	c := connect(t, addr, Config{Type: Push})
	_ = c.Send(t.Context(), make([]byte, 1<<20))
	if err := <-ended; !errors.Is(err, ErrProtocol) {
		t.Fatalf("got %v", err)
	}
}

func TestWaitingForMemoryIsNotThePeersSilence(t *testing.T) {
	cfg := large()
	cfg.Pool = budget.New(2 << 20)
	cfg.PingTimeout = 300 * time.Millisecond
	hold := cfg.Pool.Get(2 << 20)
	push, pull := pushPull(t, cfg)
	sent := make(chan error, 1)
	go func() { sent <- push.Send(t.Context(), pattern(1<<20, 1)) }()
	time.AfterFunc(time.Second, hold.Release)
	m, err := pull.Receive(nil)
	if err != nil || !bytes.Equal(m.Frames[0], pattern(1<<20, 1)) {
		t.Fatalf("after a wait for memory: %v", err)
	}
	m.Release()
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}
