package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// httpsFile holds key and certificates for browsers.
	httpsFile = "https.pem"
	// httpsLife is the longest validity that browsers take. It is 397 days, by the CA/
	// Browser Forum's Baseline Requirements 6.3.2 and Apple's rule since 2020.
	httpsLife = 397 * 24 * time.Hour
	// httpsBackdate is for clients whose clock is a little behind.
	httpsBackdate = time.Hour
	// maxHosts bounds names and addresses together.
	maxHosts = 100
)

// Hosts are the names and addresses by which browsers reach the controller. The
// order does not matter, nor does the case of names.
type Hosts struct {
	DNS []string
	IPs []netip.Addr
}

// texts writes the hosts in one way.
func (h Hosts) texts() []string {
	var all []string
	for _, d := range h.DNS {
		all = append(all, strings.ToLower(d))
	}
	for _, a := range h.IPs {
		all = append(all, a.Unmap().WithZone("").String())
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func hostsOf(c *x509.Certificate) Hosts {
	h := Hosts{DNS: c.DNSNames}
	for _, ip := range c.IPAddresses {
		if a, ok := netip.AddrFromSlice(ip); ok {
			h.IPs = append(h.IPs, a)
		}
	}
	return h
}

// IssueHTTPS makes a key and a certificate for browsers, valid for 397 days from
// an hour before now. It names the controller too, so that nodes can join there.
func (ca *CA) IssueHTTPS(hosts Hosts, now time.Time, random io.Reader) (tls.Certificate, error) {
	b, err := ca.issueHTTPS(hosts, now, random)
	if err != nil {
		return tls.Certificate{}, err
	}
	return b.certificate(), nil
}

// IssueTimeless makes one that has no end, for a controller that has no clock.
// Clients look at their own clocks and find it valid. Its key belongs in memory and never into a
// file, since nothing ends a stolen one.
func (ca *CA) IssueTimeless(hosts Hosts, random io.Reader) (tls.Certificate, error) {
	b, err := ca.issueBetween(hosts, forever0, forever1, random)
	if err != nil {
		return tls.Certificate{}, err
	}
	return b.certificate(), nil
}

// IsTimeless tells certificates of [CA.IssueTimeless].
func IsTimeless(c *x509.Certificate) bool { return c.NotAfter.Equal(forever1) }

func (ca *CA) issueHTTPS(hosts Hosts, now time.Time, random io.Reader) (*bundle, error) {
	from := now.Truncate(time.Second).Add(-httpsBackdate)
	if from.Before(forever0) {
		from = forever0 // no earlier than the CA's own
	}
	return ca.issueBetween(hosts, from, from.Add(httpsLife-time.Second), random) // both ends count
}

func (ca *CA) issueBetween(hosts Hosts, from, until time.Time, random io.Reader) (*bundle, error) {
	if n := len(hosts.texts()); n == 0 || n > maxHosts {
		return nil, fmt.Errorf("make the HTTPS certificate: it would have %d names and addresses; 1 to %d are possible", n, maxHosts)
	}
	t, err := template(name{array: ca.array, role: roleController}, "raid-controller", random)
	if err != nil {
		return nil, err
	}
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	t.NotBefore, t.NotAfter = from, until
	for _, h := range hosts.texts() {
		if a, err := netip.ParseAddr(h); err == nil {
			t.IPAddresses = append(t.IPAddresses, net.IP(a.AsSlice()))
		} else if ValidDNS(h) {
			t.DNSNames = append(t.DNSNames, h)
		} else {
			return nil, fmt.Errorf("make the HTTPS certificate: %q is neither a host name nor an address", h)
		}
	}
	return ca.issue(t, random)
}

// ValidDNS takes letters, digits, dots, dashes and underscores, at most 253 (RFC
// 1035 2.3.4).
func ValidDNS(h string) bool {
	ok := func(r rune) bool {
		return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '.' || r == '-' || r == '_'
	}
	return len(h) >= 1 && len(h) <= 253 && strings.IndexFunc(h, func(r rune) bool { return !ok(r) }) < 0
}

// HTTPSDue says why a certificate for browsers must be made anew, in a few words, or "" when it
// need not. It is the one thing here that hangs on the time of day, because browsers look at it. A
// wrong answer costs a warning there. now is the clock's time, built the date of this program,
// before which no clock can be right.
func HTTPSDue(c *x509.Certificate, hosts Hosts, now, built time.Time) (why string) {
	issued := c.NotBefore.Add(httpsBackdate)
	switch {
	case now.Before(c.NotBefore):
		return "the clock is before its beginning"
	case now.After(c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) / 3 * 2)):
		return "two thirds of its time are over"
	case issued.Before(built) && !now.Before(built):
		// As long as the clock is still wrong, a new one would be no better.
		return "the clock was wrong when it was made"
	case !slices.Equal(hostsOf(c).texts(), hosts.texts()):
		return "names or addresses have changed"
	}
	return ""
}

// OpenHTTPS loads the certificate for browsers from a directory. It makes one there if there is
// none, or if it is due ([HTTPSDue]), of an earlier CA, damaged or open to other users. Browsers
// ask for no particular one. why says in a few words why it was made, "" when it was loaded.
func (ca *CA) OpenHTTPS(dir string, hosts Hosts, now, built time.Time, random io.Reader) (c tls.Certificate, why string, err error) {
	if err := makeDir(dir); err != nil {
		return c, "", err
	}
	path := filepath.Join(dir, httpsFile)
	b, err := readBundle(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		why = "there was none"
	case errors.Is(err, ErrDamaged):
		why = "it was damaged"
	case errors.Is(err, ErrExposed):
		why = "its key could be read by other users"
	case err != nil:
		return c, "", fmt.Errorf("open the HTTPS certificate: %w", err)
	case len(b.certs) != maxCerts || !b.certs[1].Equal(ca.cert) || b.certs[0].CheckSignatureFrom(ca.cert) != nil:
		why = "it was made by another CA"
	default:
		why = HTTPSDue(b.certs[0], hosts, now, built)
	}
	if why == "" {
		return b.certificate(), "", nil
	}
	if b, err = ca.issueHTTPS(hosts, now, random); err != nil {
		return c, "", err
	}
	if err := writeBundle(path, b); err != nil {
		return c, "", fmt.Errorf("store the HTTPS certificate: %w", err)
	}
	return b.certificate(), why, nil
}
