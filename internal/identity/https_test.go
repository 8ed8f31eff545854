package identity

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var (
	noon      = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	built     = noon.AddDate(0, -1, 0)
	testHosts = Hosts{
		DNS: []string{"controller.local", "Pi"},
		IPs: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
	}
)

func TestBrowsersAcceptTheCertificate(t *testing.T) {
	ca := newCAFor(t, array)
	c := must(ca.IssueHTTPS(testHosts, noon, rand.Reader))(t).Leaf
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	for _, host := range []string{"controller.local", "pi", "192.0.2.1", "2001:db8::1"} {
		if _, err := c.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: noon}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err := c.Verify(x509.VerifyOptions{Roots: roots, DNSName: "elsewhere", CurrentTime: noon}); err == nil {
		t.Error("it is good for any host")
	}
	if life := c.NotAfter.Sub(c.NotBefore) + time.Second; life != 397*24*time.Hour {
		t.Errorf("it is valid for %v", life)
	}
	if c.NotBefore.After(noon) {
		t.Errorf("it is valid from %v", c.NotBefore)
	}
	for _, h := range []Hosts{{}, {DNS: make([]string, 1)}, {DNS: []string{"é"}}, {DNS: []string{"a b"}}, {DNS: []string{strings.Repeat("a", 254)}}} {
		if _, err := ca.IssueHTTPS(h, noon, rand.Reader); err == nil {
			t.Errorf("a certificate for %q was made", h.DNS)
		}
	}
}

func TestWhenTheBrowsersCertificateIsDue(t *testing.T) {
	ca := newCAFor(t, array)
	day := 24 * time.Hour
	more := Hosts{DNS: append([]string{"new"}, testHosts.DNS...), IPs: testHosts.IPs}
	mixed := Hosts{
		DNS: []string{"PI", "controller.local", "pi"},
		IPs: []netip.Addr{testHosts.IPs[1], netip.MustParseAddr("::ffff:192.0.2.1")},
	}
	early := time.Unix(100, 0)
	for _, c := range []struct {
		what        string
		issued, now time.Time
		hosts       Hosts
		due         bool
	}{
		{"at once", noon, noon, testHosts, false},
		{"other order and spelling", noon, noon, mixed, false},
		{"before two thirds", noon, noon.Add(264 * day), testHosts, false},
		{"after two thirds", noon, noon.Add(265 * day), testHosts, true},
		{"far in the future", noon, noon.AddDate(80, 0, 0), testHosts, true},
		{"a clock a little behind", noon, noon.Add(-59 * time.Minute), testHosts, false},
		{"a clock that went back", noon, noon.Add(-61 * time.Minute), testHosts, true},
		{"a clock in 1970", noon, time.Unix(0, 0), testHosts, true},
		{"another name", noon, noon, more, true},
		{"a name less", noon, noon, Hosts{IPs: testHosts.IPs}, true},
		{"made in 1970, clock still there", early, early.Add(time.Hour), testHosts, false},
		{"made in 1970, clock set", early, noon, testHosts, true},
		{"made before the build, clock still there", built.Add(-2 * day), built.Add(-day), testHosts, false},
		{"made before the build, clock set", built.Add(-2 * day), built.Add(day), testHosts, true},
		{"made in 2100, clock set", noon.AddDate(74, 0, 0), noon, testHosts, true},
	} {
		leaf := must(ca.IssueHTTPS(testHosts, c.issued, rand.Reader))(t).Leaf
		if why := HTTPSDue(leaf, c.hosts, c.now, built); (why != "") != c.due {
			t.Errorf("%s: due is %q", c.what, why)
		}
	}
}

func TestBrowsersCertificateIsKeptUntilItIsDue(t *testing.T) {
	dir := t.TempDir()
	ca := must(OpenCA(dir, array, rand.Reader))(t)
	open := func(ca *CA, now time.Time) ([]byte, string) {
		t.Helper()
		c, why, err := ca.OpenHTTPS(dir, testHosts, now, built, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return c.Certificate[0], why
	}
	first, why := open(ca, noon)
	if why == "" {
		t.Error("nothing says that it was made")
	}
	if again, why := open(ca, noon.Add(time.Hour)); why != "" || !bytes.Equal(first, again) {
		t.Errorf("it was made again: %s", why)
	}
	later, why := open(ca, noon.AddDate(1, 0, 0))
	if why == "" || bytes.Equal(first, later) {
		t.Error("it was kept for a year")
	}
	if _, why := open(newCAFor(t, array), noon.AddDate(1, 0, 0)); why == "" {
		t.Error("another CA's was kept")
	}
	path := filepath.Join(dir, httpsFile)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	exposed := must(os.ReadFile(path))(t)
	if _, why := open(ca, noon); !strings.Contains(why, "other users") {
		t.Errorf("mode 0644: %q", why)
	}
	if now := must(os.ReadFile(path))(t); bytes.Equal(exposed, now) || must(os.Stat(path))(t).Mode().Perm() != 0o600 {
		t.Error("a key that others could read is still in use")
	}
	if err := os.Truncate(path, 300); err != nil {
		t.Fatal(err)
	}
	if _, why := open(ca, noon); !strings.Contains(why, "damaged") {
		t.Errorf("torn: %q", why)
	}
}
