//go:build nspawn

package pis

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/raidpi/raidpi/test/nspawn"
)

// sourceName is where the README says that the packages are. Hosts know this address
// by their /etc/hosts, and trust the test's CA for it.
const sourceName = "raidpi.github.io"

// packageSource serves what `make apt-repo` built as files, over HTTPS.
type packageSource struct {
	now, next string // folders: of this version, and of the one after it
	ca        string // PEM
	cert      tls.Certificate
	versions  [2]string // of now and next, as dpkg has them
}

func newPackageSource(dist string) (*packageSource, error) {
	s := &packageSource{now: filepath.Join(dist, "apt"), next: filepath.Join(dist, "next", "apt")}
	for _, dir := range []string{s.now, s.next} {
		if _, err := os.Stat(filepath.Join(dir, "dists", "bookworm", "InRelease")); err != nil {
			return nil, fmt.Errorf("serve packages: %w; run make e2e, which builds them first", err)
		}
	}
	var err error
	if s.versions, err = versionsIn(s.now, s.next); err != nil {
		return nil, err
	}
	return s, s.makeCertificates()
}

// versionsIn finds both versions of raid-node in the later package source. The one of
// now is in both.
func versionsIn(now, next string) (v [2]string, err error) {
	const pool = "pool/main/raid-node"
	debs, err := filepath.Glob(filepath.Join(next, pool, "raid-node_*_amd64.deb"))
	for _, deb := range debs {
		at := 0
		if _, missing := os.Stat(filepath.Join(now, pool, filepath.Base(deb))); missing != nil {
			at = 1
		}
		v[at] = strings.Split(filepath.Base(deb), "_")[1]
	}
	if err != nil || len(debs) != 2 || v[0] == "" || v[1] == "" {
		return v, errors.Join(err, fmt.Errorf("serve packages: %s has %v, want two versions of raid-node, and one of them in %s; run make e2e, which builds them", next, debs, now))
	}
	return v, nil
}

func (s *packageSource) makeCertificates() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test of raidpi"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		return err
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{sourceName}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		KeyUsage: x509.KeyUsageDigitalSignature, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, leafKey.Public(), key)
	if err != nil {
		return err
	}
	s.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	s.cert = tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: leafKey}
	return nil
}

// serve hands this version out in a lab until the test is over, at /apt. The one after it is at
// /next, as if the site had been updated.
func (s *packageSource) serve(t *testing.T, lab *nspawn.Lab) error {
	ln, err := lab.Listen("443")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/apt/", http.StripPrefix("/apt/", http.FileServer(http.Dir(s.now))))
	mux.Handle("/next/", http.StripPrefix("/next/", http.FileServer(http.Dir(s.next))))
	server := &http.Server{Handler: mux, TLSConfig: &tls.Config{Certificates: []tls.Certificate{s.cert}}, ErrorLog: log.New(io.Discard, "", 0)}
	served := make(chan error)
	go func() { served <- server.ServeTLS(ln, "", "") }()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	return nil
}

// publishNext makes the hosts' package source that of the next version, as an update of
// the site would. The key is the same.
func publishNext(hosts ...*host) {
	together(hosts, func(h *host) {
		h.must("sed -i s,/apt,/next, /etc/apt/sources.list.d/raidpi.sources && apt update")
	})
}
