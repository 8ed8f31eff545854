package httpserver

import (
	"crypto/tls"
	"net"
	"testing"
)

// What is asked about is the connection of the system, below TLS and what was read ahead.
func TestPeersAreAskedOfTheSystemsConnection(t *testing.T) {
	want := &net.TCPConn{}
	for _, c := range []net.Conn{want, &conn{Conn: want}, tls.Server(want, nil), tls.Server(&conn{Conn: want}, nil)} {
		if got := underneath(c); got != want {
			t.Errorf("underneath a %T is a %T", c, got)
		}
	}
}
