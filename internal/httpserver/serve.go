package httpserver

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// headerTimeout bounds the time that a request's header may take to arrive, and before
	// it a TLS handshake.
	headerTimeout = 10 * time.Second
	// idleTimeout bounds the wait of a connection for its next request.
	idleTimeout = 2 * time.Minute
	// maxHeader bounds a request's header, in bytes: a filename of 5,000
	// characters is up to 60,000 bytes of a URL.
	maxHeader = 80 << 10
)

// Config says how Serve serves. Handler and Log must be set.
type Config struct {
	Handler  http.Handler
	Log      *slog.Logger
	MaxConns int           // open connections of each listener, 1024 unless set; for more see connections
	Stall    time.Duration // without progress a connection is cut, 30 s unless set
	Drain    time.Duration // for requests under way when Serve has to end, 10 s unless set
	Ending   func()        // is called when Serve begins to end, before it waits; may be nil
}

// Serve answers requests on listeners until ctx ends or one of them fails, and
// closes them. Requests under way then have ServerConfig.Drain to finish before they
// are cut off. It returns when the last of them has ended: nil after ctx's end,
// else why the listener failed.
//
// Each listener has its own MaxConns, so no flood on one closes the connections of
// another.
func Serve(ctx context.Context, cfg Config, listeners ...net.Listener) error {
	cfg.MaxConns = cmp.Or(max(cfg.MaxConns, 0), 1024)
	cfg.Stall = cmp.Or(max(cfg.Stall, 0), 30*time.Second)
	cfg.Drain = cmp.Or(max(cfg.Drain, 0), 10*time.Second)
	base, cutRequests := context.WithCancel(context.WithoutCancel(ctx))
	defer cutRequests()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if cfg.Ending != nil {
		defer context.AfterFunc(ctx, cfg.Ending)()
	}
	failed := make([]error, len(listeners))
	var all sync.WaitGroup
	for i, ln := range listeners {
		all.Go(func() {
			failed[i] = serveListener(ctx, base, cfg, ln)
			stop()
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

// serveListener serves one listener until ctx ends. Requests live in base.
func serveListener(ctx, base context.Context, cfg Config, ln net.Listener) error {
	base, cutRequests := context.WithCancel(base)
	defer cutRequests()
	open := newConnections(cfg.MaxConns)
	srv := newServer(base, cfg, open)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(framedListener{patient{ln}, cfg.Stall}) }()

	var failed error
	select {
	case err := <-served:
		failed = fmt.Errorf("serve HTTP on %v: %w", ln.Addr(), err)
		served <- http.ErrServerClosed // for the receive below
	case <-ctx.Done():
	}
	drained, done := context.WithTimeout(base, cfg.Drain)
	defer done()
	stopCutting := context.AfterFunc(drained, open.cut) // or Shutdown might wait for TLS to say farewell
	if err := srv.Shutdown(drained); errors.Is(err, context.DeadlineExceeded) {
		cfg.Log.Warn("Requests under way were cut off", "after", cfg.Drain)
	}
	stopCutting()
	cutRequests()
	open.cut()
	srv.Close()
	<-served
	open.wait()
	return failed
}

func newServer(base context.Context, cfg Config, open *connections) *http.Server {
	return &http.Server{
		Handler:                      framedHandler(cfg.Handler),
		ReadHeaderTimeout:            headerTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeader,
		DisableGeneralOptionsHandler: true,
		BaseContext:                  func(net.Listener) context.Context { return base },
		ConnContext:                  func(ctx context.Context, c net.Conn) context.Context { return withConn(open.context(ctx, c), c) },
		ConnState:                    open.state,
		ErrorLog:                     slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn),
		// No HTTP/2: its one connection would hide how many transfers there are, and
		// a broken-off download would be a frame of its own kind.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
}
