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
	open int
	idle *list.List // of net.Conn, the longest idle first
	at   map[net.Conn]*list.Element
}

func newConnections(limit int) *connections {
	c := &connections{limit: limit, idle: list.New(), at: map[net.Conn]*list.Element{}}
	c.cond.L = &c.mu
	return c
}

// state is http.Server.ConnState.
func (c *connections) state(conn net.Conn, s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.at[conn]; e != nil {
		c.idle.Remove(e)
		delete(c.at, conn)
	}
	switch s {
	case http.StateNew:
		c.open++
		c.at[conn] = c.idle.PushBack(conn)
		if c.open > c.limit {
			c.evict()
		}
	case http.StateIdle:
		c.at[conn] = c.idle.PushBack(conn)
	case http.StateClosed, http.StateHijacked:
		if c.open--; c.open == 0 {
			c.cond.Broadcast()
		}
	case http.StateActive:
	}
}

// evict closes the longest idle connection, at worst the one that just came. Its
// goroutine notices and reports it as closed.
func (c *connections) evict() {
	if e := c.idle.Front(); e != nil {
		conn := c.idle.Remove(e).(net.Conn)
		delete(c.at, conn)
		_ = conn.Close()
	}
}

// wait returns when no connection is open any more, and so no handler runs.
func (c *connections) wait() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.open > 0 {
		c.cond.Wait()
	}
}
