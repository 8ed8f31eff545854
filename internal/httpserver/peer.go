package httpserver

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"

	"github.com/raidpi/raidpi/internal/peercred"
)

// peerOnce says who is at the other end of a connection, once that was asked.
type peerOnce struct {
	once sync.Once
	uid  uint32
	err  error
}

// errNotServed is said of requests that came in other ways than Serve.
var errNotServed = errors.New("the connection is not known")

// Peer is the user whose program on this machine is at the other end of a request's
// connection, looked up once for each connection, with ask, or peercred.Of when that is
// nil. ask gets nil for requests that came in other ways than Serve.
func Peer(r *http.Request, ask func(net.Conn) (uid uint32, err error)) (uint32, error) {
	c := connOf(r)
	switch {
	case c == nil && ask == nil:
		return 0, errNotServed
	case c == nil:
		return ask(nil)
	case ask == nil:
		ask = peercred.Of
	}
	c.peer.once.Do(func() { c.peer.uid, c.peer.err = ask(underneath(c.Conn)) })
	return c.peer.uid, c.peer.err
}

// underneath is the connection below TLS and what this package puts around it.
func underneath(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if own, ok := c.(*conn); ok {
		c = own.Conn
	}
	return c
}
