package zmtp

import (
	"context"
	"net"
	"sync"
	"time"
)

// Conn is a connection after its handshake. Send may be called by any number
// of goroutines, Receive by one at a time.
type Conn struct {
	nc   net.Conn // the network, below TLS: for deadlines and the end
	tls  *secure  // nil: plaintext
	cfg  Config
	peer Peer
	in   *inbound

	ctx     context.Context // the connection's life; its cause says why it ended
	end     context.CancelCauseFunc
	closing sync.Once

	out     writer
	keeping sync.WaitGroup
}

func newConn(nc net.Conn, s *secure, in *inbound, cfg Config, peer Peer) *Conn {
	c := &Conn{nc: nc, tls: s, cfg: cfg, peer: peer, in: in}
	c.ctx, c.end = context.WithCancelCause(context.Background())
	in.last.Store(int64(time.Since(in.start)))
	c.out.init()
	c.keeping.Go(c.keep)
	return c
}

// Peer returns the other end, as its handshake described it.
func (c *Conn) Peer() Peer { return c.peer }

// SilentFor is the time since the last byte from the peer, in the middle of a
// frame too. Time that Receive waits for memory does not count; it is 0 then.
// It means something only while Receive is being called in a loop.
func (c *Conn) SilentFor() time.Duration { return time.Since(c.Heard()) }

// Heard is the time of the last byte from the peer, as for SilentFor.
func (c *Conn) Heard() time.Time { return c.in.heard() }

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.ctx.Done() }

// Err is the reason why the connection ended; nil while it lives.
func (c *Conn) Err() error { return context.Cause(c.ctx) }

// CloseWith ends the connection for the reason err, unless it has ended
// already. It does not wait, and may be called from anywhere.
func (c *Conn) CloseWith(err error) {
	if err == nil {
		err = ErrClosed
	}
	c.closing.Do(func() {
		c.end(err)
		c.nc.Close() // not TLS: it would wait for a peer that does not read
	})
}

// Close ends the connection and waits until nothing of it runs any more. A Receive or Send of the
// caller's returns soon after.
func (c *Conn) Close() error {
	c.CloseWith(ErrClosed)
	c.keeping.Wait()
	return nil
}
