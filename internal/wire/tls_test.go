package wire

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"strings"
	"testing"
	"time"
)

// pinned makes configurations of two ends that trust each other's one certificate
// and nothing else.
func pinned(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"array"}, NotBefore: time.Unix(0, 0), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(cert)
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: "array", RootCAs: trusted, ClientCAs: trusted,
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		ClientAuth:   tls.RequireAndVerifyClientCert, SessionTicketsDisabled: true,
	}
	return cfg, cfg.Clone()
}

func TestSessionsRunInsideTLS(t *testing.T) {
	server, client := pinned(t)
	th := startHub(t, &loopback{}, func(c *HubConfig) { c.Plaintext, c.TLS = PlaintextOff, server })
	everyRequestReachesItsNode(t, th, func(c *LinkConfig) { c.Plaintext, c.TLS = PlaintextOff, client })
	if _, err := rawConnect(t, th, roleStore, nil); err == nil || !strings.Contains(err.Error(), "plaintext under [nodes]") {
		t.Errorf("outside of TLS a peer is refused with %v", err)
	}
}

// The demo's nodes, lab peers and joined nodes meet at one controller.
func TestSessionsInsideAndOutsideTLSShareAHub(t *testing.T) {
	server, client := pinned(t)
	th := startHub(t, &loopback{}, func(c *HubConfig) { c.Plaintext, c.TLS = PlaintextLoopback, server })
	inside, outside := newMemNode(), newMemNode()
	startLink(t, th, inside, func(c *LinkConfig) { c.Plaintext, c.TLS = PlaintextOff, client })
	startLink(t, th, outside, func(c *LinkConfig) { c.Plaintext = PlaintextLoopback })
	up := newUpload(t, 1)
	for range 2 {
		s := th.events.next(t, "up").sess
		if err := s.Store(within(t, 10*time.Second), up.store(randomBytes(1<<20))); err != nil {
			t.Error(err)
		}
	}
	if len(inside.chunks) != 1 || len(outside.chunks) != 1 {
		t.Errorf("the nodes have %d and %d chunks", len(inside.chunks), len(outside.chunks))
	}
}

func TestStatusTellsWhyThereIsNoTLS(t *testing.T) {
	server, client := pinned(t)
	_, stranger := pinned(t)
	stranger.RootCAs = client.RootCAs
	_, distrustful := pinned(t)
	th := startHub(t, &loopback{}, func(c *HubConfig) { c.TLS = server })
	plain := startHub(t, &loopback{}, nil)
	for want, c := range map[string]struct {
		th     *testHub
		client *tls.Config
	}{
		"does not accept our certificate":             {th, stranger},
		"the peer's certificate is not accepted here": {th, distrustful},
		"does it take TLS on this port?":              {plain, client},
	} {
		l, _ := startLink(t, c.th, newMemNode(), func(cfg *LinkConfig) { cfg.TLS = c.client })
		eventually(t, "the status tells: "+want, func() bool { return strings.Contains(l.Status(), want) })
	}
}
