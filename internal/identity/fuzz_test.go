package identity

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/raidpi/raidpi/internal/raid"
)

// FuzzToken takes any text for a token. What is accepted must be spelled as we
// spell it.
func FuzzToken(f *testing.F) {
	whole := newTestToken(f).String()
	f.Add(whole)
	f.Add(whole[:TokenLen-1])
	f.Add("RAID1-" + strings.Repeat("0", 26) + "-00000000-" + strings.Repeat("0", 26) + "-000000")
	f.Add("RAID1----")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		token, err := ParseToken(text)
		if err != nil {
			if errors.Is(err, ErrMistyped) == errors.Is(err, ErrNotToken) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if token.String() != strings.TrimSpace(text) {
			t.Fatalf("%q reads as %q", text, token.String())
		}
	})
}

// FuzzCSR takes any bytes for a certificate request. What is accepted must be
// possible to sign, and is a node's certificate whatever was asked for.
func FuzzCSR(f *testing.F) {
	ca := newCAFor(f, array)
	id := newNodeID(f)
	key := must(newKey())(f)
	f.Add(must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key))(f))
	f.Add(must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"a"}}, key))(f))
	f.Add(ca.Certificate())
	f.Add([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, der []byte) {
		key, err := ReadCSR(der)
		if err != nil {
			if !errors.Is(err, ErrCSR) {
				t.Fatal(err)
			}
			return
		}
		c := must(x509.ParseCertificate(must(ca.IssueNode(key, id, rand.Reader))(t)))(t)
		if n, err := verify(c, ca.cert, asNode, verifiedAt); err != nil || n.node != id || PinOf(c) != key.Pin() {
			t.Fatalf("signed: %+v, %v", n, err)
		}
	})
}

// FuzzStoredFile takes any bytes for the files of a CA and of a node. What is
// accepted must be what we would have written.
func FuzzStoredFile(f *testing.F) {
	dir := f.TempDir()
	ca := must(OpenCA(dir, array, rand.Reader))(f)
	_, node := joined(f, ca, newNodeID(f))
	must(Prepare(node, Machine{1}))(f)
	for _, path := range []string{filepath.Join(dir, caFile), filepath.Join(node, nodeFile), filepath.Join(node, nextFile)} {
		whole := must(os.ReadFile(path))(f)
		f.Add(whole)
		f.Add(whole[:len(whole)/2])
	}
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := parseBundle(text)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatal(err)
			}
			return
		}
		if again, err := b.encode(); err != nil || !bytes.Equal(again, text) {
			t.Fatalf("accepted, and written as other bytes: %v", err)
		}
		if ca, err := caFrom(b, array); err == nil && ca.Array() != array {
			t.Fatal("a CA of another array")
		}
		if n, err := nodeFrom(b); err == nil {
			if _, err := raid.DecodeID(string(n.ID())); err != nil {
				t.Fatalf("node %q", n.ID())
			}
		}
	})
}

// FuzzPeerCertificate takes any bytes for the certificate of a stranger, who can
// put into it what they like, but not our CA's signature under it.
func FuzzPeerCertificate(f *testing.F) {
	ca, other := newCAFor(f, array), newCAFor(f, array)
	stranger, _ := joined(f, other, newNodeID(f))
	f.Add(stranger.own.certs[0].Raw)
	f.Add(ca.Certificate())
	f.Add(must(ca.IssueController(rand.Reader))(f).Certificate[0])
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		if n, err := verify(c, ca.cert, asNode, verifiedAt); err == nil {
			t.Fatalf("taken for node %q", n.node)
		}
		_, _ = nameOf(c)
	})
}
