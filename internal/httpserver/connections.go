package httpserver

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// connections bounds how many connections are open, by the callbacks that
// http.Server makes. One too many makes another go, never one that serves a
// request which somebody had a right to. All others may be evicted: those that are
// idle or still begin, and those of strangers, whose requests may take as long as
// an open route lets them. So a stranger only pushes out his own.
type connections struct {
	limit int

	mu        sync.Mutex
	cond      sync.Cond
	open      map[net.Conn]*tracked
	live      int // of them, not evicted
	evictable evictor
}

// tracked is an open connection.
type tracked struct {
	conn    net.Conn
	from    netip.Addr    // see addressOf
	group   *addressGroup // its address's; nil: it may not be evicted
	since   uint64        // its turn among all that may be evicted
	evicted bool          // its goroutine has not noticed yet
	own     bool          // Listener.Alive's: it takes nobody's place
}

func newConnections(limit int) *connections {
	c := &connections{limit: limit, open: map[net.Conn]*tracked{}}
	c.cond.L = &c.mu
	return c
}

// state is http.Server.ConnState. A connection is new until its first request
// has come, and so during a TLS handshake. A request begins as a stranger's,
// whatever came before it on its connection.
func (c *connections) state(conn net.Conn, s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s {
	case http.StateNew:
		own := isOwn(conn)
		g := &tracked{conn: conn, from: addressOf(conn.RemoteAddr()), own: own}
		c.open[conn] = g
		if own {
			return
		}
		c.live++
		c.evictable.add(g)
		if c.live > c.limit {
			c.evict()
		}
	case http.StateIdle:
		if framed, ok := conn.(*framedConn); ok {
			framed.finished.Add(1)
		}
		if g := c.open[conn]; g != nil && !g.evicted && !g.own {
			c.evictable.remove(g)
			c.evictable.add(g)
		}
	case http.StateClosed, http.StateHijacked:
		c.gone(conn)
	}
}

// gone forgets a connection that is closed.
func (c *connections) gone(conn net.Conn) {
	g := c.open[conn]
	if g == nil {
		return
	}
	c.evictable.remove(g)
	if !g.evicted && !g.own {
		c.live--
	}
	if delete(c.open, conn); len(c.open) == 0 {
		c.cond.Broadcast()
	}
}

// authorizedKey is the key of what a connection's context has for markAuthorized.
type authorizedKey struct{}

// connectionKey is the key of a connection in its context.
type connectionKey struct{}

// ResetConnection breaks a request's connection off. What waits in it to be sent is dropped.
func ResetConnection(r *http.Request) {
	if conn, served := r.Context().Value(connectionKey{}).(net.Conn); served {
		reset(conn)
	}
}

// context is http.Server.ConnContext.
func (c *connections) context(ctx context.Context, conn net.Conn) context.Context {
	ctx = context.WithValue(ctx, connectionKey{}, conn)
	return context.WithValue(ctx, authorizedKey{}, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if g := c.open[conn]; g != nil {
			c.evictable.remove(g)
		}
	})
}

// MarkAuthorized has a request's connection stay open while the request is served: it has
// shown a right.
func MarkAuthorized(r *http.Request) {
	if kept, served := r.Context().Value(authorizedKey{}).(func()); served {
		kept()
	}
}

// evict closes a connection that may be evicted, at worst the one that just came. Its goroutine
// notices and reports it as closed.
func (c *connections) evict() {
	g := c.evictable.first()
	if g == nil {
		return
	}
	c.evictable.remove(g)
	g.evicted = true
	c.live--
	cut(g.conn)
}

// cut closes all connections.
func (c *connections) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		cut(conn)
	}
}

// wait returns when no connection is open any more, and so no handler runs.
func (c *connections) wait() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.open) > 0 {
		c.cond.Wait()
	}
}
