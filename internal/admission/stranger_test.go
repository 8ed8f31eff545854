package admission

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
)

// middle is a man in the middle: it takes connections, and passes on what it gets.
type middle struct {
	addr string
	wait sync.WaitGroup

	mu  sync.Mutex
	saw bytes.Buffer
}

// newMiddle passes on to target. above and below make of its two connections what
// it speaks on them; change may change what goes to the controller.
func newMiddle(t testing.TB, target string, above, below func(net.Conn) net.Conn, change func([]byte) []byte) *middle {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	m := &middle{addr: l.Addr().String()}
	m.wait.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			m.wait.Go(func() {
				defer conn.Close()
				out, err := net.Dial("tcp", target)
				if err != nil {
					return
				}
				defer out.Close()
				until := time.Now().Add(20 * time.Second)
				_, _ = conn.SetDeadline(until), out.SetDeadline(until)
				a, b := above(conn), below(out)
				m.wait.Go(func() { m.pass(a, b, nil); conn.Close() })
				m.pass(b, a, change)
				out.Close()
			})
		}
	})
	t.Cleanup(func() { l.Close(); m.wait.Wait() })
	return m
}

// pass copies until an end, and notes what it copies.
func (m *middle) pass(to, from net.Conn, change func([]byte) []byte) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		m.mu.Lock()
		m.saw.Write(buf[:n])
		m.mu.Unlock()
		said := buf[:n]
		if change != nil && n > 0 {
			said = change(said)
		}
		if _, werr := to.Write(said); werr != nil || err != nil {
			return
		}
	}
}

func (m *middle) heard() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.saw.Bytes())
}

func plain(c net.Conn) net.Conn { return c }

// Two TLS connections, one to each side, with a controller's certificate of its
// own CA.
func TestManInTheMiddleWithTwoConnectionsLearnsAndChangesNothing(t *testing.T) {
	p := newPlace(t)
	addr := p.serve(t)
	token := p.token(t, 1, "")
	evil := must(identity.OpenCA(t.TempDir(), array, rand.Reader))(t)
	cert := must(evil.IssueController(rand.Reader))(t)
	above := func(c net.Conn) net.Conn { return tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}}) }
	below := func(c net.Conn) net.Conn { return tls.Client(c, &tls.Config{InsecureSkipVerify: true}) }
	m := newMiddle(t, addr, above, below, nil)

	if _, err := tls.Dial("tcp", m.addr, token.ClientTLS()); !errors.Is(err, identity.ErrWrongPin) {
		t.Fatalf("the node takes it for its controller: %v", err)
	}
	if got := m.heard(); len(got) > 0 {
		t.Errorf("%d bytes were said before the pin was compared", len(got))
	}
	// A node that looks at nothing makes no proof for it.
	careless := must(tls.Dial("tcp", m.addr, &tls.Config{InsecureSkipVerify: true}))(t)
	defer careless.Close()
	n := newPi(t, "pi-2")
	r := n.prepare(t)
	if _, err := token.Prove(careless.ConnectionState(), r.CSR()); !errors.Is(err, identity.ErrWrongPin) {
		t.Fatalf("a proof was made: %v", err)
	}
	// And if it sends one that it made on a genuine connection: passed on, it is
	// worth nothing, with the node's key or with another's.
	genuine := must(tls.Dial("tcp", addr, token.ClientTLS()))(t)
	defer genuine.Close()
	req := n.request(t, token, genuine.ConnectionState(), r)
	answer := must(ask(careless, req))(t)
	if !strings.Contains(answer.Text, "does not fit") || answer.Certificate.DER != nil {
		t.Errorf("what was passed on is answered %q", answer.Text)
	}
	if got := m.heard(); !bytes.Contains(got, []byte(token.ID())) || bytes.Contains(got, []byte(secretOf(token))) {
		t.Error("it did not hear the request, or it heard the secret")
	}
	if p.IsMember(n.id) || p.Tokens()[0].Left != 1 {
		t.Error("a use was spent")
	}
	if answer := must(ask(genuine, req))(t); answer.Text != "" {
		t.Errorf("the genuine connection is answered %q", answer.Text)
	}
}

// The man in the middle has a proof, heard from a careless node, and a key of his
// own; or a good connection of his own, and the node's whole request.
func TestProofIsGoodForItsConnectionAndKeyAlone(t *testing.T) {
	p := newPlace(t)
	token := p.token(t, 1, "")
	s, c, _, _ := meet(t, false, p.port, token.ClientTLS())
	n, thief := newPi(t, "pi-2"), newPi(t, "thief")
	req := n.request(t, token, c, n.prepare(t))
	stolen := req
	stolen.CSR, stolen.Node = thief.prepare(t).CSR(), thief.id
	_, err := p.Join(t.Context(), s, stolen)
	wants(t, "another key", err, raid.ErrUnauthorized, "does not fit")
	other, _, _, _ := meet(t, false, p.port, token.ClientTLS())
	_, err = p.Join(t.Context(), other, req)
	wants(t, "another connection", err, raid.ErrUnauthorized, "does not fit")
	if _, err := p.Join(t.Context(), s, req); err != nil {
		t.Errorf("the node itself: %v", err)
	}
}

// Between the two of one connection: it sees records, and changing one ends it.
func TestWhoPassesRecordsOnLearnsAndChangesNothing(t *testing.T) {
	p := newPlace(t)
	addr := p.serve(t)
	token := p.token(t, 2, "")
	n := newPi(t, "pi-of-the-kitchen")
	r := n.prepare(t)
	m := newMiddle(t, addr, plain, plain, nil)
	conn := must(tls.Dial("tcp", m.addr, token.ClientTLS()))(t)
	req := n.request(t, token, conn.ConnectionState(), r)
	answer := must(ask(conn, req))(t)
	conn.Close()
	if answer.Text != "" {
		t.Fatal(answer.Text)
	}
	heard := m.heard()
	whole, _ := json.Marshal(req)
	for what, secret := range map[string][]byte{
		"the token's secret": []byte(secretOf(token)), "the token's id": []byte(token.ID()), "the proof": req.Proof, "the request": whole[:40],
		"the CSR": req.CSR, "the name": []byte(n.name), "the certificate": answer.Certificate.DER, "the CA's": p.ca.Certificate(), "the node": []byte(n.id),
	} {
		if len(heard) == 0 || bytes.Contains(heard, secret) {
			t.Errorf("of %d bytes it learned %s", len(heard), what)
		}
	}
	n = newPi(t, "pi-3")
	r = n.prepare(t)
	var stands atomic.Bool
	m = newMiddle(t, addr, plain, plain, func(b []byte) []byte {
		if stands.Load() {
			b[len(b)-1] ^= 1
		}
		return b
	})
	conn, err := tls.Dial("tcp", m.addr, token.ClientTLS())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stands.Store(true)
	if answer, err := ask(conn, n.request(t, token, conn.ConnectionState(), r)); err == nil {
		t.Errorf("what was changed is answered %+v", answer)
	}
	if p.IsMember(n.id) {
		t.Error("and it joined")
	}
}

// Each on the nodes' ports, and where browsers come too.
func TestForgedCertificatesAreRefused(t *testing.T) {
	p := newPlace(t)
	n := p.joined(t, "pi-2")
	present := func(c tls.Certificate) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, NextProtos: []string{identity.NodeALPN, "http/1.1"},
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil }}
	}
	// certified is a certificate of a CA for the node's id, with a key of the thief's.
	certified := func(ca *identity.CA, id raid.NodeID) tls.Certificate {
		thief := newPi(t, "")
		r := thief.prepare(t)
		der := must(ca.IssueNode(must(identity.ReadCSR(r.CSR()))(t), id, rand.Reader))(t)
		node := must(r.Complete(der, ca.Certificate(), ca.Pin().Short()))(t)
		return node.ClientTLS().Certificates[0]
	}
	other := must(identity.OpenCA(t.TempDir(), array, rand.Reader))(t)
	withOurs := certified(other, n.id)
	withOurs.Certificate = [][]byte{withOurs.Certificate[0], p.ca.Certificate()}
	for _, c := range []struct {
		what string
		cert tls.Certificate
		want error
	}{
		{"another CA", certified(other, n.id), identity.ErrStranger},
		{"another CA, with ours beside it", withOurs, identity.ErrStranger},
		{"a key that was never written down", certified(p.ca, n.id), identity.ErrForeign},
		{"a node that never joined", certified(p.ca, newPi(t, "").id), identity.ErrForeign},
		{"the controller", p.own, identity.ErrRole},
	} {
		for where, server := range map[string]*tls.Config{"nodes' port": p.member, "port for all": p.port} {
			_, _, sErr, cErr := meet(t, false, server, present(c.cert))
			wants(t, c.what+" on the "+where, sErr, c.want)
			if cErr == nil {
				t.Errorf("%s on the %s: the stranger was not told", c.what, where)
			}
		}
	}
	// A member is itself, whatever it says.
	thief := p.joined(t, "pi-3")
	if got, err := p.connect(t, thief.identity(t).ClientTLS()); err != nil || got != thief.id {
		t.Errorf("a member is %q: %v", got, err)
	}
	token := p.token(t, 1, "")
	s, client, _, _ := meet(t, false, p.port, token.ClientTLS())
	req := thief.request(t, token, client, thief.prepare(t))
	req.Node = n.id
	_, err := p.Join(t.Context(), s, req)
	wants(t, "a member joins as another", err, raid.ErrPrecondition)
	if _, err := p.connect(t, n.identity(t).ClientTLS()); err != nil {
		t.Errorf("the node itself: %v", err)
	}
}

// What a silent stranger leaves behind is nothing.
func TestHandshakeThatBreaksOffChangesNothing(t *testing.T) {
	p := newPlace(t)
	n := p.joined(t, "pi-2")
	a, b := net.Pipe()
	done := make(chan error)
	go func() { done <- tls.Server(a, p.member).Handshake() }()
	go func() { _, _ = io.CopyN(io.Discard, b, 100); b.Close() }()
	_ = tls.Client(b, n.identity(t).ClientTLS()).Handshake()
	if err := <-done; err == nil {
		t.Error("half a handshake was enough")
	}
	a.Close()
	if _, err := p.connect(t, n.identity(t).ClientTLS()); err != nil {
		t.Error(err)
	}
}
