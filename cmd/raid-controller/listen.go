package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/raidpi/raidpi/internal/wire"
)

// listener makes the daemon's listeners. That of REST lets in only whom [http]
// plaintext allows; the nodes' hub looks at its own connections.
type listener struct {
	config net.ListenConfig
	http   string // address
	policy wire.Plaintext
	log    *slog.Logger
}

// Listen is controller.Config.Listen.
func (l listener) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	ln, err := l.config.Listen(ctx, network, address)
	if err != nil || address != l.http || l.policy == wire.PlaintextAny {
		return ln, err
	}
	return &doorkeeper{Listener: ln, policy: l.policy, log: l.log}, nil
}

// doorkeeper lets strangers ask, and answers them all the same.
type doorkeeper struct {
	net.Listener
	policy wire.Plaintext
	log    *slog.Logger
}

// Accept implements net.Listener.
func (d *doorkeeper) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	if err != nil || d.policy.Allows(c.RemoteAddr()) {
		return c, err
	}
	d.log.Debug("connection without TLS refused; see plaintext under [http]", "remote", c.RemoteAddr())
	return &stranger{Conn: c}, nil
}

const (
	partingTime  = time.Second // for a stranger to take the refusal
	partingBytes = 1 << 20     // of what it still sends meanwhile
)

// stranger is a connection that is not let in. The server's own goroutine and
// deadlines read from it, but get to see nothing: the first bytes of a request
// are answered with the refusal, and then the connection ends.
type stranger struct{ net.Conn }

// Read implements net.Conn.
func (s *stranger) Read(p []byte) (int, error) {
	if _, err := s.Conn.Read(p); err != nil {
		return 0, err
	}
	_ = s.SetDeadline(time.Now().Add(partingTime))
	if _, err := s.Write(refusal(s.RemoteAddr())); err != nil {
		return 0, io.EOF
	}
	if c, ok := s.Conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, s.Conn, partingBytes) // closing with bytes unread would reset the connection and lose the answer
	}
	return 0, io.EOF
}

func refusal(remote net.Addr) []byte {
	host, _, err := net.SplitHostPort(remote.String())
	if err != nil {
		host = remote.String()
	}
	body, err := json.Marshal(map[string]string{"message": fmt.Sprintf(
		"this controller takes no connections without TLS from %s: see plaintext under [http] in its configuration", host)})
	if err != nil { // a map of strings can always be written
		body = []byte("{}")
	}
	return fmt.Appendf(nil, "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
}
