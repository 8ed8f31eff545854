package httpapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/httpserver"
	"github.com/raidpi/raidpi/test/kit"
)

const nodeProtocol = "raidpi-node/1"

// portTLS is what the port speaks: with nodes, mutual TLS.
func portTLS(own tls.Certificate) *tls.Config {
	port := &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own}, NextProtos: []string{"http/1.1"},
		SessionTicketsDisabled: true, DynamicRecordSizingDisabled: true,
	}
	mutual := port.Clone()
	mutual.ClientAuth = tls.RequireAnyClientCert
	port.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		for _, p := range hello.SupportedProtos {
			if p == nodeProtocol {
				return mutual, nil
			}
		}
		return nil, nil // as it is
	}
	return port
}

// port is one port that speaks HTTP with and without TLS, and what connects to it.
type port struct {
	*server
	https  *http.Client // as browsers do
	node   *http.Client // with a certificate
	secure string       // its URL
	trust  *x509.CertPool
}

// portSetup says how a port differs from the usual.
type portSetup struct {
	listener func(*httpserver.ListenerConfig)
	wrap     func(net.Listener) net.Listener
	config   func(*Config)
	store    *store
}

func servePort(t *testing.T, set portSetup) *port {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if set.wrap != nil {
		ln = set.wrap(ln)
	}
	own, trust := kit.Certificate()
	logged := &kit.Log{}
	cfg := httpserver.ListenerConfig{TLS: portTLS(own), Log: testLogger(logged)}
	if set.listener != nil {
		set.listener(&cfg)
	}
	if set.store == nil {
		set.store = newStore()
	}
	if set.config == nil {
		set.config = func(*Config) {}
	}
	s := serveOn(t, httpserver.NewListener(ln, cfg), set.store, set.config, func(c *Config) { c.Log = testLogger(logged) })
	s.logged = logged
	client := func(c *tls.Config) *http.Client {
		c.RootCAs = trust
		tr := &http.Transport{TLSClientConfig: c, ExpectContinueTimeout: 5 * time.Second}
		t.Cleanup(tr.CloseIdleConnections)
		return &http.Client{Transport: tr, Timeout: time.Minute}
	}
	return &port{
		server: s, secure: "https://" + s.addr, trust: trust,
		https: client(&tls.Config{}),
		node:  client(&tls.Config{Certificates: []tls.Certificate{own}, NextProtos: []string{nodeProtocol, "http/1.1"}}),
	}
}

// dialFrom connects from an address of this machine, 127.0.0.2 and so on.
func (p *port) dialFrom(from string) net.Conn {
	p.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	c, err := d.DialContext(context.Background(), "tcp", p.addr)
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// handshake makes TLS on a connection.
func (p *port) handshake(c net.Conn) *tls.Conn {
	p.Helper()
	t := tls.Client(c, &tls.Config{RootCAs: p.trust, ServerName: "127.0.0.1"})
	if err := t.Handshake(); err != nil {
		p.Fatal(err)
	}
	return t
}
