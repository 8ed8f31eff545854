package admission

import (
	"crypto/tls"
	"errors"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/identity"
	"github.com/raidpi/raidpi/internal/raid"
)

// FuzzJoinRequest takes anything for a request to join, from strangers and from
// who knows the secret. What is let in must be a node with a key of ours, what is
// refused says why, and no text has the secret in it.
func FuzzJoinRequest(f *testing.F) {
	p := newPlace(f)
	token := p.token(f, maxUses, "")
	s, c, _, _ := meet(f, false, p.port, token.ClientTLS())
	n := newPi(f, "pi-2")
	good := n.request(f, token, c, n.prepare(f))
	f.Add(3, "0.3", good.Token, good.CSR, good.Proof, string(good.Node), good.Name, false)
	f.Add(3, "0.3", good.Token, good.CSR, []byte{}, string(good.Node), good.Name, true)
	f.Add(3, "", good.Token, p.ca.Certificate(), []byte{}, string(good.Node), "", true)
	f.Add(2, "\x00", "00000000", []byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff}, []byte{}, "../../../etc/passwd000", "a\nb", true)
	f.Add(-1, strings.Repeat("é", 100), token.String(), []byte{}, make([]byte, 32), "", "\xff", false)
	kinds := []error{raid.ErrInvalid, raid.ErrUnauthorized, raid.ErrForbidden, raid.ErrPrecondition, raid.ErrUpgrade}
	f.Fuzz(func(t *testing.T, protocol int, version, id string, csr, proof []byte, node, name string, proves bool) {
		req := raid.JoinRequest{Protocol: protocol, Version: version, Token: id, CSR: csr, Proof: proof, Node: raid.NodeID(node), Name: name}
		if proves {
			req.Token, req.Proof = token.ID(), must(token.Prove(c, csr))(t)
		}
		cert, err := p.Join(t.Context(), s, req)
		if err != nil {
			if !fits(err, kinds) {
				t.Fatalf("nobody foresaw %v", err)
			}
			if text := err.Error(); strings.Contains(text, secretOf(token)) || len(text) > 4096 {
				t.Fatalf("the text is %q", text)
			}
			return
		}
		key, err := identity.ReadCSR(csr)
		if err != nil || p.CheckKey(cert.Node, key.Pin()) != nil || string(cert.Node) != node || !p.IsMember(cert.Node) {
			t.Fatalf("node %q was let in: %v", node, err)
		}
	})
}

// FuzzRenewRequest takes anything for the certificate request of a member.
func FuzzRenewRequest(f *testing.F) {
	p := newPlace(f)
	n := newPi(f, "pi-2")
	if _, err := p.join(f, false, n, p.token(f, 1, "")); err != nil {
		f.Fatal(err)
	}
	node := n.identity(f)
	cs := p.dialPort(f, node)
	f.Add(newPi(f, "").prepare(f).CSR())
	f.Add(p.ca.Certificate())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, csr []byte) {
		cert, err := p.Renew(t.Context(), cs, csr)
		if err != nil && !errors.Is(err, raid.ErrInvalid) || err == nil && cert.Node != n.id {
			t.Fatalf("certificate for %q: %v", cert.Node, err)
		}
		if err := p.CheckKey(n.id, node.Key()); err != nil {
			t.Fatalf("the present key is gone: %v", err)
		}
		if _, err := p.Renew(t.Context(), tls.ConnectionState{}, csr); !errors.Is(err, raid.ErrUnauthorized) {
			t.Fatalf("without a certificate: %v", err)
		}
	})
}

func fits(err error, kinds []error) bool {
	for _, k := range kinds {
		if errors.Is(err, k) {
			return true
		}
	}
	return false
}
