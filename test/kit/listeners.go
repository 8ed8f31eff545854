package kit

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http/httptest"
	"strings"
)

// Certificate makes a certificate for 127.0.0.1, and what trusts it.
func Certificate() (tls.Certificate, *x509.CertPool) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	trust := x509.NewCertPool()
	trust.AddCert(s.Certificate())
	return s.TLS.Certificates[0], trust
}

// SeemsFrom makes a listener into one whose connections seem to come from an address,
// which may have a zone.
func SeemsFrom(ip string) func(net.Listener) net.Listener {
	host, zone, _ := strings.Cut(ip, "%")
	return func(ln net.Listener) net.Listener {
		return remoteListener{ln, &net.TCPAddr{IP: net.ParseIP(host), Zone: zone, Port: 5}}
	}
}

type remoteListener struct {
	net.Listener
	addr net.Addr
}

// Accept implements net.Listener.
func (l remoteListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return remoteConn{c, l.addr}, nil
}

type remoteConn struct {
	net.Conn
	addr net.Addr
}

// RemoteAddr implements net.Conn.
func (c remoteConn) RemoteAddr() net.Addr { return c.addr }

// CloseWrite is *net.TCPConn's.
func (c remoteConn) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// Pipes is a listener without a network, which works in a bubble of testing/synctest.
type Pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

// NewPipes makes one that nobody has dialled.
func NewPipes() *Pipes { return &Pipes{make(chan net.Conn), make(chan struct{})} }

// Dial returns when the connection was accepted.
func (p *Pipes) Dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// Accept implements net.Listener.
func (p *Pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. It must be called once.
func (p *Pipes) Close() error {
	close(p.closed)
	return nil
}

// Addr implements net.Listener.
func (p *Pipes) Addr() net.Addr { return &net.TCPAddr{} }
