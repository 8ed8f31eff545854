package identity

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/internal/raid"
)

// portOf is the configuration of the port for all, and what browsers see there.
func portOf(t testing.TB, ca *CA, check func(raid.NodeID, Pin) error) *tls.Config {
	t.Helper()
	leaf := must(ca.IssueHTTPS(testHosts, noon, rand.Reader))(t)
	member := ca.ServerTLS(must(ca.IssueController(rand.Reader))(t), check)
	return ca.PortTLS(func() *tls.Certificate { return &leaf }, member)
}

func TestBrowsersAndNodesMeetOnOnePort(t *testing.T) {
	ca := newCAFor(t, array)
	node, _ := joined(t, ca, newNodeID(t))
	port := portOf(t, ca, anyKey)

	asked := false
	s, c := meet(t, port, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			return &tls.Certificate{}, nil
		}})
	if s.err != nil || c.err != nil || asked || s.state.NegotiatedProtocol != "http/1.1" {
		t.Errorf("browser: %v, %v; asked for a certificate: %v; speaks %q", s.err, c.err, asked, s.state.NegotiatedProtocol)
	}
	if len(c.state.PeerCertificates) == 0 || len(c.state.PeerCertificates[0].DNSNames) == 0 {
		t.Error("the browser sees no names")
	}
	s, c = meet(t, port, node.PortTLS())
	if s.err != nil || c.err != nil || s.state.NegotiatedProtocol != "http/1.1" {
		t.Errorf("node: %v, %v; speaks %q", s.err, c.err, s.state.NegotiatedProtocol)
	}
	if got, err := ca.PeerNode(s.state); err != nil || got != node.ID() {
		t.Errorf("the node is %q: %v", got, err)
	}
	// Without its offer it is nobody.
	s, c = meet(t, port, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{node.certificate()}})
	if s.err != nil || c.err != nil || len(s.state.PeerCertificates) != 0 {
		t.Errorf("node without an offer: %v, %v, %d certificates", s.err, c.err, len(s.state.PeerCertificates))
	}
}

func TestPortRefusesStrangersWhoOfferToBeNodes(t *testing.T) {
	ca, other := newCAFor(t, array), newCAFor(t, array)
	stranger, _ := joined(t, other, newNodeID(t))
	gone, _ := joined(t, ca, newNodeID(t))
	port := portOf(t, ca, func(id raid.NodeID, _ Pin) error {
		if id == gone.ID() {
			return ErrRemoved
		}
		return nil
	})
	foreign := stranger.PortTLS()
	foreign.VerifyConnection = nil
	if s, c := meet(t, port, foreign); !errors.Is(s.err, ErrStranger) || c.err == nil {
		t.Errorf("of another CA: %v, %v", s.err, c.err)
	}
	if s, c := meet(t, port, gone.PortTLS()); !errors.Is(s.err, ErrRemoved) || c.err == nil {
		t.Errorf("removed: %v, %v", s.err, c.err)
	}
	if s, c := meet(t, port, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{NodeALPN, http1}}); s.err == nil || c.err == nil {
		t.Errorf("without a certificate: %v, %v", s.err, c.err)
	}
	none := ca.PortTLS(func() *tls.Certificate { return nil }, serverOf(t, ca))
	if s, c := meet(t, none, &tls.Config{InsecureSkipVerify: true}); s.err == nil || c.err == nil {
		t.Errorf("before there is a certificate: %v, %v", s.err, c.err)
	}
}

// The check comes before the proof, so who knows a certificate alone gets that
// far, and no further.
func TestCertificateWithoutItsKeyIsWorthNothing(t *testing.T) {
	ca := newCAFor(t, array)
	node, _ := joined(t, ca, newNodeID(t))
	stolen := node.certificate()
	stolen.PrivateKey = must(newKey())(t)
	var asked Pin
	server := ca.ServerTLS(must(ca.IssueController(rand.Reader))(t), func(_ raid.NodeID, key Pin) error {
		asked = key
		return nil
	})
	s, c := meet(t, server, &tls.Config{InsecureSkipVerify: true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stolen, nil }})
	if s.err == nil || c.err == nil {
		t.Errorf("%v, %v", s.err, c.err)
	}
	if asked != node.Key() {
		t.Errorf("the check was asked about %v, want %v", asked, node.Key())
	}
}

func TestPinnedConnectionFindsItsControllerAtAnyTime(t *testing.T) {
	ca, other := newCAFor(t, array), newCAFor(t, array)
	client := Pinned(ca.Pin(), nil)
	client.Time = func() time.Time { return time.Unix(0, 0) }
	s, c := meet(t, portOf(t, ca, anyKey), client)
	if s.err != nil || c.err != nil {
		t.Fatalf("%v, %v", s.err, c.err)
	}
	if got, err := ArrayOf(c.state); err != nil || got != array {
		t.Errorf("the array is %q: %v", got, err)
	}
	_, c = meet(t, portOf(t, other, anyKey), client)
	var wrong *FingerprintError
	if !errors.Is(c.err, ErrWrongPin) || !errors.As(c.err, &wrong) || wrong.Want != ca.Pin() || wrong.Got != other.Pin() {
		t.Errorf("another CA: %v", c.err)
	}
	// The right CA behind a certificate that it did not make.
	evil := must(other.IssueController(rand.Reader))(t)
	evil.Certificate = [][]byte{evil.Certificate[0], ca.Certificate()}
	if _, c = meet(t, &tls.Config{Certificates: []tls.Certificate{evil}}, client); !errors.Is(c.err, ErrStranger) {
		t.Errorf("another CA's certificate: %v", c.err)
	}
}

func TestArrayIsNamedAfterTheHandshakeAlone(t *testing.T) {
	ca := newCAFor(t, array)
	node, _ := joined(t, ca, newNodeID(t))
	_, c := meet(t, serverOf(t, ca), node.ClientTLS())
	if got, err := ArrayOf(c.state); err != nil || got != array {
		t.Errorf("the array is %q: %v", got, err)
	}
	c.state.HandshakeComplete = false
	if _, err := ArrayOf(c.state); !errors.Is(err, errUnfinished) {
		t.Errorf("an unfinished handshake: %v", err)
	}
	for _, cs := range []tls.ConnectionState{{HandshakeComplete: true}, {HandshakeComplete: true, Version: tls.VersionTLS13}} {
		if _, err := ArrayOf(cs); !errors.Is(err, ErrStranger) {
			t.Errorf("an empty state: %v", err)
		}
	}
}

func TestPeekTellsTheFingerprintAndSendsNothing(t *testing.T) {
	ca := newCAFor(t, array)
	l := must(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer l.Close()
	peek := func(server *tls.Config) (Pin, raid.ArrayID, []byte, error) {
		t.Helper()
		heard := make(chan []byte, 1)
		go func() {
			conn, err := l.Accept()
			if err != nil {
				heard <- nil
				return
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			all, _ := io.ReadAll(tls.Server(conn, server))
			heard <- all
		}()
		nc := must(net.Dial("tcp", l.Addr().String()))(t)
		pin, array, err := PeekPin(t.Context(), nc, nil)
		if _, err := nc.Write([]byte{1}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the connection is still open: %v", err)
		}
		return pin, array, <-heard, err
	}
	pin, got, heard, err := peek(portOf(t, ca, anyKey))
	if err != nil || pin != ca.Pin() || got != array || len(heard) > 0 {
		t.Errorf("peeked %v of array %q, %v; %d bytes were sent", pin, got, err, len(heard))
	}
	node, _ := joined(t, ca, newNodeID(t))
	if pin, _, _, err := peek(&tls.Config{Certificates: []tls.Certificate{node.certificate()}}); !errors.Is(err, ErrRole) || pin != (Pin{}) {
		t.Errorf("a node that plays the controller: %v, %v", pin, err)
	}
	// Its certificate alone, without the key.
	fake := must(ca.IssueController(rand.Reader))(t)
	fake.PrivateKey = must(newKey())(t)
	if pin, _, _, err := peek(&tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &fake, nil }}); err == nil || pin != (Pin{}) {
		t.Errorf("a certificate without its key: %v, %v", pin, err)
	}
}

func TestPeekEndsWithItsContext(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	go func() { _, _ = io.Copy(io.Discard, theirs) }()
	if _, _, err := PeekPin(ctx, ours, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a peer that says nothing: %v", err)
	}
}

func TestFingerprintReadsAsItIsWritten(t *testing.T) {
	pin := newCAFor(t, array).Pin()
	text := pin.Fingerprint()
	if len(text) != len("SHA256:")+43 || strings.HasSuffix(text, "=") {
		t.Errorf("the fingerprint is %q", text)
	}
	for _, same := range []string{text, " " + text + "\n"} {
		if got, err := ParseFingerprint(same); err != nil || got != pin {
			t.Errorf("%q reads as %v: %v", same, got, err)
		}
	}
	digits := strings.TrimPrefix(text, "SHA256:")
	for _, bad := range []string{"", "SHA256:", digits, "sha256:" + digits, text + "=", text + "A", text[:len(text)-1],
		"SHA256:" + digits[:20] + "\n" + digits[20:], "MD5:" + digits, "SHA256:" + strings.Repeat("/", 42) + "/", pin.String()} {
		if got, err := ParseFingerprint(bad); !errors.Is(err, ErrFingerprint) || got != (Pin{}) {
			t.Errorf("%q reads as %v: %v", bad, got, err)
		}
	}
}

func FuzzFingerprint(f *testing.F) {
	f.Add(Pin{1, 2, 3}.Fingerprint())
	f.Add("SHA256:")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		pin, err := ParseFingerprint(text)
		if err == nil && pin.Fingerprint() != strings.TrimSpace(text) {
			t.Fatalf("%q reads as %q", text, pin.Fingerprint())
		}
		if err != nil && !errors.Is(err, ErrFingerprint) {
			t.Fatalf("%q: %v", text, err)
		}
	})
}

func TestPEMIsTheCertificateAlone(t *testing.T) {
	ca := newCAFor(t, array)
	block, rest := pem.Decode(ca.PEM())
	if block == nil || len(rest) > 0 || block.Type != "CERTIFICATE" || string(block.Bytes) != string(ca.Certificate()) {
		t.Errorf("PEM is %q", ca.PEM())
	}
}
