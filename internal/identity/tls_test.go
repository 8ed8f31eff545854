package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

func TestMembersMeetAtAnyTime(t *testing.T) {
	ca := newCAFor(t, array)
	id := newNodeID(t)
	node, _ := joined(t, ca, id)
	for _, clock := range []time.Time{
		{}, time.Unix(0, 0), time.Date(1970, 1, 1, 0, 0, 9, 0, time.UTC), time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(10001, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		server, client := serverOf(t, ca), node.ClientTLS()
		server.Time = func() time.Time { return clock }
		client.Time = server.Time
		s, c := meet(t, server, client)
		if s.err != nil || c.err != nil {
			t.Fatalf("clock at %v: controller: %v, node: %v", clock, s.err, c.err)
		}
		if got, err := ca.PeerNode(s.state); err != nil || got != id {
			t.Errorf("clock at %v: the node is %q (%v), want %q", clock, got, err, id)
		}
		if KeyOf(s.state) != node.Key() {
			t.Error("the controller sees another key")
		}
		if s.state.Version != tls.VersionTLS13 {
			t.Errorf("TLS version is %s", tls.VersionName(s.state.Version))
		}
	}
}

func TestControllerRefusesStrangers(t *testing.T) {
	ca, other := newCAFor(t, array), newCAFor(t, array)
	id := newNodeID(t)
	member := name{array, roleNode, id}
	client := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }
	stranger, _ := joined(t, other, id)
	controller := must(ca.IssueController(rand.Reader))(t)
	self := must(newKey())(t)
	selfSigned := must(template(member, "self", rand.Reader))(t)
	client(selfSigned)
	forged := must(sign(rand.Reader, selfSigned, selfSigned, self.Public(), self))(t)
	for _, c := range []struct {
		what string
		cert tls.Certificate
		want error
	}{
		{"another CA of the same name", stranger.certificate(), ErrStranger},
		{"its own CA, with ours behind it", tls.Certificate{Certificate: [][]byte{forged.Raw, ca.cert.Raw}, PrivateKey: self}, ErrStranger},
		{"the controller's certificate", controller, ErrRole},
		{"a node's name for servers", custom(t, ca, member, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}), ErrRole},
		{"a node's name for everything", custom(t, ca, member, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny}
		}), ErrRole},
		{"a node's name for nothing", custom(t, ca, member, func(*x509.Certificate) {}), ErrRole},
		{"the controller's name for clients", custom(t, ca, name{array: array, role: roleController}, client), ErrRole},
		{"another array's node", custom(t, ca, name{"another", roleNode, id}, client), ErrStranger},
		{"no name", custom(t, ca, member, func(c *x509.Certificate) { client(c); c.URIs = nil }), ErrStranger},
		{"two names", custom(t, ca, member, func(c *x509.Certificate) { client(c); c.URIs = append(c.URIs, c.URIs...) }), ErrStranger},
	} {
		s, n := meet(t, serverOf(t, ca), &tls.Config{Certificates: []tls.Certificate{c.cert}, InsecureSkipVerify: true})
		if !errors.Is(s.err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, s.err, c.want)
		}
		if n.err == nil {
			t.Errorf("%s: the stranger was not told", c.what)
		}
	}
}

func TestControllerRefusesNoCertificateAndOldTLS(t *testing.T) {
	ca := newCAFor(t, array)
	node, _ := joined(t, ca, newNodeID(t))
	if s, c := meet(t, serverOf(t, ca), &tls.Config{InsecureSkipVerify: true}); s.err == nil || c.err == nil {
		t.Errorf("without a certificate: %v, %v", s.err, c.err)
	}
	old := node.ClientTLS()
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if s, c := meet(t, serverOf(t, ca), old); s.err == nil || c.err == nil {
		t.Errorf("with TLS 1.2: %v, %v", s.err, c.err)
	}
}

// The checks refuse older versions too; the handshake should not get that far.
func TestEveryConfigurationIsTLS13WithoutSessions(t *testing.T) {
	ca := newCAFor(t, array)
	node, _ := joined(t, ca, newNodeID(t))
	for what, c := range map[string]*tls.Config{"controller": serverOf(t, ca), "node": node.ClientTLS(), "join": newTestToken(t).ClientTLS(),
		"pinned": Pinned(ca.Pin(), nil), "node on the port": node.PortTLS()} {
		if c.MinVersion != tls.VersionTLS13 || c.MaxVersion != tls.VersionTLS13 || !c.SessionTicketsDisabled || c.ClientSessionCache != nil || c.VerifyConnection == nil {
			t.Errorf("%s: %+v", what, c)
		}
	}
}

func TestPeerNodeBelievesNoOtherState(t *testing.T) {
	ca, other := newCAFor(t, array), newCAFor(t, array)
	node, _ := joined(t, other, newNodeID(t))
	s, _ := meet(t, serverOf(t, other), node.ClientTLS())
	if _, err := ca.PeerNode(s.state); !errors.Is(err, ErrStranger) {
		t.Errorf("a state of another array's connection: %v", err)
	}
	s.state.HandshakeComplete = false
	if _, err := other.PeerNode(s.state); !errors.Is(err, errUnfinished) {
		t.Errorf("an unfinished handshake: %v", err)
	}
	if _, err := ca.PeerNode(tls.ConnectionState{HandshakeComplete: true}); !errors.Is(err, ErrStranger) {
		t.Errorf("an empty state: %v", err)
	}
	if KeyOf(tls.ConnectionState{}) != (Pin{}) {
		t.Error("a key from nowhere")
	}
}

// The certificate says which node it is, whatever the node says.
func TestNodeCannotSpeakAsAnother(t *testing.T) {
	ca := newCAFor(t, array)
	a, b := newNodeID(t), newNodeID(t)
	node, _ := joined(t, ca, b)
	s, _ := meet(t, serverOf(t, ca), node.ClientTLS())
	if got, err := ca.PeerNode(s.state); err != nil || got == a || got != b {
		t.Errorf("node %s is taken for %s (%v)", b, got, err)
	}
}

func TestRemovedNodeIsRefused(t *testing.T) {
	ca := newCAFor(t, array)
	gone, stays := newNodeID(t), newNodeID(t)
	server := ca.ServerTLS(must(ca.IssueController(rand.Reader))(t), func(id raid.NodeID, _ Pin) error {
		if id == gone {
			return ErrRemoved
		}
		return nil
	})
	node, _ := joined(t, ca, gone)
	if s, c := meet(t, server, node.ClientTLS()); !errors.Is(s.err, ErrRemoved) || c.err == nil {
		t.Errorf("removed node: %v, %v", s.err, c.err)
	}
	node, _ = joined(t, ca, stays)
	if s, c := meet(t, server, node.ClientTLS()); s.err != nil || c.err != nil {
		t.Errorf("other node: %v, %v", s.err, c.err)
	}
}

// A node that keeps its sessions gets none from us. If tickets were on, a resumed session would be
// asked for its node all the same.
func TestRemovedNodeIsRefusedWithSavedSession(t *testing.T) {
	ca := newCAFor(t, array)
	id := newNodeID(t)
	node, _ := joined(t, ca, id)
	for _, tickets := range []bool{false, true} {
		var removed atomic.Bool
		server := ca.ServerTLS(must(ca.IssueController(rand.Reader))(t), func(raid.NodeID, Pin) error {
			if removed.Load() {
				return ErrRemoved
			}
			return nil
		})
		if tickets {
			server.SessionTicketsDisabled = false
		}
		client := node.ClientTLS()
		client.SessionTicketsDisabled = false
		client.ServerName = "controller"
		client.ClientSessionCache = tls.NewLRUClientSessionCache(4)
		for range 2 {
			s, c := meet(t, server, client)
			if s.err != nil || c.err != nil {
				t.Fatalf("tickets %v: %v, %v", tickets, s.err, c.err)
			}
			if s.state.DidResume && !tickets {
				t.Error("a session was resumed though tickets are off")
			}
		}
		if s, c := meet(t, server, client); s.err != nil || c.err != nil || s.state.DidResume != tickets {
			t.Fatalf("tickets %v: resumed is %v: %v, %v", tickets, s.state.DidResume, s.err, c.err)
		}
		removed.Store(true)
		s, c := meet(t, server, client)
		if !errors.Is(s.err, ErrRemoved) || c.err == nil {
			t.Errorf("tickets %v: removed node with a saved session: %v, %v", tickets, s.err, c.err)
		}
	}
}

func TestNodeRefusesWhatIsNotItsController(t *testing.T) {
	ca, other := newCAFor(t, array), newCAFor(t, array)
	node, _ := joined(t, ca, newNodeID(t))
	anotherNode, _ := joined(t, ca, newNodeID(t))
	server := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }
	role := name{array: array, role: roleController}
	for _, c := range []struct {
		what string
		cert tls.Certificate
		want error
	}{
		{"another CA", must(other.IssueController(rand.Reader))(t), ErrStranger},
		{"another node", anotherNode.certificate(), ErrRole},
		{"a node's name for servers", custom(t, ca, name{array, roleNode, newNodeID(t)}, server), ErrRole},
		{"the controller's name for clients", custom(t, ca, role, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		}), ErrRole},
		{"another array's controller", custom(t, ca, name{array: "another", role: roleController}, server), ErrStranger},
	} {
		config := base()
		config.Certificates = []tls.Certificate{c.cert}
		if _, n := meet(t, config, node.ClientTLS()); !errors.Is(n.err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, n.err, c.want)
		}
	}
	old := serverOf(t, ca)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if _, n := meet(t, old, node.ClientTLS()); n.err == nil {
		t.Error("the node spoke TLS 1.2")
	}
}

func TestCSRIsBounded(t *testing.T) {
	ca := newCAFor(t, array)
	request := func(key any, change func(*x509.CertificateRequest)) []byte {
		r := &x509.CertificateRequest{}
		if change != nil {
			change(r)
		}
		return must(x509.CreateCertificateRequest(rand.Reader, r, key))(t)
	}
	p256 := must(newKey())(t)
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))(t)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	broken := request(p256, nil)
	broken[len(broken)-1] ^= 1
	for what, der := range map[string][]byte{
		"P-384": request(p384, nil), "broken signature": broken, "empty": nil, "cut": broken[:100],
		"trailing byte": append(request(p256, nil), 0),
		"too large":     request(p256, func(r *x509.CertificateRequest) { r.DNSNames = []string{strings.Repeat("a", MaxCSR)} }),
	} {
		if _, err := ReadCSR(der); !errors.Is(err, ErrCSR) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// What it asks for does not count.
	greedy := request(ed, func(r *x509.CertificateRequest) {
		r.URIs = append(r.URIs, name{array: array, role: roleController}.uri())
		r.DNSNames = []string{"controller.local"}
	})
	id := newNodeID(t)
	c := must(x509.ParseCertificate(must(ca.IssueNode(must(ReadCSR(greedy))(t), id, rand.Reader))(t)))(t)
	if n, err := nameOf(c); err != nil || n != (name{array, roleNode, id}) || len(c.DNSNames) != 0 || c.IsCA {
		t.Errorf("certificate is for %+v, %v, %v", n, c.DNSNames, err)
	}
	// An Ed25519 key is as good in a connection.
	s, _ := meet(t, serverOf(t, ca), &tls.Config{InsecureSkipVerify: true,
		Certificates: []tls.Certificate{{Certificate: [][]byte{c.Raw}, PrivateKey: ed}}})
	if got, err := ca.PeerNode(s.state); s.err != nil || err != nil || got != id {
		t.Errorf("with Ed25519: %v, %v, %v", s.err, got, err)
	}
	for _, bad := range []raid.NodeID{"", "lab-10.0.0.1", "../../../etc/passwd000", "0123456789abcdefghijk/"} {
		if _, err := ca.IssueNode(must(ReadCSR(greedy))(t), bad, rand.Reader); err == nil {
			t.Errorf("a certificate was made for node %q", bad)
		}
	}
	if _, err := ca.IssueNode(NodeKey{}, id, rand.Reader); !errors.Is(err, ErrCSR) {
		t.Errorf("without a key: %v", err)
	}
}
