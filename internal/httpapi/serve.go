package httpapi

import (
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
	// headerTimeout is how long a request's header may take to arrive, and before
	// it a TLS handshake.
	headerTimeout = 10 * time.Second
	// idleTimeout is how long a connection may wait for its next request.
	idleTimeout = 2 * time.Minute
	// maxHeader bounds a request's header, in bytes: a filename of 5,000
	// characters is up to 60,000 bytes of a URL.
	maxHeader = 80 << 10
)

// Serve answers requests on listeners until ctx ends or one of them fails, and
// closes them. Requests under way then have Config.Drain to finish before they
// are cut off. It returns when the last of them has ended: nil after ctx's end,
// else why the listener failed.
//
// Who comes through a listener on a Unix socket as root or as this process's user may
// do everything; see originOf for others. Each listener has its own MaxConns, so no
// flood on one closes the connections of another.
func (a *API) Serve(ctx context.Context, listeners ...net.Listener) error {
	base, cutRequests := context.WithCancel(context.WithoutCancel(ctx))
	defer cutRequests()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// Who follows the events would be waited for in vain.
	defer context.AfterFunc(ctx, func() { a.end.Do(func() { close(a.ending) }) })()
	failed := make([]error, len(listeners))
	var all sync.WaitGroup
	for i, ln := range listeners {
		all.Go(func() {
			failed[i] = a.serveOn(ctx, base, ln)
			stop()
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

// serveOn serves one listener until ctx ends. Requests live in base.
func (a *API) serveOn(ctx, base context.Context, ln net.Listener) error {
	base, cutRequests := context.WithCancel(base)
	defer cutRequests()
	open := newConnections(a.cfg.MaxConns)
	srv := a.newServer(base, open)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(framedListener{patient{ln}, a.cfg.Stall}) }()

	var failed error
	select {
	case err := <-served:
		failed = fmt.Errorf("serve HTTP on %v: %w", ln.Addr(), err)
		served <- http.ErrServerClosed // for the receive below
	case <-ctx.Done():
	}
	drained, done := context.WithTimeout(base, a.cfg.Drain)
	defer done()
	stopCutting := context.AfterFunc(drained, open.cut) // or Shutdown might wait for TLS to say farewell
	if err := srv.Shutdown(drained); errors.Is(err, context.DeadlineExceeded) {
		a.log.Warn("Requests under way were cut off", "after", a.cfg.Drain)
	}
	stopCutting()
	cutRequests()
	open.cut()
	srv.Close()
	<-served
	open.wait()
	return failed
}

func (a *API) newServer(base context.Context, open *connections) *http.Server {
	return &http.Server{
		Handler:                      a.Handler(),
		ReadHeaderTimeout:            headerTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeader,
		DisableGeneralOptionsHandler: true,
		BaseContext:                  func(net.Listener) context.Context { return base },
		ConnContext:                  func(ctx context.Context, c net.Conn) context.Context { return withConn(open.context(ctx, c), c) },
		ConnState:                    open.state,
		ErrorLog:                     slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
		// No HTTP/2: its one connection would hide how many transfers there are, and
		// a broken-off download would be a frame of its own kind.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
}
