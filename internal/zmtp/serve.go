package zmtp

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// ServerConfig describes a listener's side of connections.
type ServerConfig struct {
	// Config is asked for each connection before its handshake.
	Config func(nc net.Conn) Config
	// Handle runs in a goroutine of its own for each connection that has been
	// admitted; the connection is closed when it returns. ctx ends with Serve's.
	Handle func(ctx context.Context, c *Conn)
	// MaxHandshakes bounds those that are under way, default 64. When one more comes, one is
	// closed. That is the one that has taken longest, of those from the address that has most of
	// them. So strangers that say nothing, however fast they come, do not keep others out.
	MaxHandshakes int
	// MaxConns bounds the connections that are open after their handshake, default 1024. From one
	// address of another machine a quarter of that may be open. One more is closed at once.
	MaxConns int
	Log      *slog.Logger // default: nothing is logged
}

// Serve accepts connections from ln until ctx ends, then closes ln and every
// connection and waits for all handlers. It returns nil when ctx ended it and
// the listener's error otherwise.
func Serve(ctx context.Context, ln net.Listener, cfg ServerConfig) error {
	if cfg.MaxHandshakes <= 0 {
		cfg.MaxHandshakes = 64
	}
	if cfg.MaxConns <= 0 {
		cfg.MaxConns = 1024
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &server{cfg: cfg, log: quiet{log: cfg.Log, every: quietFor}, open: map[*Conn]struct{}{}, greets: perSource{}, sources: perSource{}}
	s.failed.rest = &s.log
	s.work.Go(func() {
		<-ctx.Done()
		ln.Close()
		s.closeAll()
	})
	err := s.accept(ctx, ln)
	cancel()
	s.work.Wait()
	return err
}

// server is the state of one Serve.
type server struct {
	cfg    ServerConfig
	log    quiet
	failed perAddress // handshakes
	work   sync.WaitGroup

	mu      sync.Mutex
	stopped bool
	pending list.List // of pendingConn, the oldest first
	greets  perSource // pending
	open    map[*Conn]struct{}
	sources perSource // open
}

// acceptRetry is the pause after an error of accept that may pass, such as too
// many open files.
const acceptRetry = 50 * time.Millisecond

func (s *server) accept(ctx context.Context, ln net.Listener) error {
	for {
		nc, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				nc.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept on %s: %w", ln.Addr(), err)
		case err != nil:
			s.log.warn("can't accept a connection", "listener", ln.Addr(), "err", err)
			select {
			case <-time.After(acceptRetry):
			case <-ctx.Done():
			}
			continue
		}
		place, ok := s.enter(nc)
		if !ok {
			nc.Close()
			continue
		}
		s.work.Go(func() { s.serve(ctx, nc, place) })
	}
}

// enter notes a connection that begins its handshake.
func (s *server) enter(nc net.Conn) (place *list.Element, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil, false
	}
	from := sourceOf(nc.RemoteAddr())
	if !s.roomFor(from, nc.RemoteAddr()) {
		return nil, false
	}
	if s.pending.Len() >= s.cfg.MaxHandshakes {
		s.evict(s.greets.most())
	}
	s.greets.add(from, 1)
	return s.pending.PushBack(pendingConn{nc, from}), true
}

// pendingConn is a connection that is not served yet.
type pendingConn struct {
	net.Conn
	from string
}

// evict closes the slowest handshake of a source.
func (s *server) evict(from string) {
	for e := s.pending.Front(); e != nil; e = e.Next() {
		if h := e.Value.(pendingConn); h.from == from {
			s.drop(e)
			s.log.warn("too many handshakes at once, the slowest is closed", "peer", h.RemoteAddr(), "handshakes", s.cfg.MaxHandshakes)
			h.Close()
			return
		}
	}
}

// drop takes a handshake out of the list, if it still is in it.
func (s *server) drop(place *list.Element) {
	h := place.Value.(pendingConn)
	before := s.pending.Len()
	if s.pending.Remove(place); s.pending.Len() < before {
		s.greets.add(h.from, -1)
	}
}

// roomFor reports whether one more connection may be served. Callers hold mu.
func (s *server) roomFor(from string, peer net.Addr) bool {
	switch {
	case len(s.open) >= s.cfg.MaxConns:
		s.log.warn("too many connections, the new one is closed", "peer", peer, "connections", len(s.open))
	case from != "" && s.sources[from] >= s.cfg.MaxConns/4:
		s.failed.warn(peer, "too many connections from one address, the new one is closed", "peer", peer, "connections", s.sources[from])
	default:
		return true
	}
	return false
}

// leave ends a handshake; c is its connection if it succeeded.
func (s *server) leave(place *list.Element, c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(place)
	if c == nil || s.stopped {
		return false
	}
	from := place.Value.(pendingConn).from
	if !s.roomFor(from, c.peer.Addr) {
		return false
	}
	s.open[c] = struct{}{}
	s.sources.add(from, 1)
	return true
}

func (s *server) serve(ctx context.Context, nc net.Conn, place *list.Element) {
	c, err := Accept(ctx, nc, s.cfg.Config(nc))
	if err != nil && ctx.Err() == nil {
		s.failed.warn(nc.RemoteAddr(), "handshake failed", "peer", nc.RemoteAddr(), "err", err)
	}
	admitted := s.leave(place, c)
	if c == nil {
		return
	}
	if !admitted {
		c.Close()
		return
	}
	s.cfg.Handle(ctx, c)
	c.Close()
	s.mu.Lock()
	delete(s.open, c)
	s.sources.add(place.Value.(pendingConn).from, -1)
	s.mu.Unlock()
}

// closeAll ends everything that is open, and what will come.
func (s *server) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for e := s.pending.Front(); e != nil; e = e.Next() {
		e.Value.(pendingConn).Close()
	}
	for c := range s.open {
		c.CloseWith(raid.ErrShutdown)
	}
}
