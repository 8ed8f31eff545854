package httpserver

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
)

// ownConn is a connection of this process with itself.
type ownConn struct{ net.Conn }

func isOwn(c net.Conn) bool {
	if framed, ok := c.(*framedConn); ok {
		c = framed.Conn
	}
	_, own := c.(ownConn)
	return own
}

// Alive asks for /livez over a connection of its own, which goes the way of those
// that the listener has let in. net/http accepts it and serves it in a goroutine. It
// is made in memory, so that it needs no address, no descriptor and no room in the
// system's queue, and it counts for no limit: many connections, or a firewall,
// does not make this process look dead. It fails with net.ErrClosed once the listener
// is closed.
func (l *Listener) Alive(ctx context.Context) error {
	l.limiter.touch()
	ours, theirs := net.Pipe()
	defer ours.Close()
	select {
	case l.ready <- ownConn{theirs}:
	case <-l.closed:
		theirs.Close()
		return net.ErrClosed
	case <-ctx.Done():
		theirs.Close()
		return fmt.Errorf("GET /livez: no connection was accepted: %w", ctx.Err())
	}
	defer context.AfterFunc(ctx, func() { ours.Close() })()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost/livez", nil)
	if err != nil {
		return fmt.Errorf("GET /livez: %w", err)
	}
	req.Close = true
	if err := req.Write(ours); err != nil {
		return l.noAnswer(ctx, err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(ours), req)
	if err != nil {
		return l.noAnswer(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /livez: the answer is %s", resp.Status)
	}
	return nil
}

func (l *Listener) noAnswer(ctx context.Context, err error) error {
	select {
	case <-l.closed:
		return net.ErrClosed
	default:
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return fmt.Errorf("GET /livez: no answer: %w", err)
}

// touch returns when the limiter's lock can be had.
func (d *connLimiter) touch() {
	d.mu.Lock()
	defer d.mu.Unlock()
}
