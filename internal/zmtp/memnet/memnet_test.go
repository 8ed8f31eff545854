package memnet

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBytesArriveInOrderThroughASmallBuffer(t *testing.T) {
	a, b := Pipe("a:1", "b:1", 7)
	want := make([]byte, 10_000)
	for i := range want {
		want[i] = byte(i * 7)
	}
	go func() {
		for i := 0; i < len(want); i += 100 {
			if n, err := a.Write(want[i : i+100]); n != 100 || err != nil {
				t.Errorf("write: %d, %v", n, err)
			}
		}
		a.Close()
	}()
	got, err := io.ReadAll(b)
	if err != nil || string(got) != string(want) {
		t.Fatalf("%d bytes of %d: %v", len(got), len(want), err)
	}
}

func TestDeadlinesEndWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe("a:1", "b:1", 4)
		start := time.Now()
		_ = b.SetReadDeadline(start.Add(time.Second))
		if _, err := b.Read(make([]byte, 1)); !timeout(err) || time.Since(start) != time.Second {
			t.Errorf("read: %v after %v", err, time.Since(start))
		}
		if _, err := b.Read(make([]byte, 1)); !timeout(err) {
			t.Errorf("read after the deadline: %v", err)
		}
		_ = a.SetWriteDeadline(start.Add(3 * time.Second))
		if n, err := a.Write([]byte("12345678")); n != 4 || !timeout(err) || time.Since(start) != 3*time.Second {
			t.Errorf("write: %d, %v after %v", n, err, time.Since(start))
		}
		_ = b.SetReadDeadline(time.Time{})
		if n, err := b.Read(make([]byte, 8)); n != 4 || err != nil {
			t.Errorf("read without a deadline: %d, %v", n, err)
		}
		time.AfterFunc(time.Second, func() { _ = b.SetDeadline(time.Unix(1, 0)) })
		if _, err := b.Read(make([]byte, 1)); !timeout(err) {
			t.Errorf("read with a deadline set meanwhile: %v", err)
		}
	})
}

func timeout(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) && errors.As(err, &ne) && ne.Timeout()
}

func TestClosingIsAsWithTCP(t *testing.T) {
	a, b := Pipe("a:1", "b:1", 100)
	_, _ = a.Write([]byte("last words"))
	_ = a.CloseWrite()
	_, _ = b.Write([]byte("answer"))
	if got, err := io.ReadAll(b); string(got) != "last words" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	p := make([]byte, 100)
	if n, err := a.Read(p); string(p[:n]) != "answer" || err != nil {
		t.Errorf("after CloseWrite: %q, %v", p[:n], err)
	}
	waiting := make(chan error)
	go func() { _, err := a.Read(make([]byte, 1)); waiting <- err }()
	a.Close()
	if err := <-waiting; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a read that Close ended: %v", err)
	}
	if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("write to an end that is closed: %v", err)
	}
	if err := a.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("deadline after Close: %v", err)
	}
}

func TestListenersAreFoundByTheirAddress(t *testing.T) {
	var n Network
	ctx := context.Background()
	if _, err := n.Dial(ctx, "tcp", "pi:5557"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
	ln, err := n.Listen("pi:5557")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Listen("pi:5557"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("twice: %v", err)
	}
	other, err := n.Listen("pi:0")
	if err != nil || other.Addr().String() == "pi:0" {
		t.Fatalf("port 0: %v, %v", other.Addr(), err)
	}
	near, err := n.DialFrom(ctx, "node7", "pi:5557")
	if err != nil {
		t.Fatal(err)
	}
	far, err := ln.Accept()
	if err != nil || far.RemoteAddr().String() != near.LocalAddr().String() || near.RemoteAddr().String() != "pi:5557" {
		t.Fatalf("%v, %v", far, err)
	}
	left, _ := n.Dial(ctx, "tcp", "pi:5557") // never accepted
	ln.Close()
	ln.Close()
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after Close: %v", err)
	}
	if _, err := left.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("who was not accepted reads %v", err)
	}
	if _, err := n.Listen("pi:5557"); err != nil {
		t.Errorf("the address is not free again: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := n.Dial(ended, "tcp", other.Addr().String()); !errors.Is(err, context.Canceled) {
		t.Errorf("dial: %v", err)
	}
}
