package mdns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"time"
)

const (
	// headStart is the time for which avahi-daemon is not asked because the system may answer yet.
	// A Pi whose DNS server is silent must find its controller all the same.
	headStart = time.Second
	// patience bounds the wait for an answer by multicast DNS. The question is sent
	// at once, and again after one second and after three (RFC 6762, section 5.2).
	patience = 3 * time.Second
)

var (
	// ErrNotRunning: no avahi-daemon takes questions on this machine.
	ErrNotRunning = errors.New("avahi-daemon does not run here")
	// ErrNoAnswer: no machine in the network has the name, or none that can be heard.
	ErrNoAnswer = errors.New("nobody in this network answers to that name by mDNS")
)

// Dialer connects as net.Dialer does. The zero value is ready for use. Its methods
// may be called concurrently.
type Dialer struct {
	net.Dialer
	// Socket is the path on which avahi-daemon takes questions. Empty: its default.
	Socket string
}

// IsLocal tells whether a host's name is of the kind that multicast DNS is for.
func IsLocal(host string) bool {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	return len(name) > len(".local") && strings.HasSuffix(name, ".local")
}

// DialContext connects to an address as net.Dialer's does.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	family, internet := families[network]
	if err != nil || !internet || !IsLocal(host) || runtime.GOOS != "linux" {
		return d.Dialer.DialContext(ctx, network, address)
	}
	ctx, cancel := d.bounded(ctx)
	defer cancel()
	addr, err := d.find(ctx, family, host)
	switch {
	case err != nil:
		return nil, &net.OpError{Op: "dial", Net: network, Source: d.LocalAddr, Err: err}
	case addr.IsValid():
		address = net.JoinHostPort(addr.String(), port)
	}
	return d.Dialer.DialContext(ctx, network, address)
}

// Dial is DialContext without a context.
func (d *Dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// families has what net.Resolver calls the addresses of a network.
var families = map[string]string{
	"tcp": "ip", "tcp4": "ip4", "tcp6": "ip6", "udp": "ip", "udp4": "ip4", "udp6": "ip6",
}

// bounded has finding and connecting share the dialer's time, as in net.Dialer.
func (d *Dialer) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	end := d.Deadline
	if d.Timeout > 0 {
		if t := time.Now().Add(d.Timeout); end.IsZero() || t.Before(end) {
			end = t
		}
	}
	if end.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, end)
}

// found is an answer. No address and no error: the system knows the name.
type found struct {
	addr netip.Addr
	err  error
}

// find asks the system, and then avahi-daemon as well. The address is the one by multicast DNS, and
// none when the system knows the name. Nothing that was started goes on when it returns, but for
// net's own wait for a silent DNS server. net ends it after five seconds.
func (d *Dialer) find(ctx context.Context, family, host string) (netip.Addr, error) {
	var asking sync.WaitGroup
	defer asking.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	system, multicast := make(chan found, 1), make(chan found, 1)
	asking.Go(func() { system <- found{err: d.askSystem(ctx, family, host)} })
	first := time.NewTimer(headStart)
	defer first.Stop()
	var own error
	select {
	case f := <-system:
		if f.err == nil || ctx.Err() != nil {
			return f.addr, f.err
		}
		own, system = f.err, nil
	case <-first.C:
	}
	asking.Go(func() {
		addr, err := d.ask(ctx, family, host)
		multicast <- found{addr, err}
	})
	var reason error
	for system != nil || multicast != nil {
		select {
		case f := <-system:
			if f.err == nil {
				return f.addr, nil
			}
			own, system = f.err, nil
		case f := <-multicast:
			if f.err == nil {
				return f.addr, nil
			}
			reason, multicast = f.err, nil
			// These names are multicast DNS's. Once it has said no, a DNS server that
			// was silent all the time is waited for no longer.
			if system != nil && errors.Is(reason, ErrNoAnswer) {
				return netip.Addr{}, notFound(host, nil, reason)
			}
		}
	}
	return netip.Addr{}, notFound(host, own, reason)
}

// askSystem returns nil when the system's resolver knows the name.
func (d *Dialer) askSystem(ctx context.Context, family, host string) error {
	r := d.Resolver
	if r == nil {
		r = net.DefaultResolver
	}
	_, err := r.LookupNetIP(ctx, family, host)
	return err
}

// notFound joins what the system and multicast DNS said, into the type that callers
// know from net.Dialer.
func notFound(host string, own, reason error) error {
	e := &net.DNSError{Err: "DNS is silent", Name: host, IsNotFound: true}
	var dns *net.DNSError
	if errors.As(own, &dns) {
		*e = *dns
	}
	switch {
	case errors.Is(reason, context.Canceled):
		return &net.DNSError{Err: "operation was canceled", Name: host, UnwrapErr: reason}
	case errors.Is(reason, ErrNoAnswer):
		e.IsNotFound, e.IsTimeout, e.IsTemporary = true, false, false
	}
	e.Name, e.Server = host, "" // more than one was asked
	e.Err = fmt.Sprintf("%s, and %v", e.Err, reason)
	e.UnwrapErr = errors.Join(reason, e.UnwrapErr)
	return e
}
