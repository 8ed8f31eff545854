package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

const (
	// headerTimeout is how long a request's header may take to arrive.
	headerTimeout = 10 * time.Second
	// idleTimeout is how long a connection may wait for its next request.
	idleTimeout = 2 * time.Minute
	// maxHeader bounds a request's header, in bytes: a filename of 5,000
	// characters is up to 60,000 bytes of a URL.
	maxHeader = 80 << 10
)

// Serve answers requests on ln until ctx ends, and closes ln. Requests under way
// then have Config.Drain to finish before they are cut off. It returns when the
// last of them has ended: nil after ctx's end, else why the listener failed.
func (a *API) Serve(ctx context.Context, ln net.Listener) error {
	base, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	open := newConnections(a.cfg.MaxConns)
	srv := &http.Server{
		Handler:                      a.Handler(),
		ReadHeaderTimeout:            headerTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeader,
		DisableGeneralOptionsHandler: true,
		BaseContext:                  func(net.Listener) context.Context { return base },
		ConnState:                    open.state,
		ErrorLog:                     slog.NewLogLogger(a.log.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()

	var failed error
	select {
	case err := <-served:
		failed = fmt.Errorf("serve HTTP on %v: %w", ln.Addr(), err)
		served <- http.ErrServerClosed // for the receive below
	case <-ctx.Done():
	}
	drained, done := context.WithTimeout(base, a.cfg.Drain)
	defer done()
	if err := srv.Shutdown(drained); errors.Is(err, context.DeadlineExceeded) {
		a.log.Warn("Requests under way were cut off", "after", a.cfg.Drain)
	}
	cut()
	srv.Close()
	<-served
	open.wait()
	return failed
}
