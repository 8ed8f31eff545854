package httpserver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// conn is a connection whose first byte has been read, and is read again.
type conn struct {
	net.Conn
	limiter *connLimiter
	from    netip.Addr // see addressOf
	first   byte
	unread  bool // first has not been read again yet

	// of the limiter, under its lock
	tracked *tracked // among the pending
	left    bool
}

// peek waits for the first byte. Whoever reads later does so in one goroutine at
// a time, as crypto/tls and net/http do.
func (c *conn) peek() bool {
	var b [1]byte
	if _, err := io.ReadFull(c.Conn, b[:]); err != nil {
		return false
	}
	c.first, c.unread = b[0], true
	return true
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	if c.unread && len(p) > 0 {
		p[0], c.unread = c.first, false
		return 1, nil
	}
	return c.Conn.Read(p)
}

// CloseWrite lets http.Server end an answer before the connection: closing with
// bytes unread would reset it and lose the answer.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close implements net.Conn.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.limiter.release(c)
	return err
}

// cut closes a connection without a farewell: TLS would wait five seconds for
// room to say one.
func cut(c net.Conn) {
	if framed, ok := c.(*framedConn); ok {
		framed.cut()
		return
	}
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	_ = c.Close()
}

// reset is cut, but what the system still has to send is dropped, where it can be.
func reset(c net.Conn) {
	inner := c
	if framed, ok := inner.(*framedConn); ok {
		inner = framed.Conn
	}
	if t, ok := inner.(*tls.Conn); ok {
		inner = t.NetConn()
	}
	if own, ok := inner.(*conn); ok {
		inner = own.Conn
	}
	if t, ok := inner.(interface{ SetLinger(int) error }); ok {
		_ = t.SetLinger(0)
	}
	cut(c)
}

const (
	partingTime  = time.Second // for a stranger to take the refusal
	partingBytes = 1 << 20     // of what it still sends meanwhile
)

// turnAway answers whoever must not do without TLS, and closes the connection.
func (c *conn) turnAway() {
	defer c.Close()
	if c.SetDeadline(time.Now().Add(partingTime)) != nil {
		return
	}
	if _, err := c.Write(needsTLS(c.RemoteAddr())); err != nil {
		return
	}
	if c.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, c.Conn, partingBytes) // closing with bytes unread would reset the connection and lose the answer
	}
}

func needsTLS(remote net.Addr) []byte {
	host, _, err := net.SplitHostPort(remote.String())
	if err != nil {
		host = remote.String()
	}
	return rawAnswer(http.StatusForbidden, fmt.Sprintf("this controller takes no connections without TLS from %s: "+
		"write https:// in place of http:// (curl needs --cacert with what raidctl ca prints on the controller). "+
		`In a classroom, plaintext = "any" under [http] of the configuration allows them`, host))
}
