package httpapi

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// connections bounds how many connections are open, by the callbacks that
// http.Server makes. One too many makes another go, never one that serves a
// request which somebody had a right to. All others are spare: those that are
// idle or still begin, and those of strangers, whose requests may take as long as
// an open route lets them. So a stranger only pushes out his own.
type connections struct {
	limit int

	mu    sync.Mutex
	cond  sync.Cond
	open  map[net.Conn]*guest
	live  int // of them, not evicted
	spare crowds
}

// guest is an open connection.
type guest struct {
	conn    net.Conn
	from    netip.Addr    // see addressOf
	place   *list.Element // among the spare ones of its address, nil: not there
	since   uint64        // its turn among all that became spare
	evicted bool          // its goroutine has not noticed yet
	own     bool          // Listener.Alive's: it takes nobody's place
}

func newConnections(limit int) *connections {
	c := &connections{limit: limit, open: map[net.Conn]*guest{}}
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
		g := &guest{conn: conn, from: addressOf(conn.RemoteAddr()), own: own}
		c.open[conn] = g
		if own {
			return
		}
		c.live++
		c.spare.add(g)
		if c.live > c.limit {
			c.evict()
		}
	case http.StateIdle:
		if framed, ok := conn.(*framedConn); ok {
			framed.finished.Add(1)
		}
		if g := c.open[conn]; g != nil && !g.evicted && !g.own {
			c.spare.remove(g)
			c.spare.add(g)
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
	c.spare.remove(g)
	if !g.evicted && !g.own {
		c.live--
	}
	if delete(c.open, conn); len(c.open) == 0 {
		c.cond.Broadcast()
	}
}

// keeper is the key of what a connection's context has for keep.
type keeper struct{}

// severer is the key of what a connection's context has for sever.
type severer struct{}

// sever breaks a request's connection off. What waits in it to be sent is dropped.
func sever(r *http.Request) {
	if conn, served := r.Context().Value(severer{}).(net.Conn); served {
		reset(conn)
	}
}

// context is http.Server.ConnContext.
func (c *connections) context(ctx context.Context, conn net.Conn) context.Context {
	ctx = context.WithValue(ctx, severer{}, conn)
	return context.WithValue(ctx, keeper{}, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if g := c.open[conn]; g != nil {
			c.spare.remove(g)
		}
	})
}

// keep has a request's connection stay open while the request is served: it has
// shown a right.
func keep(r *http.Request) {
	if kept, served := r.Context().Value(keeper{}).(func()); served {
		kept()
	}
}

// evict closes a spare connection, at worst the one that just came. Its goroutine
// notices and reports it as closed.
func (c *connections) evict() {
	g := c.spare.first()
	if g == nil {
		return
	}
	c.spare.remove(g)
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
