package httpapi

import (
	"container/list"
	"net"
	"net/http"
	"sync"
)

// connections bounds how many connections are open, by the callbacks that
// http.Server makes. One too many makes the longest idle one go, which is never
// one that serves a request; so silent strangers only push each other out.
type connections struct {
	limit int

	mu   sync.Mutex
	cond sync.Cond
	open map[net.Conn]*list.Element // nil while a request is served
	idle *list.List                 // of net.Conn, the longest idle first
}

func newConnections(limit int) *connections {
	c := &connections{limit: limit, open: map[net.Conn]*list.Element{}, idle: list.New()}
	c.cond.L = &c.mu
	return c
}

// state is http.Server.ConnState. A connection is new until its first request
// has come, and so during a TLS handshake.
func (c *connections) state(conn net.Conn, s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy(conn)
	switch s {
	case http.StateNew:
		c.open[conn] = c.idle.PushBack(conn)
		if len(c.open) > c.limit {
			c.evict()
		}
	case http.StateIdle:
		c.open[conn] = c.idle.PushBack(conn)
	case http.StateActive:
		c.open[conn] = nil
	case http.StateClosed, http.StateHijacked:
		if delete(c.open, conn); len(c.open) == 0 {
			c.cond.Broadcast()
		}
	}
}

// busy takes a connection out of the idle ones.
func (c *connections) busy(conn net.Conn) {
	if e := c.open[conn]; e != nil {
		c.idle.Remove(e)
		c.open[conn] = nil
	}
}

// evict closes the longest idle connection, at worst the one that just came. Its
// goroutine notices and reports it as closed.
func (c *connections) evict() {
	if e := c.idle.Front(); e != nil {
		conn := e.Value.(net.Conn)
		c.busy(conn)
		cut(conn)
	}
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
