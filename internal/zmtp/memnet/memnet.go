// Package memnet is a network in memory: listeners, dialing and buffered connections with
// deadlines, for tests and simulations under testing/synctest.
//
// Its connections behave as TCP's do where our protocols can tell. A write returns when the buffer
// has taken it. A closed end's last bytes can still be read. A write to a closed end fails.
// Everything that waits does so on the standard library's primitives, so a bubble's clock can run.
// It never loses bytes, and it has no delay: faults are for a user to wrap around it.
package memnet

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"syscall"
)

const (
	network = "mem"
	// Buffer is the number of bytes that one direction of a dialed connection holds. TCP on
	// loopback holds about as many before it grows.
	Buffer  = 256 << 10
	backlog = 128
)

// Addr is an address such as "controller:5557".
type Addr string

// Network is "mem".
func (Addr) Network() string { return network }

func (a Addr) String() string { return string(a) }

// Network connects its listeners with those who dial them. The zero value is
// an empty network.
type Network struct {
	// Buffer is the number of bytes that one direction of a dialed connection holds; 0: the
	// constant of that name.
	Buffer int

	mu        sync.Mutex
	listeners map[Addr]*listener
	lastPort  int
}

// Listen binds addr, "host:port"; port 0 is replaced by one that is free.
func (n *Network) Listen(addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if port == "0" {
		addr = n.free(host)
	}
	l := &listener{
		net: n, addr: Addr(addr),
		conns: make(chan *Conn, backlog), closed: make(chan struct{}),
	}
	if n.listeners[l.addr] != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, syscall.EADDRINUSE)
	}
	if n.listeners == nil {
		n.listeners = map[Addr]*listener{}
	}
	n.listeners[l.addr] = l
	return l, nil
}

func (n *Network) free(host string) string {
	n.lastPort++
	return net.JoinHostPort(host, strconv.Itoa(40000+n.lastPort))
}

// Dial connects to addr from an address of the host "client". It has the shape
// of net.Dialer.DialContext; the name of the network is not looked at.
func (n *Network) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return n.DialFrom(ctx, "client", addr)
}

// DialFrom connects to addr from a new port of host.
func (n *Network) DialFrom(ctx context.Context, host, addr string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[Addr(addr)]
	from := Addr(n.free(host))
	n.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	if l == nil {
		return nil, fmt.Errorf("dial %s: %w", addr, syscall.ECONNREFUSED)
	}
	near, far := Pipe(from, l.addr, cmp.Or(n.Buffer, Buffer))
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, fmt.Errorf("dial %s: %w", addr, syscall.ECONNREFUSED)
	case <-ctx.Done():
		return nil, fmt.Errorf("dial %s: %w", addr, ctx.Err())
	}
}

type listener struct {
	net    *Network
	addr   Addr
	conns  chan *Conn
	once   sync.Once
	closed chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "accept", Net: network, Addr: l.addr, Err: net.ErrClosed}
	}
}

// Close ends Accept and frees the address. A dialer that was not accepted is
// cut off.
func (l *listener) Close() error {
	l.once.Do(func() {
		l.net.mu.Lock()
		delete(l.net.listeners, l.addr)
		l.net.mu.Unlock()
		close(l.closed)
		for {
			select {
			case c := <-l.conns:
				c.Close()
			default:
				return
			}
		}
	})
	return nil
}

func (l *listener) Addr() net.Addr { return l.addr }
