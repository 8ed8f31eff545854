package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/raidpi/raidpi/internal/address"
	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/mdns"
	"github.com/raidpi/raidpi/internal/raid"
	"github.com/raidpi/raidpi/internal/reason"
)

const (
	dialTimeout     = 10 * time.Second
	continueTimeout = 5 * time.Second // then the body is sent without the controller's consent
	// socketURL stands for the controller behind a socket. The name is one that
	// it takes for its own machine's.
	socketURL = "http://localhost"
)

// ErrPlainToken: a token was to go over a network that anybody may listen to.
var ErrPlainToken = errors.New("no token is sent without encryption")

// isPrivate tells whether what is said to an address stays on this machine although
// it is not encrypted.
func isPrivate(a address.Address) bool { return a.Scheme == "http" && address.IsLoopback(a.Host) }

// checkSecrecy refuses configurations in which a secret would be told to
// strangers, or a pin compare with nothing.
func checkSecrecy(a address.Address, cfg Config) error {
	if strings.ContainsFunc(cfg.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("the token has characters that no token has") // and would break the header's line
	}
	if a.Scheme == "https" {
		return nil
	}
	encrypted := a
	encrypted.Scheme = "https"
	if cfg.Pin != nil {
		return fmt.Errorf("%s has no certificate to compare the fingerprint with: use %s", a, encrypted)
	}
	if cfg.Token != "" && !isPrivate(a) {
		return fmt.Errorf("%w, and %s has none: use %s", ErrPlainToken, a, encrypted)
	}
	return nil
}

// newTransport connects as the configuration says.
func (c *Client) newTransport(cfg Config) *http.Transport {
	dialer := &mdns.Dialer{Dialer: net.Dialer{Timeout: dialTimeout}}
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   dialTimeout,
		ExpectContinueTimeout: continueTimeout,
		DisableCompression:    true, // the very bytes of a file are hashed and counted
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       30 * time.Second,
		ReadBufferSize:        64 << 10,
		WriteBufferSize:       64 << 10,
	}
	switch {
	case cfg.Socket != "":
		t.Proxy = nil
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", cfg.Socket)
		}
	case c.url.Scheme == "http" && cfg.Token != "":
		t.Proxy = nil
		dialer.Control = onlyLoopback // whatever the name resolves to
	case cfg.Pin != nil:
		t.TLSClientConfig = c.pinned(*cfg.Pin)
	}
	return t
}

func onlyLoopback(_, address string, _ syscall.RawConn) error {
	if a, err := netip.ParseAddrPort(address); err != nil || !a.Addr().Unmap().IsLoopback() {
		return fmt.Errorf("%w, and %s is another machine", ErrPlainToken, address)
	}
	return nil
}

// pinned connects to the controller of one CA and to no other.
func (c *Client) pinned(pin identity.Pin) *tls.Config {
	t := identity.Pinned(pin, func() time.Time { return c.now() })
	verify := t.VerifyConnection
	t.VerifyConnection = func(cs tls.ConnectionState) error {
		err := verify(cs)
		if err == nil {
			return nil
		}
		if ended := endedError(c.name, err); ended != nil {
			return ended
		}
		wrong := &WrongControllerError{URL: c.name, Want: pin, Err: err}
		if n := len(cs.PeerCertificates); n > 0 {
			wrong.Got = identity.PinOf(cs.PeerCertificates[n-1])
		}
		return wrong
	}
	return t
}

// Seen describes the controller at an address, by its own word.
type Seen struct {
	Pin   identity.Pin // of its CA
	Array raid.ArrayID
}

// Probe connects to the controller at an https URL, whichever it is. It sees its CA, and closes the
// connection without having sent a request. What does not look like a raid-controller is refused.
// now is asked whether its certificate is over.
func Probe(ctx context.Context, controller string, now func() time.Time) (s Seen, err error) {
	a, err := address.Parse(controller)
	if err != nil {
		return s, err
	}
	u := a.String()
	limited, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var d mdns.Dialer
	conn, err := d.DialContext(limited, "tcp", a.HostPort())
	if err == nil {
		s.Pin, s.Array, err = identity.PeekPin(limited, conn, now)
	}
	switch {
	case err == nil:
		return s, nil
	case ctx.Err() != nil:
		return s, reason.Worded("interrupted", ctx.Err())
	case limited.Err() != nil:
		return s, &UnreachableError{URL: u, Err: fmt.Errorf("%w for %v", ErrStalled, dialTimeout)}
	}
	return s, explainProbe(u, err)
}

func explainProbe(u string, err error) error {
	var op *net.OpError
	var plain tls.RecordHeaderError
	if ended := endedError(u, err); ended != nil {
		return ended
	}
	switch {
	case errors.As(err, &op) && op.Op == "dial":
		return unreachable(u, op)
	case errors.As(err, &plain):
		return fmt.Errorf("connect to %s: it does not speak TLS: %w", u, errNotOurs)
	case errors.Is(err, identity.ErrStranger), errors.Is(err, identity.ErrRole):
		return fmt.Errorf("connect to %s: %w", u, err)
	case errors.Is(err, io.EOF):
		return reason.Worded("connect to "+u+": it hung up", err)
	}
	why := reason.Of(err)
	if why == "" {
		why = "it does not speak TLS as raid-controller does"
	}
	return reason.Worded("connect to "+u+": "+why, err)
}

// Host is the controller's name or address, empty when that means this machine.
func (c *Client) Host() string {
	if host := c.url.Hostname(); !address.IsLoopback(host) {
		return host
	}
	return ""
}
