package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/cluster"
)

// greeting is ZMTP 3.0's, of a client with the NULL mechanism
// (rfc.zeromq.org/spec/23).
func greeting() []byte {
	g := make([]byte, 64)
	g[0], g[9], g[10] = 0xff, 0x7f, 3
	copy(g[12:], "NULL")
	return g
}

// ready is a READY command with the given properties, as raw bytes.
func ready(properties []byte) []byte {
	body := append([]byte("\x05READY"), properties...)
	return append([]byte{0x04, byte(len(body))}, body...)
}

func property(name, value string) []byte {
	p := append([]byte{byte(len(name))}, name...)
	p = binary.BigEndian.AppendUint32(p, uint32(len(value)))
	return append(p, value...)
}

// frame is the head of a long frame that announces so many bytes.
func frame(flags byte, length uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{flags | 0x02}, length)
}

// strangers are byte streams that no peer of ours would send, by what is wrong
// with them.
func strangers() map[string][]byte {
	noise := make([]byte, 64<<10)
	rand.Read(noise) // never fails
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	pull := ready(property("Socket-Type", "PULL"))
	push := ready(property("Socket-Type", "PUSH"))
	sub := ready(property("Socket-Type", "SUB"))
	all := map[string][]byte{
		"nothing":                    nil,
		"half a greeting":            greeting()[:20],
		"noise":                      noise,
		"noise after the greeting":   join(greeting(), noise),
		"a TLS hello":                join([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), noise[:500]),
		"HTTP without end":           join([]byte("POST /files HTTP/1.1\r\nHost: localhost\r\nX-Long: "), bytes.Repeat([]byte("a"), 2*mib)),
		"HTTP that stops":            []byte("POST /files?filename=x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nabc"),
		"HTTP with a lie":            []byte("POST /files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n"),
		"a property past its end":    join(greeting(), ready([]byte("\xffSocket-Type\x00\x00\x00\x04PULL"))),
		"a property of 4 GiB":        join(greeting(), ready([]byte("\x0bSocket-Type\xff\xff\xff\xffPULL"))),
		"READY of 2^60 bytes":        join(greeting(), frame(0x04, 1<<60)),
		"no READY but a message":     join(greeting(), []byte("\x00\x05hello")),
		"a socket type out of place": join(greeting(), ready(property("Socket-Type", "REQ"))),
		"an unknown socket type":     join(greeting(), ready(property("Socket-Type", "\x00\xff"))),
		"another mechanism":          bytes.Replace(greeting(), []byte("NULL"), []byte("CURV"), 1),
		"a native peer's lies": join(greeting(), ready(join(property("Socket-Type", "PUSH"),
			property("X-Raid-V", "99999999999"), property("X-Raid-Node", "../../etc"), property("X-Raid-Session", "\n")))),
	}
	for name, hello := range map[string][]byte{"PULL": pull, "PUSH": push, "SUB": sub} {
		all["a frame of 2^60 bytes as "+name] = join(greeting(), hello, frame(0, 1<<60))
		all["a frame of 1 GiB as "+name] = join(greeting(), hello, frame(0, 1<<30), noise)
		all["a negative length as "+name] = join(greeting(), hello, frame(0, 1<<63+5))
		all["MORE without end as "+name] = join(greeting(), hello, bytes.Repeat([]byte("\x01\x04more"), 100_000))
		all["PINGs without end as "+name] = join(greeting(), hello, bytes.Repeat([]byte("\x04\x07\x04PING\x00\x00"), 50_000))
		all["a bad command as "+name] = join(greeting(), hello, []byte("\x04\x05\xffPING"))
		all["noise as messages as "+name] = join(greeting(), hello, []byte("\x01\xff"), noise[:255], []byte("\x00\xff"), noise[:255])
	}
	return all
}

// visit sends the bytes, keeps the connection for a while and reads what comes.
func visit(ctx context.Context, addr string, say []byte, stay time.Duration) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return // a full house may well refuse
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(stay))
	go func() { // ends at the deadline or when the connection is closed
		_, _ = io.Copy(io.Discard, nc)
	}()
	_, _ = nc.Write(say)
	select {
	case <-ctx.Done():
	case <-time.After(stay):
	}
}

func (a *array) doors() map[string]string {
	return map[string]string{
		"http": cluster.Loopback(a.Ports.HTTP), "store": cluster.Loopback(a.Ports.Store),
		"response": cluster.Loopback(a.Ports.Response), "request": cluster.Loopback(a.Ports.Request),
	}
}

// keepsWorking uploads and downloads with some clients until done is closed,
// and fails at the first error.
func (a *array) keepsWorking(done <-chan struct{}, clients int, sizes ...int64) (stop func()) {
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				c := content(sizes[(client+i)%len(sizes)])
				if err := a.roundTrip(c); err != nil {
					a.t.Error(err)
					return
				}
			}
		})
	}
	return wg.Wait
}

func (a *array) roundTrip(c cluster.Content) error {
	began := time.Now()
	created, err := a.API.Upload(a.t.Context(), fmt.Sprintf("trip-%d", c.Seed), c.Reader(), c.Size)
	if err != nil {
		return fmt.Errorf("upload %d bytes: %w", c.Size, err)
	}
	if err := a.compare(created.ID, c); err != nil {
		return err
	}
	if err := a.API.Delete(a.t.Context(), created.ID); err != nil {
		return err
	}
	if took := time.Since(began); took > longestStall {
		return fmt.Errorf("upload, download and delete of %d bytes took %v, want at most %v", c.Size, took, longestStall)
	}
	return nil
}

func TestStrangersDisturbNobody(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 4})
	done := make(chan struct{})
	wait := a.keepsWorking(done, 2, 0, 100, 300_000, 5*mib)

	var visits sync.WaitGroup
	for name, addr := range a.doors() {
		visits.Go(func() { // one door after the other would take too long
			for what, say := range strangers() {
				var pair sync.WaitGroup
				for range 4 {
					pair.Go(func() { visit(t.Context(), addr, say, 300*time.Millisecond) })
				}
				pair.Wait()
				if a.Controller.Pid() == 0 {
					t.Errorf("%s on the %s port ended the controller", what, name)
					return
				}
			}
		})
	}
	visits.Wait()
	for name, addr := range a.doors() {
		var crowd sync.WaitGroup
		for range 1000 {
			crowd.Go(func() { visit(t.Context(), addr, nil, 2*time.Second) })
		}
		crowd.Wait()
		if a.Controller.Pid() == 0 {
			t.Fatalf("1,000 connections to the %s port ended the controller", name)
		}
	}
	close(done)
	wait()
	a.must(a.WaitReady(t.Context(), 4))
	a.staysUnder("strangers on all ports", controllerCeiling, nodeCeiling)
	a.becomesWhole()
}

// 1,000 connections announce the largest message, send half of it and wait.
func TestHalfSentMessagesTakeNoMemory(t *testing.T) {
	t.Parallel()
	a := start(t, cluster.Config{Nodes: 4})
	half := bytes.Join([][]byte{
		greeting(), ready(property("Socket-Type", "PUSH")),
		{0x01, 8}, []byte("12345678"), frame(0, 2*mib), make([]byte, mib),
	}, nil)
	var crowd sync.WaitGroup
	for range 1000 {
		crowd.Go(func() { visit(t.Context(), cluster.Loopback(a.Ports.Response), half, 4*time.Second) })
	}
	crowd.Wait()
	a.must(a.WaitReady(t.Context(), 4))
	c := content(mib)
	a.check(a.upload(c).ID, c)
	a.staysUnder("1,000 half-sent messages", 3*controllerCeiling/2, nodeCeiling)
}
