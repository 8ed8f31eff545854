package controller

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// avahi-daemon leaves the domain of a host name away, so that is a name by which
// others look for this machine.
func TestHostWithADomainIsReachedByItsNameInMulticastDNS(t *testing.T) {
	a := newArray(t, 0, func(c *Config) {
		c.Machine = func() (string, []netip.Addr) { return "Pi.home.lan", []netip.Addr{netip.MustParseAddr("fd00::5")} }
	})
	_, pem := a.call("GET", "/ca.pem", "", "")
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(pem)) {
		t.Fatalf("no CA: %s", pem)
	}
	for _, name := range []string{"pi.local", "PI.Local", "pi.home.lan", "pi", "fd00::5"} {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(a.url, "http://"), &tls.Config{RootCAs: roots, ServerName: name})
		if err != nil {
			t.Errorf("the certificate is not for %s: %v", name, err)
			continue
		}
		conn.Close()
	}
	for _, host := range []string{"pi.local:9000", "PI.local.:9000", "pi.home.lan", "[fd00::5]:9000"} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", a.url+"/files", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = host
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 {
			t.Errorf("as %s it is answered with %d", host, res.StatusCode)
		}
	}
	status, text := a.root("POST", "/join-tokens", `{}`)
	var k struct{ Hosts []string }
	if err := json.Unmarshal([]byte(text), &k); err != nil || status != 201 || k.Hosts[0] != "pi.local" || k.Hosts[1] != "pi.home.lan" {
		t.Errorf("nodes are told %d %s", status, text)
	}
}
