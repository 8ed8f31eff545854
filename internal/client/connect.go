package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/mdns"
	"github.com/raidpi/raidpi/internal/raid"
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

// parseURL accepts the URL of a controller. Its error never shows what may be a
// password.
func parseURL(s string) (*url.URL, error) {
	full := s
	if !strings.Contains(s, "://") {
		full = "http://" + s
	}
	u, err := url.Parse(full)
	if err == nil && u.User != nil || err != nil && strings.Contains(s, "@") {
		return nil, errors.New("the controller's URL has a user name or password in it: take it out; tokens are given in other ways")
	}
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q is no controller's URL: write it as in https://192.168.1.10:9000", s)
	}
	u.Host = strings.ToLower(u.Host)
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	return u, nil
}

// CleanURL writes a controller's URL in the one way in which two of them can be
// compared.
func CleanURL(s string) (string, error) {
	u, err := parseURL(s)
	if err != nil {
		return "", err
	}
	return u.String(), nil
}

// IsLoopback tells whether a controller's URL is plain HTTP that stays on this
// machine.
func IsLoopback(s string) bool {
	u, err := parseURL(s)
	return err == nil && u.Scheme == "http" && isLoopback(u.Hostname())
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// checkSecrecy refuses configurations in which a secret would be told to
// strangers, or a pin compare with nothing.
func checkSecrecy(u *url.URL, cfg Config) error {
	if strings.ContainsFunc(cfg.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("the token has characters that no token has") // and would break the header's line
	}
	if u.Scheme == "https" {
		return nil
	}
	if cfg.Pin != nil {
		return fmt.Errorf("%s has no certificate to compare the fingerprint with: use https://%s", u, u.Host)
	}
	if cfg.Token != "" && !isLoopback(u.Hostname()) {
		return fmt.Errorf("%w, and %s has none: use https://%s", ErrPlainToken, u, u.Host)
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
		DisableCompression:    true, // a file's bytes are what is hashed and counted
		MaxIdleConnsPerHost:   16,
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
	t := identity.Pinned(pin)
	verify := t.VerifyConnection
	t.VerifyConnection = func(cs tls.ConnectionState) error {
		err := verify(cs)
		if err == nil {
			return nil
		}
		wrong := &WrongControllerError{URL: c.url.String(), Want: pin, Err: err}
		if n := len(cs.PeerCertificates); n > 0 {
			wrong.Got = identity.PinOf(cs.PeerCertificates[n-1])
		}
		return wrong
	}
	return t
}

// Seen is who answers at an address, by what it says itself.
type Seen struct {
	Pin   identity.Pin // of its CA
	Array raid.ArrayID
}

// Probe connects to the controller at an https URL, whoever it is, sees its CA,
// and closes the connection without having sent a request. What does not look
// like a raid-controller is refused.
func Probe(ctx context.Context, controller string) (s Seen, err error) {
	u, err := parseURL(controller)
	if err != nil {
		return s, err
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	limited, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var d mdns.Dialer
	conn, err := d.DialContext(limited, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err == nil {
		s.Pin, s.Array, err = identity.PeekPin(limited, conn)
	}
	switch {
	case err == nil:
		return s, nil
	case ctx.Err() != nil:
		return s, fmt.Errorf("connect to %s: %w", u, ctx.Err())
	case limited.Err() != nil:
		return s, &UnreachableError{URL: u.String(), Err: fmt.Errorf("%w for %v", ErrStalled, dialTimeout)}
	}
	return s, explainProbe(u, err)
}

func explainProbe(u *url.URL, err error) error {
	var op *net.OpError
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &op) && op.Op == "dial":
		return unreachable(u.String(), op)
	case errors.As(err, &plain):
		return fmt.Errorf("connect to %s: it does not speak TLS: %w", u, errNotOurs)
	}
	return fmt.Errorf("connect to %s: %w", u, err)
}

// Host is the controller's name or address, empty when that means this machine.
func (c *Client) Host() string {
	if host := c.url.Hostname(); !isLoopback(host) {
		return host
	}
	return ""
}
