package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener in a bubble.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.closed)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// slowly sends a body of size bytes, some every now and then, and returns the
// answer and when it came.
func (p *pipes) slowly(t *testing.T, size, piece int, every time.Duration) (status int, text string, took time.Duration) {
	c, server := net.Pipe()
	defer c.Close()
	p.conns <- server
	start := time.Now()
	go func() {
		fmt.Fprintf(c, "POST /files?filename=f HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n", size)
		for n := 0; n < size; n += piece {
			time.Sleep(every)
			if _, err := c.Write(make([]byte, piece)); err != nil {
				return
			}
		}
	}()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Errorf("%d bytes every %v: %v", piece, every, err)
		return 0, "", 0
	}
	took = time.Since(start)
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b), took
}

func TestTricklingUploadsGiveTheirPlacesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStore()
		api := New(Config{Files: st, Index: st, MaxRequests: 2, Log: slog.New(slog.DiscardHandler)})
		ln := &pipes{make(chan net.Conn), make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- api.Serve(ctx, ln) }()

		refused := make(chan struct{})
		for range 2 {
			go func() {
				status, text, took := ln.slowly(t, 1000, 1, 20*time.Second)
				if status != http.StatusRequestTimeout || !strings.Contains(text, "too slowly") || took < time.Minute || took > 90*time.Second {
					t.Errorf("%d %s after %v", status, text, took)
				}
				refused <- struct{}{}
			}()
		}
		time.Sleep(30 * time.Second)
		if status, text, _ := ln.slowly(t, 100, 100, 0); status != http.StatusServiceUnavailable {
			t.Errorf("%d %s with all places taken", status, text)
		}
		<-refused
		<-refused
		if st.count() != 0 || st.aborted != 2 {
			t.Errorf("%d files are stored, %d uploads failed", st.count(), st.aborted)
		}
		// The slowest that may go on goes on for as long as it takes.
		if status, text, took := ln.slowly(t, 1<<20, 1<<10, time.Second); status != http.StatusCreated || took < 1000*time.Second {
			t.Errorf("%d %s after %v", status, text, took)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// Whoever needs no token has ten seconds for all of it, however busy it seems.
func TestSlowCallsOfNodesEnd(t *testing.T) {
	own, trust := pair()
	for _, call := range []string{"join", "renew", "leave"} {
		synctest.Test(t, func(t *testing.T) {
			st, log := newStore(), slog.New(slog.DiscardHandler)
			api := New(Config{Files: st, Index: st, Registrar: &testRegistrar{}, Log: log})
			under := &pipes{make(chan net.Conn), make(chan struct{})}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- api.Serve(ctx, NewListener(under, ListenerConfig{TLS: portTLS(own), Log: log})) }()
			pipe, server := net.Pipe()
			under.conns <- server
			c := tls.Client(pipe, &tls.Config{RootCAs: trust, ServerName: "127.0.0.1", Certificates: []tls.Certificate{own}, NextProtos: []string{nodeProtocol, "http/1.1"}})
			fmt.Fprintf(c, "POST /v1/nodes/%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 15000\r\n\r\n", call)
			start := time.Now()
			var saying sync.WaitGroup
			saying.Go(func() {
				for range 15000 {
					time.Sleep(time.Second)
					if _, err := c.Write([]byte(" ")); err != nil {
						return
					}
				}
			})
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(res.Body)
			if took := time.Since(start); res.StatusCode != http.StatusRequestTimeout || took < openTime-time.Second || took > openTime+time.Second {
				t.Errorf("%s: %d %s after %v", call, res.StatusCode, b, took)
			}
			_, _ = io.Copy(io.Discard, c)
			if took := time.Since(start); took > openTime+drainTime+time.Second {
				t.Errorf("%s: open for %v", call, took)
			}
			pipe.Close()
			saying.Wait()
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

// burst is fast first, and then a byte comes now and then.
type burst struct{ fast int }

func (b *burst) Read(p []byte) (int, error) {
	if b.fast > 0 {
		n := min(len(p), b.fast)
		b.fast -= n
		return n, nil
	}
	time.Sleep(20 * time.Second)
	p[0] = 0
	return 1, nil
}

func TestBodyThatWasFastMayNotBeSlowForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBody(httptest.NewRequest("POST", "/", &burst{100 << 20}), http.NewResponseController(httptest.NewRecorder()), time.Minute, 0)
		start := time.Now()
		n, err := io.Copy(io.Discard, b)
		var f *failure
		if !errors.As(err, &f) || f.status != http.StatusRequestTimeout || n < 100<<20 || time.Since(start) > 3*time.Minute {
			t.Errorf("%d bytes, %v after %v", n, err, time.Since(start))
		}
	})
}

// The time in which the array takes nothing is not the client's.
func TestSlowArrayIsNotASlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := httptest.NewRequest("POST", "/", bytes.NewReader(make([]byte, 100)))
		b := newBody(r, http.NewResponseController(httptest.NewRecorder()), 30*time.Second, 0)
		p := make([]byte, 1)
		for i := range 100 {
			time.Sleep(time.Minute)
			if _, err := io.ReadFull(b, p); err != nil {
				t.Fatalf("byte %d: %v", i, err)
			}
		}
	})
}
