package httpserver

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"
)

// listenTo is a Listener on loopback.
func listenTo(t *testing.T, cfg ListenerConfig) *Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	l := NewListener(ln, cfg)
	t.Cleanup(func() { l.Close() })
	return l
}

// A stranger who takes all places must not have the watchdog end the process.
func TestOwnConnectionNeedsNoPlace(t *testing.T) {
	l := listenTo(t, ListenerConfig{Plaintext: func(net.Addr) bool { return false }})
	(&server{T: t}).serveOn(l, Config{Handler: newSite(), MaxConns: 1, Log: slog.New(slog.DiscardHandler)}, nil)
	if err := l.Alive(t.Context()); err != nil {
		t.Error(err)
	}
	c := newConnections(1)
	served := c.comes("192.0.2.1")
	c.asks(t, served, true)
	ours, theirs := net.Pipe()
	defer ours.Close()
	own := ownConn{theirs}
	c.state(own, http.StateNew)
	c.state(own, http.StateActive)
	c.state(own, http.StateIdle)
	if served.ended || c.live != 1 {
		t.Errorf("ended %v, %d count", served.ended, c.live)
	}
	ours.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	var timeout net.Error
	if _, err := ours.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("the own connection was ended: %v", err)
	}
	c.state(own, http.StateClosed)
	if c.live != 1 || len(c.open) != 1 {
		t.Errorf("%d count, %d are open", c.live, len(c.open))
	}
}

func TestNobodyWhoAcceptsIsNoLife(t *testing.T) {
	l := listenTo(t, ListenerConfig{})
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := l.Alive(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody accepts: %v", err)
	}
	go func() {
		if c, err := l.Accept(); err == nil { // and says nothing
			t.Cleanup(func() { c.Close() })
		}
	}()
	short, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := l.Alive(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody answers: %v", err)
	}
	l.Close()
	if err := l.Alive(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
