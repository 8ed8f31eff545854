package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Address is the address of a listener: "HOST:PORT", or ":PORT" for all of the
// machine's addresses. Port 0 lets the system choose one.
type Address string

// UnmarshalText reads an address. Names are not looked up.
func (a *Address) UnmarshalText(text []byte) error {
	s := string(text)
	if _, rest, ok := strings.Cut(s, "://"); ok {
		return fmt.Errorf("%q: write it without %q: %q", s, s[:len(s)-len(rest)], strings.Replace(rest, "*", "", 1))
	}
	if _, err := strconv.ParseUint(s, 10, 16); err == nil {
		return fmt.Errorf("%q has no host; did you mean %q?", s, ":"+s)
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf(`%q is no address: write "HOST:PORT", as in "192.168.1.10:9000", "[::1]:9000" or ":9000"`, s)
	}
	if host == "*" {
		return fmt.Errorf("%q: for all addresses of this machine write %q", s, ":"+port)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q: the port must be a number from 0 to 65535", s)
	}
	if host != "" {
		if err := checkHost(host); err != nil {
			return err
		}
	}
	*a = Address(s)
	return nil
}

// overlaps reports whether two listeners can't both bind.
func (a Address) overlaps(b Address) bool {
	hostA, portA, errA := net.SplitHostPort(string(a))
	hostB, portB, errB := net.SplitHostPort(string(b))
	if errA != nil || errB != nil || portNumber(portA) != portNumber(portB) || portNumber(portA) == 0 {
		return false
	}
	return hostA == hostB || wildcard(hostA) || wildcard(hostB)
}

func portNumber(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 16) // checked when it was read
	return n
}

func wildcard(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}

// checkHost takes an IP address or a name by RFC 1123, with underscores, which
// some home routers hand out.
func checkHost(host string) error {
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	if strings.Contains(host, "://") {
		return fmt.Errorf("%q: write the name alone, without http:// or tcp://", host)
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		return fmt.Errorf("%q: write the name alone (%q); ports have keys of their own", host, name)
	}
	if inner := strings.Trim(host, "[]"); inner != host {
		if _, err := netip.ParseAddr(inner); err == nil {
			return fmt.Errorf("%q: write it without brackets: %q", host, inner)
		}
	}
	if len(host) > 253 {
		return fmt.Errorf("a host name has at most 253 characters, this one has %d", len(host))
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if !validLabel(label) {
			return fmt.Errorf("%q is neither a host name nor an IP address", host)
		}
	}
	return nil
}

func validLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
