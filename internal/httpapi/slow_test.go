package httpapi

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/test/kit"
)

// slowly sends a body of size bytes, some every now and then, and returns the
// answer and when it came.
func slowly(t *testing.T, ln *kit.Pipes, size, piece int, every time.Duration) (status int, text string, took time.Duration) {
	c := ln.Dial()
	defer c.Close()
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
		ln := kit.NewPipes()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- api.Serve(ctx, ln) }()

		refused := make(chan struct{})
		for range 2 {
			go func() {
				status, text, took := slowly(t, ln, 1000, 1, 20*time.Second)
				if status != http.StatusRequestTimeout || !strings.Contains(text, "too slowly") || took < time.Minute || took > 90*time.Second {
					t.Errorf("%d %s after %v", status, text, took)
				}
				refused <- struct{}{}
			}()
		}
		time.Sleep(30 * time.Second)
		if status, text, _ := slowly(t, ln, 100, 100, 0); status != http.StatusServiceUnavailable {
			t.Errorf("%d %s with all places taken", status, text)
		}
		<-refused
		<-refused
		if st.count() != 0 || st.aborted != 2 {
			t.Errorf("%d files are stored, %d uploads failed", st.count(), st.aborted)
		}
		// The slowest that may go on goes on for as long as it takes.
		if status, text, took := slowly(t, ln, 1<<20, 1<<10, time.Second); status != http.StatusCreated || took < 1000*time.Second {
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
	own, trust := kit.Certificate()
	for _, call := range []string{"join", "renew", "leave"} {
		synctest.Test(t, func(t *testing.T) {
			st, log := newStore(), slog.New(slog.DiscardHandler)
			api := New(Config{Files: st, Index: st, Registrar: &testRegistrar{}, Log: log})
			under := kit.NewPipes()
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() {
				ended <- api.Serve(ctx, httpserver.NewListener(under, httpserver.ListenerConfig{TLS: portTLS(own), Log: log}))
			}()
			pipe := under.Dial()
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
