package identity

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

const array = raid.ArrayID("0123456789abcdefghijkl")

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newCAFor(t testing.TB, a raid.ArrayID) *CA {
	t.Helper()
	return must(OpenCA(t.TempDir(), a, rand.Reader))(t)
}

func newNodeID(t testing.TB) raid.NodeID {
	t.Helper()
	return raid.NodeID(must(raid.NewID(rand.Reader))(t))
}

// joined is a new node of the CA's array, and its directory.
func joined(t testing.TB, ca *CA, id raid.NodeID) (*Node, string) {
	t.Helper()
	dir := t.TempDir()
	r := must(Prepare(dir, Machine{1}))(t)
	return must(r.Complete(issued(t, ca, r, id), ca.Certificate(), ca.Pin().Short()))(t), dir
}

// issued is the controller's answer to a request.
func issued(t testing.TB, ca *CA, r *Request, id raid.NodeID) []byte {
	t.Helper()
	key := must(ReadCSR(r.CSR()))(t)
	if key.Pin() != r.Key() {
		t.Fatal("the two sides see different keys")
	}
	return must(ca.IssueNode(key, id, rand.Reader))(t)
}

func anyKey(raid.NodeID, Pin) error { return nil }

func serverOf(t testing.TB, ca *CA) *tls.Config {
	t.Helper()
	return ca.ServerTLS(must(ca.IssueController(rand.Reader))(t), anyKey)
}

// custom is a certificate of the CA with whatever a test changes in it.
func custom(t testing.TB, ca *CA, n name, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	tmpl := must(template(n, "test", rand.Reader))(t)
	change(tmpl)
	return must(ca.issue(tmpl, rand.Reader))(t).certificate()
}

// end holds what one side of a connection saw of it.
type end struct {
	state tls.ConnectionState
	err   error // of the handshake, or of the byte that each sends to the other
}

// meet connects two configurations over TCP on loopback.
func meet(t testing.TB, server, client *tls.Config) (s, c end) {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer l.Close()
	done := make(chan end)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			done <- end{err: err}
			return
		}
		done <- talk(tls.Server(conn, server))
	}()
	conn := must(net.Dial("tcp", l.Addr().String()))(t)
	c = talk(tls.Client(conn, client))
	return <-done, c
}

func talk(conn *tls.Conn) (e end) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if e.err = conn.Handshake(); e.err != nil {
		return e
	}
	e.state = conn.ConnectionState()
	if _, e.err = conn.Write([]byte{1}); e.err != nil {
		return e
	}
	_, e.err = io.ReadFull(conn, make([]byte, 1))
	return e
}
