package identity

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestJoinOverTheNodesCertificateAndOverTheBrowsers(t *testing.T) {
	ca := newCAFor(t, array)
	token := must(NewToken(ca.Pin(), rand.Reader))(t)
	hosts := Hosts{DNS: []string{"controller.local"}, IPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}
	for what, cert := range map[string]tls.Certificate{
		"controller":     must(ca.IssueController(rand.Reader))(t),
		"browsers":       must(ca.IssueHTTPS(hosts, time.Now(), rand.Reader))(t),
		"browsers, 1970": must(ca.IssueHTTPS(hosts, time.Unix(20, 0), rand.Reader))(t),
		"browsers, 2100": must(ca.IssueHTTPS(hosts, time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), rand.Reader))(t),
	} {
		server := &tls.Config{Certificates: []tls.Certificate{cert}} // as a web server has it
		client := token.ClientTLS()
		client.Time = func() time.Time { return time.Unix(0, 0) }
		s, c := meet(t, server, client)
		if s.err != nil || c.err != nil {
			t.Fatalf("%s: %v, %v", what, s.err, c.err)
		}
		r := must(Prepare(t.TempDir(), Machine{}))(t)
		proof := must(token.Prove(c.state, r.CSR()))(t)
		if err := token.CheckProof(s.state, r.CSR(), proof); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		checkProofsThatDoNotFit(t, ca, token, s.state, r.CSR(), proof)
		if s, c = meet(t, server, token.ClientTLS()); s.err != nil || c.err != nil {
			t.Fatalf("%s: %v, %v", what, s.err, c.err)
		}
		if err := token.CheckProof(s.state, r.CSR(), proof); !errors.Is(err, ErrProof) {
			t.Errorf("%s: the proof of an earlier connection: %v", what, err)
		}
	}
}

func checkProofsThatDoNotFit(t *testing.T, ca *CA, token Token, cs tls.ConnectionState, csr, proof []byte) {
	t.Helper()
	another := must(NewToken(ca.Pin(), rand.Reader))(t)
	wrong := bytes.Clone(proof)
	wrong[0] ^= 1
	for what, err := range map[string]error{
		"another token's": another.CheckProof(cs, csr, proof),
		"another CSR's":   token.CheckProof(cs, append(bytes.Clone(csr), 0), proof),
		"changed":         token.CheckProof(cs, csr, wrong),
		"cut":             token.CheckProof(cs, csr, proof[:31]),
		"empty":           token.CheckProof(cs, csr, nil),
	} {
		if !errors.Is(err, ErrProof) {
			t.Errorf("%s proof: %v", what, err)
		} else if shows(err.Error(), token) {
			t.Errorf("%s proof: the error tells the secret", what)
		}
	}
	if err := (Token{}).CheckProof(cs, csr, proof); err == nil {
		t.Error("a proof fits no token")
	}
	if err := token.CheckProof(tls.ConnectionState{}, csr, proof); err == nil {
		t.Error("a proof fits no connection")
	}
}

func TestJoinRefusesOtherControllers(t *testing.T) {
	ca, other := newCAFor(t, array), newCAFor(t, array)
	token := must(NewToken(ca.Pin(), rand.Reader))(t)
	evil := must(other.IssueController(rand.Reader))(t)
	withOurs := evil
	withOurs.Certificate = [][]byte{evil.Certificate[0], ca.Certificate()}
	node, _ := joined(t, ca, newNodeID(t))
	for _, c := range []struct {
		what string
		cert tls.Certificate
		want error
	}{
		{"another CA", evil, ErrWrongPin},
		{"our CA behind another's certificate", withOurs, ErrStranger},
		{"a node of the array", node.certificate(), ErrRole},
		{"a name of another array", custom(t, ca, name{array: "another", role: roleController}, func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}), ErrStranger},
	} {
		_, n := meet(t, &tls.Config{Certificates: []tls.Certificate{c.cert}}, token.ClientTLS())
		if !errors.Is(n.err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, n.err, c.want)
		}
	}
	_, n := meet(t, &tls.Config{Certificates: []tls.Certificate{evil}}, token.ClientTLS())
	var pin *PinError
	if !errors.As(n.err, &pin) || pin.Want != ca.Pin().Short() || pin.Got != other.Pin().Short() {
		t.Errorf("the error tells no pins: %v", n.err)
	}
	if _, n := meet(t, &tls.Config{Certificates: []tls.Certificate{evil}, MaxVersion: tls.VersionTLS12}, token.ClientTLS()); n.err == nil {
		t.Error("a node joined over TLS 1.2")
	}
}

// middle is a man in the middle. It terminates TLS with its own certificate and passes on what it
// gets over a connection of its own.
type middle struct {
	listener net.Listener
	saw      chan []byte
}

func newMiddle(t *testing.T, cert tls.Certificate, target string) *middle {
	m := &middle{must(net.Listen("tcp", "127.0.0.1:0"))(t), make(chan []byte, 1)}
	t.Cleanup(func() { m.listener.Close() })
	go func() {
		raw, err := m.listener.Accept()
		if err != nil {
			return
		}
		defer raw.Close()
		_ = raw.SetDeadline(time.Now().Add(20 * time.Second))
		victim := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{cert}})
		out, err := tls.Dial("tcp", target, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			m.saw <- nil
			return
		}
		defer out.Close()
		var copied bytes.Buffer
		_, _ = io.Copy(io.MultiWriter(out, &copied), victim)
		m.saw <- copied.Bytes()
	}()
	return m
}

func TestManInTheMiddleLearnsNothingAndProvesNothing(t *testing.T) {
	ca, other := newCAFor(t, array), newCAFor(t, array)
	token := must(NewToken(ca.Pin(), rand.Reader))(t)
	csr := must(Prepare(t.TempDir(), Machine{}))(t).CSR()
	evil := must(other.IssueController(rand.Reader))(t)
	for _, careful := range []bool{true, false} {
		checked := make(chan error, 1)
		controller := must(tls.Listen("tcp", "127.0.0.1:0", serverForJoin(t, ca)))(t)
		defer controller.Close()
		go func() { checked <- takeProof(controller, token, len(csr)) }()
		m := newMiddle(t, evil, controller.Addr().String())
		raw := must(net.Dial("tcp", m.listener.Addr().String()))(t)
		config := token.ClientTLS()
		if !careful {
			config.VerifyConnection = nil
		}
		conn := tls.Client(raw, config)
		_ = raw.SetDeadline(time.Now().Add(20 * time.Second))
		err := conn.Handshake()
		if careful {
			if !errors.Is(err, ErrWrongPin) {
				t.Fatalf("the pin was not missed: %v", err)
			}
			raw.Close()
			if saw := <-m.saw; len(saw) > 0 {
				t.Errorf("%d bytes were sent before the pin was compared", len(saw))
			}
			if err := <-checked; err == nil {
				t.Error("the controller got a proof")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := token.Prove(conn.ConnectionState(), csr); !errors.Is(err, ErrWrongPin) {
			t.Errorf("a proof was made for a stranger: %v", err)
		}
		proof := must(token.proof(conn.ConnectionState(), csr))(t)
		must(conn.Write(append(bytes.Clone(csr), proof...)))(t)
		conn.Close()
		saw := <-m.saw
		if len(saw) != len(csr)+len(proof) {
			t.Fatalf("the man in the middle saw %d bytes", len(saw))
		}
		if bytes.Contains(saw, secretOf(token)) || shows(string(saw), token) {
			t.Error("the man in the middle learned the secret")
		}
		if err := <-checked; !errors.Is(err, ErrProof) {
			t.Errorf("the man in the middle's proof: %v", err)
		}
	}
}

func serverForJoin(t *testing.T, ca *CA) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{must(ca.IssueController(rand.Reader))(t)}}
}

// takeProof is a controller that takes one request: a CSR of n bytes, a proof.
func takeProof(l net.Listener, token Token, n int) error {
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	request := make([]byte, n+32)
	if _, err := io.ReadFull(conn, request); err != nil {
		return err
	}
	return token.CheckProof(conn.(*tls.Conn).ConnectionState(), request[:n], request[n:])
}

// shows reports whether a text has a token's secret in it.
func shows(text string, token Token) bool {
	for _, s := range []string{encodeDigits(secretOf(token)), hex.EncodeToString(secretOf(token)), token.String()} {
		if strings.Contains(strings.ToLower(text), strings.ToLower(s)) {
			return true
		}
	}
	return false
}
